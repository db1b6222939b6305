"""The pages of results: a number is a cell of a CSV, agreement is judged by one rule, a failing claim needs a reason."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from robustscape.cli import result_pages
from robustscape.config.loading import load_experiment

ROOT = Path(__file__).parents[2]


def row(**given: Any) -> dict[str, Any]:
    return {"difference": 0.5, "std": math.nan, "paper_std": math.nan, "unit": "percent", **given}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, True),
        ({"difference": 1.0}, True),
        ({"difference": -1.01}, False),
        ({"difference": -1.01, "std": 0.51}, True),
        ({"difference": 1.9, "std": 0.2, "paper_std": 0.95}, True),
        ({"difference": 1.9, "std": 0.9, "paper_std": 0.2}, False),
        ({"difference": 0.5, "std": 0.1}, True),
        ({"difference": 0.9, "unit": "percentage_points"}, True),
        ({"difference": 0.02, "unit": "nats", "std": 0.005}, False),
        ({"difference": 0.01, "unit": "nats", "paper_std": 0.005}, True),
        ({"difference": 1e-9, "unit": "nats"}, None),
        ({"difference": math.nan, "std": 1.0}, None),
    ],
)
def test_two_standard_deviations_or_a_point(given: dict[str, Any], expected: bool | None) -> None:
    assert result_pages.agrees(row(**given)) is expected


def test_a_file_without_printed_standard_deviations_is_judged_too() -> None:
    assert result_pages.agrees({"difference": 0.5, "std": math.nan, "unit": "percent"})


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two rows of yamada2021/table_1 with two failing claims, at both scales; one claim has a reason."""
    cells: dict[str, Any] = {
        "dataset": "mnist2",
        "architecture": "logistic_regression",
        "noise": "PGD",
        "norm": "L2",
        "unit": "percent",
    }
    cells |= {"n": 1, "std": math.nan, "stand_in": "", "paper_protocol": True, "flag_under_trained": 0}
    rows = [
        {
            **cells,
            "eps": 0.0,
            "metric": "robust_test_accuracy",
            "value": 99.95,
            "paper_value": 99.9,
            "difference": 0.05,
        },
        {
            **cells,
            "eps": 1.0,
            "metric": "robust_test_accuracy",
            "value": 97.31,
            "paper_value": 99.62,
            "difference": -2.31,
        },
    ]
    fails = {"work": "yamada2021", "item": "table_1", "kind": "empirical", "verdict": "fails", "evidence": "1 | 2"}
    claims = [{**fails, "claim": "Y-8-order", "says": "falls"}, {**fails, "claim": "Y-10", "says": "gap"}]
    for scale in ("paper", "small"):
        folder = tmp_path / "docs/results" / scale
        (folder / "yamada2021").mkdir(parents=True)
        pd.DataFrame(rows).to_csv(folder / "yamada2021/table_1.csv", index=False)
        pd.DataFrame(claims).to_csv(folder / "claims.csv", index=False)
    reasons = {
        "paper": {"yamada2021/table_1": "Fewer\nsteps.", "yamada2021/table_1/Y-10": "One sample."},
        "small": None,
    }
    (tmp_path / "docs/results/reasons.yaml").write_text(yaml.safe_dump(reasons))
    monkeypatch.setattr(result_pages, "RESULTS", tmp_path / "docs/results")
    return tmp_path / "docs/results"


def test_printed_and_own_numbers_stand_side_by_side(results: Path) -> None:
    pages = result_pages.result_pages()
    assert set(pages) == {"results/index.md", "results/paper.md", "results/small.md"}
    page = pages["results/paper.md"]
    assert "| 0 | robust test accuracy | 99.90 | 99.95 | +0.05 | yes |" in page
    assert "| 1 | robust test accuracy | 99.62 | 97.31 | -2.31 | **no** |" in page
    assert "1 of 2 printed numbers agree" in page
    assert "Fewer steps." in page
    assert "| trained nets | 0 of 2 tested hold |" in page
    assert "99.62" not in pages["results/small.md"], "numbers of stand-ins cannot be compared"


def test_a_tenth_of_the_epochs_tells_differences_and_reproduces_nothing(results: Path) -> None:
    shutil.copytree(results / "paper", results / "tenth")
    table = results / "tenth/yamada2021/table_1.csv"
    pd.read_csv(table).assign(difference=math.nan).to_csv(table, index=False)
    page = result_pages.result_pages()["results/tenth.md"]
    assert "| 1 | robust test accuracy | 99.62 | 97.31 | -2.31 | - |" in page
    assert "printed numbers agree" not in page


def test_a_failing_claim_has_its_reason_or_says_that_there_is_none(results: Path) -> None:
    page = result_pages.result_pages()["results/paper.md"]
    assert "Y-10: One sample." in page
    assert "Y-8-order fails; why is not known." in page
    assert "1 \\| 2" in page


def test_a_scale_without_files_has_no_page(results: Path) -> None:
    shutil.rmtree(results / "small")
    pages = result_pages.result_pages()
    assert "results/small.md" not in pages
    assert "small.md" not in pages["results/index.md"]


def test_every_reason_is_of_an_item_or_claim_that_exists() -> None:
    reasons = yaml.safe_load((ROOT / "docs/results/reasons.yaml").read_text())
    assert set(reasons) == set(result_pages.SCALES)
    for scale, texts in reasons.items():
        studies = load_experiment(ROOT / "config", scale).studies
        for key in texts or {}:
            work, item, *claim = key.split("/")
            assert item in studies[work].items, key
            assert not claim or claim[0] in {c.id for c in studies[work].items[item].claims}, key


def test_files_of_results_are_those_of_items() -> None:
    for path in (ROOT / "docs/results").glob("*/*/*.csv"):
        scale, work, item = path.relative_to(ROOT / "docs/results").with_suffix("").parts
        assert scale in result_pages.SCALES
        assert item in load_experiment(ROOT / "config", scale).studies[work].items, path


def test_make_copies_items_and_claims_and_nothing_else(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("config/studies/mywork.yaml", "results/small/claims.csv", "results/small/mywork/table_1.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for name in ("results/small/mywork/table_1.md", "results/small/data/card.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    subprocess.run(["make", "results-docs", "SCALE=small"], cwd=tmp_path, check=True, capture_output=True)
    copied = {str(path.relative_to(tmp_path)) for path in (tmp_path / "docs").rglob("*") if path.is_file()}
    assert copied == {"docs/results/small/claims.csv", "docs/results/small/mywork/table_1.csv"}
