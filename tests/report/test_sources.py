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
