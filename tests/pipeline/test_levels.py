"""Which levels of an item's factors a scale may lack: a claim on any other that is not there is a mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robustscape.config.loading import load_experiment
from robustscape.pipeline.plan import Plan

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    return {scale: Plan(load_experiment(ROOT / "config", scale), Path("results")) for scale in ("small", "paper")}


@pytest.mark.parametrize(
    ("item", "factor", "level", "small", "paper"),
    [
        ("yamada2021/table_1", "eps", 0.3, True, True),
        ("yamada2021/table_1", "noise", "PGF", True, True),
        ("yamada2021/table_1", "metric", "robust_tset_accuracy", True, True),
        # A number on the grid of a curve that `small` makes coarser.
        ("yamada2021/figure_1", "alpha", 0.123, False, True),
        # The name of an attack: `small` has another suite.
        ("kim2023/table_2_1", "attack", "square", False, None),
    ],
)
def test_levels_that_do_not_depend_on_the_scale(
    plans: dict[str, Plan], item: str, factor: str, level: Any, small: bool, paper: bool | None
) -> None:
    work, name = item.split("/")
    assert factor == "metric" or factor in plans["small"].studies[work].items[name].factors
    assert plans["small"].level_is_fixed(work, name, factor, level) is small
    if paper is not None:
        assert plans["paper"].level_is_fixed(work, name, factor, level) is paper
