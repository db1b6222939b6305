"""Claims: a small safe language, honest verdicts, evidence that shows the numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import L2, accuracy_rows, landscape_rows, make_item, make_study, printed_accuracies
from robustscape.claims.claims import FAILS, FUNCTIONS, HOLDS, UNTESTABLE, check, evaluate

import robustscape
from robustscape.claims import claims, series
from robustscape.claims.series import NotTestable, Series
from robustscape.config.studies import Claim
from robustscape.errors import ConfigError
from robustscape.report.items import aggregate, write_item

FACTORS = ["dataset", "architecture", "noise", "norm", "eps"]
SHARP = aggregate(landscape_rows(points=3), [*FACTORS, "alpha"])
ACCURACY = aggregate(accuracy_rows(), FACTORS, printed_accuracies([*L2, 1.5]))


def sharp(expression: str) -> tuple[str, str]:
    return evaluate(expression, SHARP, [*FACTORS, "alpha"])


def accurate(expression: str) -> tuple[str, str]:
    return evaluate(expression, ACCURACY, FACTORS)


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("spearman(series('sharpness', noise='PGD', norm='L2')) >= 0.9", HOLDS),
        ("last(series('sharpness', noise='RANDOM')) < 2 * first(series('sharpness', noise='RANDOM'))", FAILS),
        (
            "all_true(beyond(series('sharpness', noise='PGD'), 0) > beyond(series('sharpness', noise='RANDOM'), 0))",
            HOLDS,
        ),
        ("all_true(series('sharpness', noise='PGD') > series('sharpness', noise='RANDOM'))", FAILS),
        ("share_true(series('sharpness', noise='PGD') > series('sharpness', noise='RANDOM')) > 0.8", HOLDS),
        ("last(ratio(series('sharpness', noise='PGD'), series('sharpness', noise='RANDOM'))) >= 5", HOLDS),
        ("r2_linear(series('sharpness', noise='PGD')) >= 0.95", FAILS),
        ("all_true([spearman(series('sharpness', noise=n)) > 0.9 for n in ['PGD', 'RANDOM']])", HOLDS),
        ("strictly_increasing(at(series('sharpness', noise='PGD'), [0.2, 0.6, 1]))", HOLDS),
        ("largest(series('sharpness', noise='PGD')) < 2 and True", FAILS),
        ("not strictly_increasing(series('sharpness', noise='PGD')) or 1 > 0", HOLDS),
    ],
)
def test_verdicts(expression: str, verdict: str) -> None:
    assert sharp(expression)[0] == verdict


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("non_increasing(series('robust_test_accuracy'), tolerance=0.15)", HOLDS),
        ("non_increasing(series('generalization_gap'))", FAILS),
        (
            "absolute(value('robust_test_accuracy', eps=1) - printed('robust_test_accuracy', eps=1)) <= 0.5",
            HOLDS,
        ),
        (
            "absolute(value('robust_test_accuracy', eps=1) - printed('robust_test_accuracy', eps=1)) <= 0.4",
            FAILS,
        ),
        ("strictly_decreasing(printed_series('robust_test_accuracy'))", HOLDS),
        ("spread(series('robust_train_accuracy')) <= 0.05", FAILS),
        ("value('robust_test_accuracy', eps=51/255) > 99", HOLDS),
    ],
)
def test_verdicts_with_printed_numbers(expression: str, verdict: str) -> None:
    assert accurate(expression)[0] == verdict


def test_evidence_shows_what_was_read_and_worked_out() -> None:
    _, evidence = sharp("spearman(series('sharpness', noise='PGD', norm='L2')) >= 0.9")
    assert evidence == (
        "sharpness (PGD, L2) at ε 0, 0.2, 0.4, 0.6, 0.8, 1: 0.02036, 0.1018, 0.3462, 0.7534, 1.324, 2.057; "
        "spearman = 1. Stand-in: digits_01 for mnist2."
    )
    _, evidence = accurate("value('robust_test_accuracy', eps=1) > printed('robust_test_accuracy', eps=1)")
    assert evidence.startswith("robust test accuracy (ε = 1) = 98.5; paper's robust test accuracy (ε = 1) = 98.95.")


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("value('sharpness', noise='PGD', eps=7) > 1", "there is no value of sharpness (PGD, ε = 7)"),
        ("value('width', noise='PGD', eps=1) > 1", "there is no row with metric 'width'"),
        ("spearman(series('sharpness', noise='APGD')) > 1", "there is no value of sharpness (APGD)"),
        ("first(series('sharpness', noise='PGD') / 0) > 1", "a division by zero"),
        ("largest(at(series('sharpness', noise='PGD'), [0.3])) > 1", "the series has no level 0.3"),
        ("printed('sharpness', noise='PGD', eps=1) > 1", "there is no printed number of sharpness"),
    ],
)
def test_missing_numbers_are_not_a_failure_of_the_claim(expression: str, why: str) -> None:
    verdict, evidence = sharp(expression)
    assert verdict == UNTESTABLE
    assert why in evidence


def test_a_number_that_only_the_paper_has_is_not_ours() -> None:
    verdict, evidence = accurate("value('robust_test_accuracy', eps=1.5) > 0")
    assert verdict == UNTESTABLE
    assert "nothing was measured" in evidence
    assert accurate("last(series('robust_test_accuracy')) < 98.6")[0] == HOLDS  # 1.5 is not in our series


def test_a_diverged_run_cannot_make_a_claim_hold() -> None:
    rows = ACCURACY.copy()
    rows.loc[rows["eps"] == 1.0, "value"] = float("nan")
    verdict, evidence = evaluate("not (last(series('robust_test_accuracy')) > 99)", rows, FACTORS)
    assert verdict == FAILS
    assert "not finite" in evidence


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("1 >", "is not an expression"),
        ("x = 1", "is not an expression"),
        ("", "is not an expression"),
        ("foo > 1", "unknown name 'foo'"),
        ("spearmen(series('a')) > 1", "unknown function 'spearmen'. Did you mean 'spearman'"),
        ("spearman() > 1", r"missing a required argument: 'series'; it is spearman\(series\)"),
        ("non_increasing(series('a'), tolerence=1)", "got an unexpected keyword argument 'tolerence'"),
        ("value('a').real > 1", "uses Attribute"),
        ("(lambda: 1)() > 1", "unknown function"),
        ("__import__('os').system('true') == 0", "unknown function|uses Attribute"),
        ("0 < value('a') < 1", "chains comparisons"),
        ("value(**{'metric': 'a'}) > 1", r"'\*\*' is not allowed|uses Dict"),
        ("f'{1}' == '1'", "uses JoinedStr"),
        ("[x for x in [1]][0] == 1 and x == 1 and y", "unknown name 'y'"),
    ],
)
def test_check_refuses_without_data(expression: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        check(expression)


def test_check_knows_an_items_names() -> None:
    check("value('loss', eps=0) > 1", metrics=["loss"], factors=["eps"])
    with pytest.raises(ConfigError, match=r"unknown metric 'los'. Did you mean 'loss'"):
        check("value('los', eps=0) > 1", metrics=["loss"], factors=["eps"])
    with pytest.raises(ConfigError, match="unknown factor 'epsilon'"):
        check("value('loss', epsilon=0) > 1", metrics=["loss"], factors=["eps"])
    with pytest.raises(ConfigError, match="unknown factor 'eps'"):
        check("spearman(series('loss', along='eps')) > 1", factors=["alpha"])


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("value('sharpness', eps=1) > 1", "is 2 values; they differ in noise"),
        ("spearman(series('sharpness')) > 1", "is 2 values; they differ in noise"),
        ("value('sharpness', nois='PGD') > 1", "unknown factor 'nois'. Did you mean 'noise'"),
        ("series('sharpness', noise='PGD') > 1", "neither true nor false; wrap"),
        ("series('sharpness', noise='PGD') > 1 and True", "neither true nor false; wrap"),
        ("value('sharpness', noise='PGD', eps=1)", "is 2.057, neither true nor false"),
        ("largest(3) > 1", "got a single number"),
        ("r2_linear([1, 2, 3]) > 1", "needs a series"),
        ("value('sharpness', noise='PGD', eps=1) > 'a'", "not supported between"),
        ("10 ** 10 ** 10 > 1", "don't want to evaluate"),
    ],
)
def test_wrong_expressions_are_errors_not_verdicts(expression: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        sharp(expression)


numbers = st.lists(st.floats(-100, 100), min_size=3, max_size=8)


@settings(deadline=None)
@given(numbers)
def test_monotone_functions_agree_with_sorting(values: list[float]) -> None:
    assert series.non_decreasing(values) == (values == sorted(values))
    assert series.non_increasing(values) == series.non_decreasing([-v for v in values])
    assert series.strictly_increasing(values) == (values == sorted(set(values)))
    assert series.strictly_decreasing(values) == series.strictly_increasing([-v for v in values])
    assert series.non_decreasing(values, tolerance=1000)
    assert series.spread(values) == max(values) - min(values)


@settings(deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=3, max_size=8))
def test_spearman_is_the_correlation_of_ranks(values: list[int]) -> None:
    if len(set(values)) > 1:
        ranks = pd.Series(values).rank()
        assert series.spearman(values) == pytest.approx(ranks.corr(pd.Series(range(len(values)))), abs=1e-9)
    else:
        assert series.spearman(values) == 0


@settings(deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5).filter(lambda b: abs(b) > 1e-3))
def test_r2_of_a_line_is_one(a: float, b: float) -> None:
    line = Series((0.0, 0.1, 0.4, 1.0), tuple(a + b * x for x in (0.0, 0.1, 0.4, 1.0)))
    assert series.r2_linear(line) == pytest.approx(1.0)


def test_arithmetic_of_series_is_level_by_level() -> None:
    a, b = Series((0, 1), (1.0, 4.0)), Series((0, 1), (2.0, 2.0))
    assert (
        (a + b).values == (3, 6)
        and (a - b).values == (-1, 2)
        and (a * 2).values == (2, 8)
        and (a / b).values == (0.5, 2)
    )
    assert (
        (1 - a).values == (0, -3) and (2 * a).values == (2, 8) and (4 / a).values == (4, 1) and (-a).values == (-1, -4)
    )
    assert (a > b).values == (False, True) and (a <= 1).values == (True, False)
    with pytest.raises(NotTestable, match="different levels"):
        a + Series((0, 2), (1.0, 1.0))
    with pytest.raises(ConfigError):
        bool(a)


def test_one_row_a_claim_over_a_works_items(tmp_path: Path) -> None:
    said = [
        Claim(id="A", says="falls", holds="non_increasing(series('robust_test_accuracy'), 0.15)"),
        Claim(id="B", says="above 99", holds="smallest(series('robust_test_accuracy')) > 99"),
        Claim(id="C", says="linear", holds="r2_linear(series('robust_test_accuracy')) > 0.9", scales=["paper"]),
    ]
    stanza = {"title": "T", "kind": "table", "draw": "grid", "factors": FACTORS, "options": {"index": ["eps"]}}
    made = make_item(**stanza, claims=said)
    missing = make_item(**stanza, claims=said[:1])
    write_item(made, accuracy_rows(), tmp_path / "w" / "table_1.csv")
    rows = claims.verdicts({"w": make_study("w", table_1=made, table_2=missing)}, tmp_path, "small")
    assert [tuple(row) for row in rows] == [claims.COLUMNS] * 4
    assert [(r["item"], r["claim"], r["verdict"]) for r in rows] == [
        ("table_1", "A", HOLDS),
        ("table_1", "B", FAILS),
        ("table_1", "C", UNTESTABLE),
        ("table_2", "A", UNTESTABLE),
    ]
    assert rows[2]["evidence"] == "It can be tested at: paper."
    assert rows[3]["evidence"] == "The item was not made."
    assert claims.verdicts({"w": make_study("w", table_1=made)}, tmp_path, "paper")[2]["verdict"] in (HOLDS, FAILS)


def test_a_wrong_claim_is_named(tmp_path: Path) -> None:
    stanza = {"title": "T", "kind": "table", "draw": "grid", "factors": FACTORS, "options": {"index": ["eps"]}}
    item = make_item(**stanza, claims=[Claim(id="A", says="s", holds="value('robust_test_accuracy') > 1")])
    write_item(item, accuracy_rows(), tmp_path / "w" / "table_1.csv")
    with pytest.raises(ConfigError, match="w/table_1: claim 'A': robust test accuracy is 6 values; they differ in eps"):
        claims.verdicts({"w": make_study("w", table_1=item)}, tmp_path, "small")


def test_checking_is_quick_enough_for_planning() -> None:
    code = (
        "import sys; from robustscape.claims.claims import check; check(\"spearman(series('a')) > 0\");"
        "print([m for m in ('pandas', 'numpy', 'matplotlib', 'torch') if m in sys.modules])"
    )
    source = Path(robustscape.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_documentation_lists_every_function() -> None:
    text = claims.documentation()
    assert text.count("\n") == len(FUNCTIONS)
    assert "- `series(metric, along='eps', **factors)`: Our means of `metric`" in text
    assert all(f"- `{name}(" in text for name in FUNCTIONS)
    written = Path(__file__).parents[2] / "docs" / "claims.md"
    assert written.read_text().endswith(text)


def test_metrics_of_landscapes_do_not_confuse_factors() -> None:
    assert sharp("value('loss', noise='PGD', eps=1, alpha=1) > value('loss', noise='PGD', eps=1, alpha=0)")[0] == HOLDS
