"""Measurements that read a run's logs: training curves of its history, a summary of its updates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import vouch_for
from torch import nn

from robustscape.data import Split
from robustscape.errors import ConfigError
from robustscape.evaluation.logs.history import history
from robustscape.evaluation.logs.training_curves import training_curves
from robustscape.evaluation.logs.update_summary import update_summary
from robustscape.evaluation.trained_run import TrainedRun


def logged_run(path: Path, recipe: dict[str, Any]) -> TrainedRun:
    """A run whose folder has logs; its net and data are never looked at."""
    split = Split(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), 1.0)
    config = {"recipe": recipe}
    return TrainedRun(
        nn.Linear(2, 2).eval(), split, split, 0.1, 0, torch.device("cpu"), 4, path=path, config=config, checkpoint=""
    )


def test_training_curves_are_the_history(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text(
        "epoch,lr,eps,train_loss,train_error,test_accuracy,test_loss\n1,0.1,0,2.0,60.0,,\n2,0.1,0,1.0,20.0,70.0,1.5\n"
    )
    vouch_for(tmp_path / "history.csv")
    rows = training_curves(logged_run(tmp_path, {}))
    told = {(r["metric"], r["split"], r["epoch"]): r["value"] for r in rows}
    assert told == {
        ("error", "train", 1): 60.0,
        ("error", "train", 2): 20.0,
        ("error", "test", 2): 30.0,
        ("loss", "train", 1): 2.0,
        ("loss", "train", 2): 1.0,
        ("loss", "test", 2): 1.5,
        ("generalization_gap", None, None): 10.0,
    }


def test_a_history_without_the_probes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,train_loss\n1,2.0\n")
    vouch_for(tmp_path / "history.csv")
    with pytest.raises(ConfigError, match="train_error"):
        training_curves(logged_run(tmp_path, {}))


def test_a_history_has_the_accuracy_of_the_updates_own_passes_and_adds_up_its_seconds(tmp_path: Path) -> None:
    """100 - train_error; probes that were not measured have no row."""
    (tmp_path / "history.csv").write_text("epoch,train_error,probed\n1,60.0,\n2,20.0,70.0\n")
    vouch_for(tmp_path / "history.csv", epoch_seconds=[1.5, 2.0])
    run = logged_run(tmp_path, {"probes": {"probed": {"name": "accuracy"}}, "traces": {}})
    rows = history(run, columns=["running_train_accuracy", "probed", "seconds"])
    assert {(row["metric"], row["epoch"]): row["value"] for row in rows} == {
        ("running_train_accuracy", 1): 40.0,
        ("running_train_accuracy", 2): 80.0,
        ("probed", 2): 70.0,
        ("seconds", 1): 1.5,
        ("seconds", 2): 3.5,
    }
    units = {row["metric"]: row["unit"] for row in rows}
    assert units == {"running_train_accuracy": "percent", "probed": "percent", "seconds": "seconds"}
    assert {row["metric"] for row in history(run)} == {"train_error", "probed", "seconds"}


def test_summary_of_the_updates(tmp_path: Path) -> None:
    lines = [f"{update},1,{float(update)},{2.0 * update}" for update in (1, 2, 3, 8, 9)]
    (tmp_path / "updates.csv").write_text("\n".join(["update,epoch,distance,error", *lines]) + "\n")
    vouch_for(tmp_path / "updates.csv")
    traced = {"traces": {"distance": {"name": "distance"}, "error": {"name": "error"}}}
    recipe = {"probes": {}, **traced, "traced_updates": {"first": 3, "last": 2}}
    run = logged_run(tmp_path, recipe)
    told = {(row["metric"], row["window"]): row["value"] for row in update_summary(run)}
    assert told == {
        ("distance_mean", "first"): 2.0,
        ("distance_end", "first"): 3.0,
        ("distance_mean", "last"): 8.5,
        ("distance_end", "last"): 9.0,
        ("error_mean", "first"): 4.0,
        ("error_end", "first"): 6.0,
        ("error_mean", "last"): 17.0,
        ("error_end", "last"): 18.0,
    }
    assert [row["updates"] for row in update_summary(run, columns=["error"])] == [3, 3, 2, 2]
