"""Measurements that read a run's logs: training curves of its history, a summary of its updates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import vouch_for
from torch import nn

from robustscape.data import Split
from robustscape.errors import ConfigError
from robustscape.evaluation.logs.collapse import UNITS, collapse
from robustscape.evaluation.logs.history import history
from robustscape.evaluation.logs.last_epoch import last_epoch
from robustscape.evaluation.logs.training_curves import training_curves
from robustscape.evaluation.logs.update_summary import update_summary
from robustscape.evaluation.logs.updates import updates
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


#: A recipe of five epochs whose probe is measured in every second one, and in the last.
FIVE_EPOCHS: dict[str, Any] = {
    "name": "r",
    "method": "standard",
    "optimizer": {"name": "sgd", "parameters": {}},
    "epochs": 5,
    "batch_size": 512,
    "probes": {"test_accuracy": {"name": "accuracy", "every": 2}, "test_loss": {"name": "loss", "every": 1}},
    "traces": {},
}
#: What the log of a run has that diverged in the third epoch, whose own time is recorded.
TWO_OF_FIVE = "epoch,train_loss,train_error,test_accuracy,test_loss\n1,2.0,60.0,,1.9\n2,1.0,20.0,70.0,1.5\n"
SECONDS = [1.5, 2.0, 0.5]


def diverged_run(path: Path, log: str = TWO_OF_FIVE, diverged: int = 3) -> TrainedRun:
    """A run of ``FIVE_EPOCHS`` that diverged."""
    (path / "history.csv").write_text(log)
    vouch_for(path / "history.csv", epoch_seconds=SECONDS[:diverged], diverged=diverged)
    return logged_run(path, FIVE_EPOCHS)


def places_of_nan(rows: list[dict[str, Any]]) -> set[tuple[str, int]]:
    return {(row["metric"], row["epoch"]) for row in rows if math.isnan(row["value"])}


def test_the_epochs_that_a_diverged_run_lacks_are_nan(tmp_path: Path) -> None:
    """From the one in which it diverged to the recipe's last, a probe at the epochs at which it is due."""
    rows = history(diverged_run(tmp_path), columns=["train_loss", "test_accuracy", "running_train_accuracy", "seconds"])
    lost = {(column, epoch) for column in ("train_loss", "running_train_accuracy", "seconds") for epoch in (3, 4, 5)}
    assert places_of_nan(rows) == lost | {("test_accuracy", 4), ("test_accuracy", 5)}
    finite = {(row["metric"], row["epoch"]): row["value"] for row in rows if not math.isnan(row["value"])}
    assert finite == {
        ("train_loss", 1): 2.0,
        ("train_loss", 2): 1.0,
        ("test_accuracy", 2): 70.0,
        ("running_train_accuracy", 1): 40.0,
        ("running_train_accuracy", 2): 80.0,
        ("seconds", 1): 1.5,
        ("seconds", 2): 3.5,
    }


def test_a_run_that_diverged_in_its_first_epoch_has_logged_no_number(tmp_path: Path) -> None:
    """Nor the columns that its method logs."""
    run = diverged_run(tmp_path, "epoch,lr,eps,train_loss,test_accuracy,test_loss\n", diverged=1)
    rows = history(run, columns=["train_loss", "train_error"])
    assert (
        places_of_nan(rows) == {(c, e) for c in ("train_loss", "train_error") for e in range(1, 6)} and len(rows) == 10
    )
    assert all(math.isnan(row["value"]) for row in training_curves(run))


def test_where_a_diverged_run_ended_there_is_no_number(tmp_path: Path) -> None:
    """Its last finite epoch is not the last one."""
    rows = last_epoch(diverged_run(tmp_path), columns={"train_loss": "final_train_loss", "test_accuracy": "final"})
    assert [row["metric"] for row in rows] == ["final_train_loss", "final"]
    assert all(math.isnan(row["value"]) and row["epoch"] == 5 for row in rows)


def test_training_curves_of_a_diverged_run_end_in_nan(tmp_path: Path) -> None:
    rows = training_curves(diverged_run(tmp_path))
    of_test_error = [(r["epoch"], r["value"]) for r in rows if r["metric"] == "error" and r["split"] == "test"]
    assert of_test_error[0] == (2, 30.0) and [epoch for epoch, _ in of_test_error] == [2, 4, 5]
    assert places_of_nan(rows) >= {("error", 5), ("loss", 3), ("loss", 4), ("loss", 5), ("generalization_gap", None)}


