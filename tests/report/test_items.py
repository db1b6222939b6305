"""The item CSV: means, printed numbers, honesty about differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import L2, LINF, accuracy_rows, eigenvalue_rows, landscape_rows, make_item, printed_accuracies

from robustscape.errors import ConfigError
from robustscape.report.items import (
    HARDWARE_UNITS,
    aggregate_repetitions,
    count_printed,
    read_rows,
    select_metrics,
    write_item,
)
from robustscape.report.level_matching import same_level
from robustscape.report.notes import reproduced

FACTORS = ["dataset", "architecture", "noise", "norm", "eps"]
METRICS = ["robust_train_accuracy", "robust_test_accuracy", "generalization_gap"]


def one(table: pd.DataFrame, metric: str, eps: float) -> pd.Series:
    found = table[(table["metric"] == metric) & table["eps"].map(lambda e: same_level(e, eps))]
    assert len(found) == 1
    return found.iloc[0]


def test_mean_sample_deviation_and_count_over_seeds() -> None:
    rows = accuracy_rows()
    row = one(aggregate_repetitions(rows, FACTORS), "robust_test_accuracy", 0.4)
    values = rows[(rows["metric"] == "robust_test_accuracy") & (rows["eps"] == 0.4)]["value"]
    assert row["n"] == 3
    assert row["value"] == pytest.approx(np.mean(values), rel=1e-12)
    assert row["std"] == pytest.approx(np.std(values, ddof=1), rel=1e-9)
    assert row["unit"] == "percent"


def test_columns_are_those_of_the_contract_and_order_is_stable() -> None:
    table = aggregate_repetitions(accuracy_rows(flag_x=False), FACTORS, printed_accuracies())
    contract = [
        "metric",
        "value",
        "std",
        "n",
        "unit",
        "paper_value",
        "difference",
        "within",
        "stand_in",
        "paper_protocol",
        "flag_x",
    ]
    assert list(table.columns)[: len(FACTORS) + len(contract)] == [*FACTORS, *contract]
    assert list(table["eps"].drop_duplicates()) == L2
    assert list(table["metric"][:3]) == METRICS


def test_one_seed_has_no_deviation_not_zero(tmp_path) -> None:
    rows = accuracy_rows()
    item = make_item(factors=FACTORS, options={"index": ["eps"]})
    write_item(item, rows[rows["seed"] == 0], tmp_path / "w" / "t.csv")
    table = read_rows(tmp_path / "w" / "t.csv")
    assert table["std"].isna().all() and (table["n"] == 1).all()


def test_nothing_in_the_csv_is_rounded(tmp_path) -> None:
    rows = accuracy_rows()
    write_item(make_item(factors=FACTORS, options={"index": ["eps"]}), rows, tmp_path / "w" / "t.csv", scale="small")
    written = read_rows(tmp_path / "w" / "t.csv")
    assert list(written["value"]) == list(aggregate_repetitions(select_metrics(rows, FACTORS, []), FACTORS)["value"])
    assert set(written["scale"]) == {"small"}


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(random) -> None:
    rows = accuracy_rows()
    rows = rows[rows["eps"] < 0.5]
    order = list(rows.index)
    random.shuffle(order)
    shuffled = aggregate_repetitions(rows.loc[order], FACTORS)
    straight = aggregate_repetitions(rows, FACTORS)
    keys = ["eps", "metric"]
    left, right = (
        t.sort_values(keys)[[*keys, "value", "std", "n"]].reset_index(drop=True) for t in (shuffled, straight)
    )
    pd.testing.assert_frame_equal(left, right, rtol=1e-12)


def test_printed_numbers_are_found_by_radii_of_six_digits_and_other_spellings() -> None:
    rows = accuracy_rows(architecture="resnet18")
    rows = rows[rows["eps"].isin(L2[:5])]
    rows["eps"] = rows["eps"].map(dict(zip(L2[:5], LINF, strict=True)))
    printed = printed_accuracies(LINF).assign(architecture="ResNet18")
    assert printed["eps"].iloc[2] != LINF[1]
    table = aggregate_repetitions(rows, FACTORS, printed)
    assert len(table) == len(rows) / 3
    shown = table[table["metric"] != "generalization_gap"]
    assert shown["paper_value"].notna().all()
    assert one(table, "robust_test_accuracy", 8 / 255)["paper_value"] == pytest.approx(99.92)
    assert one(table, "generalization_gap", 8 / 255)[["paper_value"]].isna().all()


@pytest.mark.parametrize(
    ("stand_in", "own_protocol", "expected"),
    [("", True, True), ("", False, False), ("digits", True, False), ("digits", False, False)],
)
def test_a_difference_only_where_it_is_a_reproduction(stand_in: str, own_protocol: bool, expected: bool) -> None:
    table = aggregate_repetitions(
        accuracy_rows(stand_in=stand_in, paper_protocol=own_protocol), FACTORS, printed_accuracies()
    )
    row = one(table, "robust_train_accuracy", 1.0)
    assert row["paper_value"] == pytest.approx(98.89)
    if expected:
        assert row["difference"] == pytest.approx(row["value"] - 98.89)
    else:
        assert table["difference"].isna().all()


def printed_at(value: float, unit: str) -> pd.DataFrame:
    """One printed accuracy at eps = 1."""
    return pd.DataFrame([{"eps": 1.0, "metric": "robust_train_accuracy", "value": value, "unit": unit}])


@pytest.mark.parametrize(
    ("bound", "away", "within"),
    [
        (None, 0.0, 1),
        (None, 30.0, 0),
        (None, -30.0, 0),
        ("at_least", 30.0, 1),
        ("at_least", -30.0, 0),
        ("at_most", 30.0, 0),
        ("at_most", -30.0, 1),
    ],
)
def test_a_printed_bound_is_respected_on_one_side(bound: str | None, away: float, within: int) -> None:
    rows = accuracy_rows(stand_in="", paper_protocol=True)
    ours = one(aggregate_repetitions(rows, FACTORS), "robust_train_accuracy", 1.0)["value"]
    bounds = {"robust_train_accuracy": bound} if bound else {}
    table = aggregate_repetitions(rows, FACTORS, printed_at(ours - away, "percent"), bounds)
    assert one(table, "robust_train_accuracy", 1.0)["within"] == within


def test_a_number_that_is_not_finite_respects_no_bound() -> None:
    rows = accuracy_rows(stand_in="", paper_protocol=True)
    for value in (float("inf"), float("nan")):
        rows["value"] = value
        table = aggregate_repetitions(rows, FACTORS, printed_at(1.0, "percent"), {"robust_train_accuracy": "at_least"})
        assert one(table, "robust_train_accuracy", 1.0)["within"] == 0


@pytest.mark.parametrize("unit", HARDWARE_UNITS)
def test_times_of_another_machine_are_not_compared(unit: str) -> None:
    rows = accuracy_rows(stand_in="", paper_protocol=True).assign(unit=unit)
    ours = one(aggregate_repetitions(rows, FACTORS), "robust_train_accuracy", 1.0)["value"]
    table = aggregate_repetitions(rows, FACTORS, printed_at(ours, unit))
    assert count_printed(table) == {"printed": 1, "compared": 0, "within": 0}
    assert one(table, "robust_train_accuracy", 1.0)["difference"] == pytest.approx(0)


def test_one_seed_off_protocol_spoils_the_difference() -> None:
    rows = accuracy_rows(stand_in="", paper_protocol=True)
    rows.loc[rows["seed"] == 1, "paper_protocol"] = False
    assert aggregate_repetitions(rows, FACTORS, printed_accuracies())["difference"].isna().all()


def test_without_the_column_nothing_counts_as_a_reproduction() -> None:
    rows = accuracy_rows(stand_in="").drop(columns="paper_protocol")
    assert aggregate_repetitions(rows, FACTORS, printed_accuracies())["difference"].isna().all()


def test_a_printed_number_that_nothing_reproduces_stays() -> None:
    table = aggregate_repetitions(
        accuracy_rows(stand_in="", paper_protocol=True), FACTORS, printed_accuracies([*L2, 1.5])
    )
    row = one(table, "robust_test_accuracy", 1.5)
    assert row["paper_value"] == pytest.approx(98.45) and row["n"] == 0
    assert np.isnan(row["value"]) and np.isnan(row["difference"])
    assert len(table) == 3 * len(L2) + 2
    assert one(table, "robust_test_accuracy", 1.0)["difference"] == pytest.approx(98.50 - 98.95)


def test_printed_deviation_is_kept() -> None:
    table = aggregate_repetitions(accuracy_rows(), FACTORS, printed_accuracies().assign(std=0.25))
    assert one(table, "robust_test_accuracy", 0.2)["paper_std"] == 0.25


def test_units_must_agree() -> None:
    with pytest.raises(ConfigError, match=r"robust_t.* is measured in 'percent' but printed in '1'"):
        aggregate_repetitions(accuracy_rows(), FACTORS, printed_accuracies().assign(unit="1"))


def test_ambiguous_printed_numbers_are_refused() -> None:
    printed = printed_accuracies()
    with pytest.raises(ConfigError, match=r"same dataset, architecture, metric.*add a factor: .*eps"):
        aggregate_repetitions(accuracy_rows()[lambda r: r["eps"] == 0], ["dataset", "architecture"], printed)
    with pytest.raises(ConfigError, match="share no factor"):
        aggregate_repetitions(accuracy_rows(colour="red")[lambda r: r["eps"] == 0], ["colour"], printed)


def test_two_protocols_are_not_averaged() -> None:
    rows = pd.concat([accuracy_rows(), accuracy_rows(attack="apgd").assign(value=1.0)])
    with pytest.raises(ConfigError, match=r"2 values compete for .*eps=0.0.*they differ in attack"):
        aggregate_repetitions(rows, FACTORS)


def test_a_row_read_twice_counts_once() -> None:
    rows = accuracy_rows()
    pd.testing.assert_frame_equal(
        aggregate_repetitions(pd.concat([rows, rows]), FACTORS), aggregate_repetitions(rows, FACTORS)
    )


def test_a_diverged_seed_is_not_hidden() -> None:
    rows = accuracy_rows()
    rows.loc[(rows["seed"] == 1) & (rows["eps"] == 1.0), "value"] = float("nan")
    table = aggregate_repetitions(rows, FACTORS)
    assert np.isnan(one(table, "robust_test_accuracy", 1.0)["value"])
    assert one(table, "robust_test_accuracy", 1.0)["n"] == 3
    assert one(table, "robust_test_accuracy", 0.8)["value"] == pytest.approx(99.004)


def test_flags_keep_the_worst_and_other_columns_every_value() -> None:
    rows = accuracy_rows()
    rows["flag_zero_gradients"] = np.where(rows["seed"] == 2, 0.25, 0.0)
    row = one(aggregate_repetitions(rows, FACTORS), "robust_test_accuracy", 0.2)
    assert row["flag_zero_gradients"] == 0.25
    assert row["steps"] == 100 and row["seed"] == "0;1;2" and row["checkpoint"] == "c00.2;c10.2;c20.2"


def test_missing_columns_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no column \['colour'\]. There are: .*eps"):
        aggregate_repetitions(accuracy_rows(), [*FACTORS, "colour"])


def test_centred_is_relative_to_each_directions_own_origin() -> None:
    rows = landscape_rows(points=5)
    factors = [*FACTORS, "alpha"]
    rows.loc[rows["metric"] == "loss", "value"] += rows["direction"]  # raw spread is huge, centred spread is not
    table = aggregate_repetitions(select_metrics(rows, factors, ["loss_centred", "sharpness"]), factors)
    centred = table[table["metric"] == "loss_centred"]
    assert list(table["metric"].drop_duplicates()) == ["loss_centred", "sharpness"]
    assert (centred[centred["alpha"] == 0]["value"] == 0).all()
    at = (centred["eps"] == 1.0) & (centred["noise"] == "PGD") & (centred["alpha"] == 1.0)
    bends = [(0.01 + 1.0) * (1 + 0.08 * np.sin(d)) + 0.02 * np.cos(3 * d) for d in range(5)]
    assert centred[at]["value"].item() == pytest.approx(np.mean(bends))
    assert centred[at]["std"].item() == pytest.approx(np.std(bends, ddof=1))
    assert (centred["n"] == 5).all()


def test_centring_needs_the_origin() -> None:
    rows = landscape_rows(points=4)
    with pytest.raises(ConfigError, match="odd number of points"):
        select_metrics(rows, [*FACTORS, "alpha"], ["loss_centred"])
    with pytest.raises(ConfigError, match=r"no row has metric 'los'. There are: loss, sharpness"):
        select_metrics(rows, FACTORS, ["los"])


def test_rows_without_a_coordinate_live_beside_rows_with_one() -> None:
    factors = [*FACTORS, "alpha"]
    table = aggregate_repetitions(landscape_rows(points=3), factors)
    assert (table["metric"] == "sharpness").sum() == 12
    assert table[table["metric"] == "sharpness"]["alpha"].isna().all()


def test_numbers_ascend_and_words_keep_their_order() -> None:
    rows = eigenvalue_rows()
    table = aggregate_repetitions(rows.iloc[::-1], ["norm", "eps", "convention", "rank"])
    assert list(table["norm"].drop_duplicates()) == ["Linf", "L2"]
    assert list(table[table["norm"] == "L2"]["eps"].drop_duplicates()) == L2
    assert list(table["rank"][:3]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (8 / 255, "8/255", True),
        (8 / 255, 0.0313725, True),
        (0.0, 1e-9, False),
        (0.2, 0.21, False),
        ("PreActResNet-18", "preactresnet18", True),
        ("L2", "Linf", False),
        (float("nan"), None, True),
        (1, "PGD", False),
    ],
)
def test_same_level(a: object, b: object, same: bool) -> None:
    assert same_level(a, b) is same


def test_none_and_na_are_words(tmp_path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("optimizer,value,stand_in\nNone,1,\nNA,,\n")
    rows = read_rows(path)
    assert (
        list(rows["optimizer"]) == ["None", "NA"] and np.isnan(rows["value"][1]) and list(rows["stand_in"]) == ["", ""]
    )


def test_make_writes_every_file_of_an_item(tmp_path) -> None:
    table = make_item(factors=FACTORS, metrics=METRICS, options={"index": ["eps"]})
    paths = write_item(
        table, accuracy_rows(), tmp_path / "w" / "table_1.csv", printed=printed_accuracies(), scale="small"
    )
    assert [path.name for path in paths] == ["table_1.csv", "table_1.md", "table_1.tex"]
    figure = make_item(kind="figure", draw="curves", factors=FACTORS, options={"x": "eps", "hue": "metric"})
    paths = write_item(figure, accuracy_rows(), tmp_path / "w" / "figure_1.csv")
    assert [path.suffix for path in paths] == [".csv", ".png", ".svg"]
    assert sorted(p.name for p in (tmp_path / "w").iterdir()) == sorted(
        ["table_1.csv", "table_1.md", "table_1.tex", "figure_1.csv", "figure_1.png", "figure_1.svg"]
    )


def own_rows(values: list[float], unit: str = "percent") -> pd.DataFrame:
    """A number measured with several seeds, under the work's own protocol."""
    rows = [
        {"eps": 0.1, "metric": "m", "value": value, "unit": unit, "seed": seed} for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(stand_in="", paper_protocol=True)


@pytest.mark.parametrize(
    ("values", "unit", "printed", "std", "within"),
    [
        ([50.0], "percent", 50.9, None, 1),  # within a point
        ([50.0], "percent", 51.1, None, 0),
        ([49.0, 51.0], "percent", 52.5, None, 1),  # std 1.41
        ([49.0, 51.0], "percent", 53.0, None, 0),
        ([50.0], "percentage_points", 50.9, None, 1),
        ([50.0], "percent", 52.9, 1.5, 1),  # the printed deviation counts too
        ([1.0], "nats", 1.04, None, 1),  # within 5 %
        ([1.0], "nats", 1.06, None, 0),
        ([-1.0], "nats", -1.04, None, 1),
    ],
)
def test_a_number_is_within_two_deviations_or_a_point_of_the_printed_one(
    values: list[float], unit: str, printed: float, std: float | None, within: int
) -> None:
    theirs = pd.DataFrame([{"eps": 0.1, "metric": "m", "value": printed, "std": std, "unit": unit}])
    table = aggregate_repetitions(own_rows(values, unit), ["eps"], theirs)
    assert table["within"].tolist() == [within]
    assert count_printed(table) == {"printed": 1, "compared": 1, "within": within}
    context = aggregate_repetitions(own_rows(values, unit).assign(stand_in="x for y"), ["eps"], theirs)
    assert context["within"].isna().all()
    assert count_printed(context) == {"printed": 1, "compared": 0, "within": 0}
    assert reproduced(context) == ""
    assert reproduced(table).startswith(f"{within} of 1 numbers within 2 standard deviations")


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_diverged_number_is_compared_and_not_within(value: float) -> None:
    theirs = pd.DataFrame([{"eps": 0.1, "metric": "m", "value": 1.0, "unit": "nats"}])
    table = aggregate_repetitions(own_rows([value], "nats"), ["eps"], theirs)
    assert count_printed(table) == {"printed": 1, "compared": 1, "within": 0}


def test_a_step_of_its_own_leaves_no_share_of_eps() -> None:
    """An attack with a fixed step does not read ``rel_step_size``, which has a default: the row would state two steps."""
    rows = accuracy_rows()
    fixed = rows.assign(step_size=2 / 255, rel_step_size=0.25)
    assert aggregate_repetitions(fixed, FACTORS)["rel_step_size"].isna().all()
    assert (aggregate_repetitions(fixed, FACTORS)["step_size"] == 2 / 255).all()
    relative = rows.assign(step_size=float("nan"), rel_step_size=0.25)
    assert (aggregate_repetitions(relative, FACTORS)["rel_step_size"] == 0.25).all()


def test_a_hash_that_looks_like_a_number_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("metric,value,checkpoint\na,1.5,7461690014e6\na,2.5,001234567890\na,3.5,1e9999999999\nb,4.5,\n")
    rows = read_rows(path)
    assert rows["checkpoint"].tolist()[:3] == ["7461690014e6", "001234567890", "1e9999999999"]
    assert rows["checkpoint"].isna().tolist() == [False, False, False, True] and rows["value"].tolist()[0] == 1.5
