"""Rows of stand-ins under the work's names: eps, data set and net as the work calls them, and what stood in, in every row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up import vouch_for

from robustscape.config.experiment import Planned, Run
from robustscape.config.loading import load_experiment
from robustscape.pipeline.plan import Table
from robustscape.pipeline.steps import item

CONFIG = Path(__file__).parents[3] / "config"


def planned(eps: float, theirs: float, own: bool = False, dataset: str = "digits", net: str = "small") -> Planned:
    return Planned(Run(dataset, net, "recipe", eps, 0), "cifar10", "resnet18", theirs, own)


def named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows: list[dict[str, Any]], table: Table) -> pd.DataFrame:
    monkeypatch.setattr(item, "with_health_flag", lambda plan, table, rows: rows)
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    vouch_for(tmp_path / "t.csv")
    return item._rows_in_the_works_names(None, Table(tmp_path / "t.csv", table.runs, table.paper_protocol))  # type: ignore[arg-type]


def test_a_measurement_of_a_stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = {
        "dataset": "digits",
        "architecture": "small",
        "recipe": "recipe",
        "eps": 0.25,
        "metric": "accuracy",
        "value": 7.0,
    }
    table = Table(Path(), (planned(0.25, 8 / 255),), False)
    (found,) = named(monkeypatch, tmp_path, [{**row, "attack_eps": 0.25, "unit": "percent"}], table).to_dict("records")
    assert (found["dataset"], found["architecture"], found["eps"]) == ("cifar10", "resnet18", pytest.approx(8 / 255))
    assert found["attack_eps"] == 0.25, "the eps that was really used"
    assert found["stand_in"] == "digits for cifar10, small for resnet18, eps 0.25 for eps 8/255"
    assert not found["paper_protocol"] and found["value"] == 7.0


@pytest.mark.parametrize("own", [True, False])
def test_the_works_own_says_so_and_has_no_stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: bool) -> None:
    rows = [{"dataset": "cifar10", "architecture": "resnet18", "eps": 0.1, "metric": "m", "value": 1.0, "unit": "1"}]
    table = Table(Path(), (planned(0.1, 0.1, own, "cifar10", "resnet18"),), own)
    (found,) = named(monkeypatch, tmp_path, rows, table).to_dict("records")
    assert found["stand_in"] == "" and found["paper_protocol"] is own


def test_a_comparison_names_its_runs_in_columns_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs = (planned(0.1, 0.1), planned(0.2, 8 / 255, net="tiny"))
    rows = [
        {"source": "small", "target": "tiny", "eps": 0.2, "metric": "tiny", "value": 1.0, "unit": "small"},
    ]
    (found,) = named(monkeypatch, tmp_path, rows, Table(Path(), runs, False)).to_dict("records")
    assert (found["source"], found["target"]) == ("resnet18", "resnet18")
    assert (found["metric"], found["unit"]) == ("tiny", "small"), "metrics and units are no names of runs"
    assert found["eps"] == pytest.approx(8 / 255)
    assert found["stand_in"] == ("digits for cifar10, small for resnet18, tiny for resnet18, eps 0.2 for eps 8/255")


def ambiguous() -> tuple[Planned, ...]:
    """One net and one data set stand in for two of each, one eps for two."""
    return (
        Planned(Run("digits", "mlp", "flat", 0.1, 0), "cifar10", "resnet50", 8 / 255, False),
        Planned(Run("digits", "mlp", "part", 0.1, 0), "cifar100", "resnet10", 4 / 255, False),
    )


def test_a_stand_in_for_several_is_resolved_by_the_run_of_the_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = {"dataset": "digits", "architecture": "mlp", "eps": 0.1, "metric": "m", "value": 1.0, "unit": "1"}
    rows = [{**row, "recipe": recipe} for recipe in ("part", "flat", None, "another")]
    found = named(monkeypatch, tmp_path, rows, Table(Path(), ambiguous(), False))
    assert list(found["architecture"]) == ["resnet10", "resnet50", "mlp", "mlp"]
    assert list(found["dataset"]) == ["cifar100", "cifar10", "digits", "digits"]
    assert list(found["eps"]) == pytest.approx([4 / 255, 8 / 255, 0.1, 0.1])


def test_a_stand_in_for_several_is_left_as_it_is_where_no_run_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = Planned(Run("letters", "tiny", "part", 0.1, 0), "svhn", "resnet18", 0.1, False)
    rows = [{"source": "mlp", "target": "tiny", "on": "digits", "metric": "m", "value": 1.0, "unit": "1"}]
    (found,) = named(monkeypatch, tmp_path, rows, Table(Path(), (*ambiguous(), other), False)).to_dict("records")
    assert (found["source"], found["target"], found["on"]) == ("mlp", "resnet18", "digits")


def test_an_architecture_that_stands_for_itself_and_another_is_ambiguous(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = (planned(0.1, 0.1, net="resnet18"), Planned(Run("d", "resnet18", "r", 0.1, 0), "d", "resnet50", 0.1, False))
    rows = [{"source": "resnet18", "metric": "m", "value": 1.0, "unit": "1"}]
    (found,) = named(monkeypatch, tmp_path, rows, Table(Path(), runs, False)).to_dict("records")
    assert found["source"] == "resnet18"


def test_a_row_can_say_that_it_reproduces_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = [
        {"dataset": "cifar10", "metric": "m", "value": 1.0, "unit": "1", "paper_protocol": None},
        {"dataset": "cifar10", "metric": "m", "value": 2.0, "unit": "1", "paper_protocol": False},
    ]
    table = Table(Path(), (planned(0.1, 0.1, True, "cifar10", "resnet18"),), True)
    assert list(named(monkeypatch, tmp_path, rows, table)["paper_protocol"]) == [True, False]


def test_a_rate_that_the_scale_changed_is_said_in_every_row() -> None:
    """Rows of table 3 of liu2020 name the work's rates; at small they are trained with 15 times as much."""
    rows = pd.DataFrame(
        {"recipe": ["liu2020_mnist_04", "liu2020_mnist_04-cosine-lr0.001", None], "value": [1.0, 2.0, 3.0]}
    )
    small, paper = (load_experiment(CONFIG, scale) for scale in ("small", "paper"))
    found = item.with_lr_factor(small, rows)["lr_factor"]
    assert found[0] == found[1] == small.scale.recipes["liu2020_mnist*"].lr_factor == 15 and pd.isna(found[2])
    assert "lr_factor" not in item.with_lr_factor(paper, rows)
    assert "lr_factor" not in item.with_lr_factor(small, rows.drop(columns="recipe"))
