"""The rows that an item takes from a measurement: chosen, and named by what the recipes know."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from robustscape.config.studies import Source
from robustscape.errors import ConfigError
from robustscape.report.sources import source_rows

ROWS = pd.DataFrame({"recipe": ["a", "a-beta2", "b"], "metric": "loss", "value": [1.0, 2.0, 3.0]})
RECIPES: dict[str, dict[str, Any]] = {"a": {"beta": 0.5, "method": "A"}, "a-beta2": {"beta": 2.0, "method": "A"}}


def rows(factors: list[str], chosen: set[str] | None = None, **keys: Any) -> pd.DataFrame:
    return source_rows(ROWS, Source.model_validate({"of": "anything", **keys}), factors, RECIPES, chosen)


def test_a_factor_of_the_item_comes_from_the_recipe_where_the_rows_have_none() -> None:
    found = rows(["method", "beta"])
    assert found["beta"].tolist()[:2] == [0.5, 2.0] and pd.isna(found["beta"].iloc[2])
    assert list(rows(["metric"]).columns) == list(ROWS.columns), "nothing that the item does not ask for"


def test_a_measured_column_and_a_label_come_first() -> None:
    measured = ROWS.assign(method="measured")
    source = Source.model_validate({"of": "anything"})
    assert set(source_rows(measured, source, ["method"], RECIPES, None)["method"]) == {"measured"}
    assert set(rows(["method"], label={"method": "said"})["method"]) == {"said"}


def test_rows_are_chosen_by_run_list_and_by_factor() -> None:
    assert rows([], {"a", "b"})["value"].tolist() == [1.0, 3.0]
    assert rows([], where={"beta": [2]})["value"].tolist() == [2.0]
    assert "beta" not in rows([], where={"beta": 2})


def test_a_label_may_name_columns() -> None:
    found = rows(["setting"], {"a", "a-beta2"}, label={"setting": "β = {beta}"})
    assert found["setting"].tolist() == ["β = 0.5", "β = 2"] and "beta" not in found


@pytest.mark.parametrize("keys", [{"where": {"gamma": 1}}, {"label": {"setting": "{gamma}"}}])
def test_a_column_that_is_not_there_is_a_sentence(keys: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'gamma'"):
        rows([], **keys)


PAIRS = pd.DataFrame(
    {
        "method": ["A", "A", "B", "B"],
        "seed": [0, 1, 1, 0],  # in another order
        "metric": "accuracy",
        "unit": "percent",
        "value": [50.0, 60.0, 20.0, 15.0],
        "flag_under_trained": [0, 0, 1, 0],
        "health": [None, None, "B1: weak", None],
        "checkpoint": ["a0", "a1", "b1", "b0"],
    }
)


def differences(frame: pd.DataFrame = PAIRS, **keys: Any) -> pd.DataFrame:
    source = Source.model_validate({"of": "anything", "where": {"method": "A"}, "minus": {"method": "B"}, **keys})
    return source_rows(frame, source, ["method"], {}, None).reset_index(drop=True)


def test_differences_are_of_rows_that_agree_in_all_else_and_carry_the_flags_of_both() -> None:
    found = differences(label={"method": "A minus B"})
    assert found["value"].tolist() == [35.0, 40.0] and set(found["method"]) == {"A minus B"}
    assert set(found["metric"]) == {"accuracy_difference"} and set(found["unit"]) == {"percentage_points"}
    assert found["flag_under_trained"].tolist() == [0, 1] and found["health"].fillna("").tolist() == ["", "B1: weak"]
    assert found["checkpoint"].tolist() == ["a0;b0", "a1;b1"]


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (PAIRS.iloc[:3], "no pairs"),
        (PAIRS.assign(seed=[0, 1, 1, 1]), "no pairs"),
        (PAIRS.assign(seed=[0, 1, 1, 2]), "1 of 2 rows have no partner"),
        (PAIRS.assign(seed=0), "no pairs"),
    ],
)
def test_rows_without_one_partner_are_refused(frame: pd.DataFrame, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        differences(frame)
