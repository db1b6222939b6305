"""Which epoch is measured, and which one is chosen."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.training import loop, observers


def trained(monkeypatch: pytest.MonkeyPatch, values: list[float], every: int = 1) -> loop.Trained:
    """A training whose probe gives ``values``, one per epoch."""

    def bind_probe(*_: Any) -> Any:
        return lambda context: values[context.epoch - 1]

    monkeypatch.setattr(observers, "_bind_probe", bind_probe)
    recipe = Recipe.model_validate(
        {
            "method": "standard",
            "optimizer": {"name": "sgd", "parameters": {"lr": 0.1}},
            "epochs": len(values),
            "batch_size": 4,
            "probes": {"probed": {"name": "accuracy", "every": every, "parameters": {"split": "test"}}},
            "select": "probed",
            "keep": [epoch / len(values) for epoch in range(1, len(values))],
        }
    )
    x = torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    split = Split(x, torch.arange(8) % 2, 1.0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    return loop.train(model, split, split, recipe, {}, 0.0, 0, progress=False)


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        ([10, 50, 30, 20], 2),
        ([10, 50, 50, 20], 2),
        ([50, 50, 50, 50], 1),
        ([50, 10, 20, 30], 1),
        ([0, 0, 0, 0], 1),
        ([-3, -1, -2, -4], 2),
        ([10, 20, 30, 40], 4),
    ],
)
def test_the_highest_value_chooses_the_epoch_and_of_equal_ones_the_first(
    monkeypatch: pytest.MonkeyPatch, values: list[float], chosen: int
) -> None:
    result = trained(monkeypatch, values)
    assert result.epoch == chosen
    weights = {**result.kept, f"epoch{len(values)}.safetensors": result.last}[f"epoch{chosen}.safetensors"]
    assert all(torch.equal(result.selected[name], weights[name]) for name in weights)
    assert result.history["probed"].tolist() == values


@pytest.mark.parametrize(("every", "measured"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (3, [3, 5]), (7, [5])])
def test_a_probe_is_measured_when_it_is_due_and_after_the_last_epoch(
    monkeypatch: pytest.MonkeyPatch, every: int, measured: list[int]
) -> None:
    result = trained(monkeypatch, [90, 80, 70, 60, 50], every)
    rows = zip(result.history["epoch"], result.history["probed"], strict=True)
    seen = [int(epoch) for epoch, value in rows if pd.notna(value)]
    assert seen == measured
    assert result.epoch == measured[0], "the first one measured has the highest value"
