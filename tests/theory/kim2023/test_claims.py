"""The claims of kim2023's toys and theorems, judged as the report judges them, on smaller simulations."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from robustscape import catalog
from robustscape.claims.checks import tally
from robustscape.claims.verdicts import claim_verdict
from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment
from robustscape.config.studies import Study
from robustscape.report import items
from robustscape.report.words import FAILS, HOLDS

ROOT = Path(__file__).parents[3]
#: Sizes that keep every verdict and save time.
SIZES: dict[str, dict[str, Any]] = {
    "ch4_squared_activation": {"draws": 120},
    "ch4_diffusion": {"draws": 50_000, "momentum_draws": 2000},
    "ch4_theorem_4_2": {"matrices": 3},
}
ITEMS = [
    *(f"figure_4_{n}" for n in range(1, 8)),
    *("figure_5_1", "figure_5_6", "theorems_chapter_4", "theorems_chapter_5", "diffusion_chapter_4"),
]
#: What the work says and our simulation does not confirm.
FAILING = {"K4-6-constant"}


@functools.cache
def experiment() -> Experiment:
    return load_experiment(ROOT / "config", "small")


def study() -> Study:
    return experiment().studies["kim2023"]


@functools.cache
def rows_of(name: str) -> pd.DataFrame:
    entry = study().theory[name]
    accepted = catalog.find_entry("theory", entry.check).parameters.model_fields
    coarse = {"points": 5} if "points" in accepted and not name.startswith("ch4_theorem") else {}
    frame = pd.DataFrame(
        catalog.load_function("theory", entry.check)(**{**entry.parameters, **coarse, **SIZES.get(name, {})})
    )
    return frame if "metric" in frame else tally(frame)


def table(name: str, folder: Path) -> pd.DataFrame:
    """The item's CSV, read back."""
    item = study().items[name]
    frames = []
    for source in item.rows:
        rows = rows_of(source.of)
        for column, wanted in source.where.items():
            rows = rows[rows[column] == wanted]
        frames.append(rows.assign(**source.label))
    printed = items.read_rows(experiment().paper / f"{item.printed}.csv") if item.printed else None
    whole = items.select_metrics(pd.concat(frames, ignore_index=True), item.factors, item.metrics)
    items.aggregate_repetitions(whole, item.factors, printed).to_csv(folder / "item.csv", index=False)
    return items.read_rows(folder / "item.csv")


def test_every_item_made_of_theory_is_here() -> None:
    alone = {n for n, i in study().items.items() if {source.of for source in i.rows} <= set(study().theory)}
    assert set(ITEMS) == {name for name in alone if name.startswith(("figure_4", "figure_5")) or "chapter" in name}


@pytest.mark.parametrize("name", ITEMS)
def test_claims(name: str, tmp_path: Path) -> None:
    rows, item = table(name, tmp_path), study().items[name]
    assert item.claims
    for claim in item.claims:
        verdict, evidence = claim_verdict(claim, rows, item.factors, "small")
        assert verdict == (FAILS if claim.id in FAILING else HOLDS), f"{claim.id}: {evidence}"