def test_a_diverged_run_neither_collapsed_nor_was_robust(tmp_path: Path) -> None:
    run = diverged_run(tmp_path, "epoch,train_pgd7,train_fgsm,train_distortion\n1,30.0,40.0,0.0\n2,50.0,60.0,0.0\n")
    rows = collapse(run)
    assert [row["metric"] for row in rows] == list(UNITS)
    assert all(math.isnan(row["value"]) for row in rows)


def collapse_of(
    path: Path, robust: list[float], single: list[float], distortion: list[float | None]
) -> dict[str, float]:
    """The quantities of a history; None is an empty cell, no image right at both ends."""
    lines = ["epoch,train_pgd7,train_fgsm,train_distortion"]
    for epoch, (r, s, d) in enumerate(zip(robust, single, distortion, strict=True), 1):
        lines.append(f"{epoch},{r},{s},{'' if d is None else d}")
    (path / "history.csv").write_text("\n".join(lines) + "\n")
    vouch_for(path / "history.csv")
    return {row["metric"]: row["value"] for row in collapse(logged_run(path, {}))}


def test_a_distortion_that_is_undefined_has_not_vanished(tmp_path: Path) -> None:
    """Of a net that is right at no image of the single step nothing is known; 0 would say that it is smooth."""
    robust, single = [30.0, 40.0, 2.0, 1.0, 0.0], [40.0, 50.0, 80.0, 90.0, 0.0]
    found = collapse_of(tmp_path, robust, single, [None, 0.0, 60.0, 70.0, None])
    assert found["distortion_defined_at_end"] == 0 and math.isnan(found["distortion_at_end"])
    assert math.isnan(found["distortion_vanishes_epoch"]) and math.isnan(found["distortion_back_to_zero_epoch"])
    assert found["distortion_max_over_training"] == 70.0 and found["first_distortion_epoch"] == 3
    assert found["rank_correlation"] == -1.0  # of epochs 2 to 4
    gone = collapse_of(tmp_path, robust, single, [None, 0.0, 60.0, 70.0, 0.5])
    assert gone["distortion_defined_at_end"] == 1 and gone["distortion_at_end"] == 0.5
    assert gone["distortion_vanishes_epoch"] == gone["distortion_back_to_zero_epoch"] == 5
    never = collapse_of(tmp_path, robust, single, [None] * 5)
    assert all(math.isnan(never[f"distortion_{name}"]) for name in ("max_over_training", "at_collapse", "at_end"))


def test_robustness_that_is_back_when_the_distortion_has_gone(tmp_path: Path) -> None:
    """In percent of the highest before the collapse (40), in the first epoch without distortion since, or in the next."""
    single = [40.0, 50.0, 80.0, 50.0, 60.0, 90.0]
    back = collapse_of(tmp_path, [30.0, 40.0, 2.0, 20.0, 36.0, 1.0], single, [0.0, 0.0, 60.0, 0.0, 0.0, 70.0])
    assert back["recovered_share"] == pytest.approx(90.0)
    later = collapse_of(tmp_path, [30.0, 40.0, 2.0, 2.0, 4.0, 36.0], single, [0.0, 0.0, 60.0, 0.0, 0.0, 0.0])
    assert later["recovered_share"] == pytest.approx(10.0)
    before = collapse_of(tmp_path, [30.0, 40.0, 2.0, 1.0, 1.0, 1.0], single, [5.0, 0.0, 60.0, 50.0, 60.0, 70.0])
    assert math.isnan(before["recovered_share"])  # the distortion that went was there before the collapse
    undefined = collapse_of(tmp_path, [30.0, 40.0, 2.0, 20.0, 36.0, 1.0], single, [0.0, 0.0, 60.0, None, None, 70.0])
    assert math.isnan(undefined["recovered_share"])


def test_the_updates_that_a_diverged_run_lacks_are_nan(tmp_path: Path) -> None:
    """One update an epoch, diverged in the third epoch of five: a window at the end of training has no numbers."""
    (tmp_path / "updates.csv").write_text("update,epoch,distance\n1,1,1.0\n2,2,2.0\n3,3,3.0\n")
    vouch_for(tmp_path / "updates.csv", diverged=3)
    traces = {"traces": {"distance": {"name": "distance"}}, "traced_updates": {"first": 3, "last": 2}}
    run = logged_run(tmp_path, {**FIVE_EPOCHS, "batch_size": None, **traces})
    found = {(row["window"], row["update"]): row["value"] for row in updates(run, smooth=2)}
    assert list(found) == [("first", 1), ("first", 2), ("first", 3), ("last", 4), ("last", 5)]
    assert [key for key, value in found.items() if math.isnan(value)] == [("first", 3), ("last", 4), ("last", 5)]
    assert all(math.isnan(row["value"]) for row in update_summary(run))


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
