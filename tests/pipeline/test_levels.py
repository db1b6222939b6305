"""Which levels of an item's factors a scale may lack: a claim on any other that is not there is a mistake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from robustscape.config.loading import load_experiment
from robustscape.errors import ConfigError
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


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ("noise='PGD', eps=0.4", ""),
        ("noise='pgd', eps=4/10", ""),
        (
            "noise='PGF', eps=0.4",
            r"yamada2021/table_1: claim 'T': unknown level of 'noise' 'PGF'\. Did you mean 'PGD'\?",
        ),
        ("noise='PGD', eps=0.03", r"claim 'T': unknown level of 'eps' '0\.03'.* Allowed: 0, 0\.2,"),
        ("dataset='mnist3', eps=0.4", r"unknown level of 'dataset' 'mnist3'\. Did you mean 'mnist2'\?"),
        ("architecture='resnet18', eps=0.4", "unknown level of 'architecture' 'resnet18'"),
    ],
)
def test_a_typing_error_in_a_level_is_said_before_anything_runs(
    plans: dict[str, Plan], factors: str, message: str
) -> None:
    experiment = plans["small"].experiment
    study = experiment.studies["yamada2021"]
    item = study.items["table_1"]
    holds = f"value('robust_test_accuracy', {factors}) > 0"
    claim = item.claims[0].model_copy(update={"id": "T", "holds": holds, "given": {}, "let": {}})
    changed = study.model_copy(update={"items": {"table_1": item.model_copy(update={"claims": [claim]})}})
    alone = replace(experiment, studies={"yamada2021": changed})
    if message:
        with pytest.raises(ConfigError, match=message):
            Plan(alone, Path("results"))
    else:
        Plan(alone, Path("results"))
