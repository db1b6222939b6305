"""The first and the last recorded updates: as many as the recipe asks for, where every update was recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from made_up import vouch_for
from torch import nn

from robustscape.data import Split
from robustscape.evaluation.logs.updates import updates
from robustscape.evaluation.trained_run import TrainedRun


def logged_run(path: Path, first: int | None, last: int, count: int = 9) -> TrainedRun:
    """A run of ``count`` updates, all of which were recorded; the distance after update u is u squared."""
    lines = [f"{update},1,{float(update**2)}" for update in range(1, count + 1)]
    (path / "updates.csv").write_text("\n".join(["update,epoch,distance", *lines]) + "\n")
    vouch_for(path / "updates.csv")
    recipe = {
        "probes": {},
        "traces": {"distance": {"name": "distance"}},
        "traced_updates": {"first": first, "last": last},
    }
    split = Split(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), 1.0)
    return TrainedRun(
        nn.Linear(2, 2).eval(), split, split, 0.1, 0, torch.device("cpu"), 4, path=path, config={"recipe": recipe}, checkpoint=""
    )  # fmt: skip


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (3, 2, {"first": [1, 2, 3], "last": [8, 9]}),
        (1, 1, {"first": [1], "last": [9]}),
        (None, 0, {"first": list(range(1, 10))}),
        (6, 5, {"first": list(range(1, 7)), "last": list(range(5, 10))}),
    ],
)
def test_windows(tmp_path: Path, first: int | None, last: int, expected: dict[str, list[int]]) -> None:
    rows = updates(logged_run(tmp_path, first, last))
    found: dict[str, list[int]] = {}
    for row in rows:
        assert row["value"] == row["update"] ** 2
        found.setdefault(row["window"], []).append(row["update"])
    assert found == expected


def test_a_running_mean_stays_in_its_window(tmp_path: Path) -> None:
    rows = updates(logged_run(tmp_path, 3, 2), smooth=2)
    assert [row["value"] for row in rows] == pytest.approx([1, (1 + 4) / 2, (4 + 9) / 2, 64, (64 + 81) / 2])
