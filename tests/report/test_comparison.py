"""Two folders of results: numbers are matched by their factors, and what changed is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from made_up import vouch_for

from robustscape.config.studies import Study
from robustscape.errors import CorruptFile, MissingData
from robustscape.report import comparison


@pytest.fixture
def two(results: tuple[dict[str, Study], Path], tmp_path: Path) -> tuple[dict[str, Study], Path, Path]:
    studies, old = results
    return studies, old, Path(shutil.copytree(old, tmp_path / "other" / "small"))


def edit(csv: Path, change) -> None:
    """Change the rows of a result as a step would: with a record that vouches for them."""
    rows = pd.read_csv(csv, keep_default_na=False, na_values=[""])
    change(rows).to_csv(csv, index=False)
    vouch_for(csv)


def test_equal_results_differ_in_nothing(two) -> None:
    studies, old, new = two
    html, problems = comparison.comparison_html(studies, old, new)
    assert not problems and "Numbers that differ" not in html and "None: all 5 claims" in html


def test_a_number_is_matched_by_its_factors_whatever_the_order_of_rows(two) -> None:
    studies, old, new = two

    def change(rows):
        rows.loc[rows["eps"] == 0.2, "value"] += 0.5
        return rows.iloc[::-1]

    edit(new / "yamada2021" / "table_2.csv", change)
    item = studies["yamada2021"].items["table_2"]
    found = comparison.compare_item("yamada2021", "table_2", item, old, new)
    assert (found.differing, found.equal, found.only_old, found.only_new) == (3, 15, 0, 0)
    assert {number.levels for number in found.numbers} == {("0.2",)}
    assert {number.difference for number in found.numbers} == {"+0.50"}
    # 0.5 by the standard error of a difference of two means of three, whose standard deviation is 0.03, 0.05 or 0.02.
    assert sorted(number.errors for number in found.numbers) == ["12.2", "20.4", "30.6"]


def test_numbers_of_one_side_are_counted_and_not_compared(two) -> None:
    studies, old, new = two
    edit(new / "yamada2021" / "table_2.csv", lambda rows: rows[rows["eps"] != 0.2])
    found = comparison.compare_item("yamada2021", "table_2", studies["yamada2021"].items["table_2"], old, new)
    assert (found.differing, found.equal, found.only_old, found.only_new) == (0, 15, 3, 0)


def test_a_value_that_became_nan_differs_and_is_shown_first(two) -> None:
    studies, old, new = two

    def change(rows):
        rows.loc[3, "value"] = float("nan")
        rows.loc[0, "value"] += 9
        return rows

    edit(new / "yamada2021" / "table_2.csv", change)
    found = comparison.compare_item("yamada2021", "table_2", studies["yamada2021"].items["table_2"], old, new)
    assert found.differing == 2 and found.numbers[0].difference == "nan" and found.numbers[0].share == 0


def test_the_largest_differences_of_a_long_item_are_shown(two, monkeypatch) -> None:
    studies, old, new = two
    monkeypatch.setattr(comparison, "_MOST_ROWS", 2)

    def change(rows):
        return rows.assign(value=rows["value"] + 0.1 * (rows.index + 1))

    edit(new / "yamada2021" / "table_2.csv", change)
    html, _ = comparison.comparison_html(studies, old, new)
    assert "Shown: the 2 that differ most" in html


def test_verdicts_that_changed_and_claims_of_one_side_are_listed(two) -> None:
    studies, old, new = two

    def change(rows):
        rows.loc[rows["claim"] == "Y-9", "verdict"] = "holds"
        return rows[rows["claim"] != "Y-T"]

    edit(new / "claims.csv", change)
    changed, judged = comparison._changed_verdicts(studies, old / "claims.csv", new / "claims.csv")
    assert judged == 4
    assert [(one["claim"], one["old"], one["new"]) for one in changed] == [
        ("Y-9", "fails", "holds"),
        ("Y-T", "holds", ""),
    ]


def test_items_of_one_side_are_named(two) -> None:
    studies, old, new = two
    for path in (new / "kim2023").iterdir():
        path.unlink()
    html, _ = comparison.comparison_html(studies, old, new)
    assert "<b>kim2023/figure_4_1</b>" in html and "only in results/small" in html


def test_what_is_broken_is_refused_and_the_rest_is_compared(two) -> None:
    studies, old, new = two
    (new / "yamada2021" / "table_1.csv").write_text("edited")
    with pytest.raises(CorruptFile, match=r"table_1\.csv is not the file"):
        comparison.write_comparison(studies, old, new)
    html = (new / "report" / comparison.COMPARISON).read_text()
    assert "Broken results" in html and "yamada2021/table_2" in html


def test_a_folder_without_results_is_a_sentence(two, tmp_path) -> None:
    studies, old, _ = two
    with pytest.raises(MissingData, match="nowhere has no item of yamada2021, kim2023"):
        comparison.write_comparison(studies, old, tmp_path / "nowhere")
