"""Claims: a small safe language, honest verdicts, evidence that shows the numbers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import L2, accuracy_rows, landscape_rows, make_item, make_study, printed_accuracies, vouch_for

import robustscape
from robustscape.claims import series
from robustscape.claims.expressions import (
    FUNCTIONS,
    check_claim,
    check_claims,
    check_expression,
    expand_claim,
    signature_text,
)
from robustscape.claims.series import NotTestable, Series, all_true, share_above
from robustscape.claims.verdicts import CLAIM_COLUMNS, claim_rows, claim_verdict, evaluate_expression
from robustscape.config.base import validate_model
from robustscape.config.studies import Claim, Theory
from robustscape.errors import ConfigError
from robustscape.report.items import aggregate_repetitions, write_item
from robustscape.report.words import FAILS, HOLDS, NOT_MADE, UNDER_TRAINED, UNTESTABLE

ROOT = Path(__file__).parents[2]
FACTORS = ["dataset", "architecture", "noise", "norm", "eps"]
SHARP = aggregate_repetitions(landscape_rows(points=3), [*FACTORS, "alpha"])
ACCURACY = aggregate_repetitions(accuracy_rows(), FACTORS, printed_accuracies([*L2, 1.5]))


def sharp(expression: str) -> tuple[str, str]:
    return evaluate_expression(expression, SHARP, [*FACTORS, "alpha"])


def accurate(expression: str) -> tuple[str, str]:
    return evaluate_expression(expression, ACCURACY, FACTORS)


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
        ("value('sharpness', noise='none', norm='L2', eps=1) > 1", "there is no value of sharpness"),
        ("printed('sharpness', noise='PGD', eps=1) > 1", "there is no printed number of sharpness"),
    ],
)
def test_missing_numbers_are_not_a_failure_of_the_claim(expression: str, why: str) -> None:
    verdict, evidence = sharp(expression)
    assert verdict == UNTESTABLE
    assert why in evidence


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("value('sharpness', noise='PGD', eps=7) > 1", "unknown level of eps '7'"),
        ("spearman(series('sharpness', noise='PDG')) > 1", "unknown level of noise 'PDG'. Did you mean 'PGD'"),
        ("value('width', noise='PGD', eps=1) > 1", "unknown metric of the item 'width'"),
    ],
)
def test_what_no_scale_has_is_a_mistake(expression: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        evaluate_expression(expression, SHARP, [*FACTORS, "alpha"], fixed=lambda factor, level: True)
    beside = "value('sharpness', noise='PGD', eps=0, alpha=0.3) > 1 or value('sharpness', noise='PGD', eps=1) > 1"
    found = evaluate_expression(beside, SHARP, [*FACTORS, "alpha"], fixed=lambda factor, level: factor != "alpha")
    assert found[0] == UNTESTABLE


def test_a_level_that_only_the_paper_has_is_no_mistake() -> None:
    expression = "value('robust_test_accuracy', eps=1.5) > 0"
    assert evaluate_expression(expression, ACCURACY, FACTORS, fixed=lambda *_: True)[0] == UNTESTABLE


@pytest.mark.parametrize(
    ("holds", "why"),
    [
        ("1 < 2", "it reads no number that was measured, so it cannot fail"),
        ("all_true([True, 1 < 2])", "it reads no number that was measured"),
        (
            "printed('a') > 1",
            "it must call value or standard_error or sampling_error or series or standard_error_series",
        ),
        ("value('a') > 1 and 1 < 2", "'1 < 2' has a part that no number can change"),
        ("value('a') > 1 or True", "has a part that no number can change"),
    ],
)
def test_a_claim_that_no_result_can_change_is_refused(holds: str, why: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        check_claim(make_claim(holds))


def test_a_number_that_only_the_paper_has_is_not_ours() -> None:
    verdict, evidence = accurate("value('robust_test_accuracy', eps=1.5) > 0")
    assert verdict == UNTESTABLE
    assert "nothing was measured" in evidence
    assert accurate("last(series('robust_test_accuracy')) < 98.6")[0] == HOLDS  # 1.5 is not in our series


def test_a_diverged_run_cannot_make_a_claim_hold() -> None:
    rows = ACCURACY.copy()
    rows.loc[rows["eps"] == 1.0, "value"] = float("nan")
    verdict, evidence = evaluate_expression("not (last(series('robust_test_accuracy')) > 99)", rows, FACTORS)
    assert verdict == FAILS
    assert "not finite" in evidence


def test_a_number_of_a_run_from_before_it_diverged_makes_a_claim_fail() -> None:
    """Also where nets need not be trained; a number beside it is not touched."""
    rows = ACCURACY.assign(flag_diverged=[True if eps == 1.0 else float("nan") for eps in ACCURACY["eps"]])
    found = {
        eps: evaluate_expression(
            f"value('robust_test_accuracy', eps={eps}) > 0", rows, FACTORS, needs_trained_nets=False
        )
        for eps in (0.8, 1.0)
    }
    assert found[0.8][0] == HOLDS
    assert found[1.0][0] == FAILS and "diverged" in found[1.0][1]


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
        check_expression(expression)


def test_check_knows_an_items_names() -> None:
    check_expression("value('loss', eps=0) > 1", metrics=["loss"], factors=["eps"])
    with pytest.raises(ConfigError, match=r"the metric 'los' of the claim is not among the item's `metrics`: loss"):
        check_expression("value('los', eps=0) > 1", metrics=["loss"], factors=["eps"])
    with pytest.raises(ConfigError, match="the factor 'epsilon' of the claim is not among the item's `factors`: eps"):
        check_expression("value('loss', epsilon=0) > 1", metrics=["loss"], factors=["eps"])
    with pytest.raises(ConfigError, match="the factor 'eps' of the claim is not among the item's `factors`: alpha"):
        check_expression("spearman(series('loss', along='eps')) > 1", factors=["alpha"])


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("value('sharpness', eps=1) > 1", "is 2 values; they differ in noise"),
        ("spearman(series('sharpness')) > 1", "is 2 values; they differ in noise"),
        ("value('sharpness', nois='PGD') > 1", "the factor 'nois' of the claim .*'noise' in `factors`"),
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
    vouch_for(tmp_path / "w" / "table_1.csv")
    rows = claim_rows({"w": make_study("w", table_1=made, table_2=missing)}, tmp_path, "small")
    assert [tuple(row) for row in rows] == [CLAIM_COLUMNS] * 4
    assert [(r["item"], r["claim"], r["verdict"]) for r in rows] == [
        ("table_1", "A", HOLDS),
        ("table_1", "B", FAILS),
        ("table_1", "C", UNTESTABLE),
        ("table_2", "A", NOT_MADE),
    ]
    assert rows[2]["evidence"] == "It can be tested at: paper."
    assert rows[3]["evidence"] == "The item was not made."
    assert claim_rows({"w": make_study("w", table_1=made)}, tmp_path, "paper")[2]["verdict"] in (HOLDS, FAILS)
    old = claim_rows({"w": make_study("w", table_1=made)}, tmp_path, "small", old={("w", "table_1")})
    assert [row["verdict"] for row in old] == [NOT_MADE, NOT_MADE, UNTESTABLE]


def under_trained_at(eps: float) -> pd.DataFrame:
    """The accuracies, of nets that at one eps are not trained."""
    weak = ACCURACY["eps"] == eps
    health = weak.map({True: "d/a/r/eps1/seed0: weak", False: None})
    return ACCURACY.assign(flag_under_trained=weak.astype(int), health=health)


@pytest.mark.parametrize(
    "holds", ["value(eps=1) > 1", "value(eps=1) < 1", "first(series()) > 1", "standard_error(eps=1) > 0"]
)
def test_nets_that_are_not_trained_decide_nothing(holds: str) -> None:
    claim = make_claim(holds, given={"metric": "robust_test_accuracy"})
    verdict, evidence = claim_verdict(claim, under_trained_at(1.0), FACTORS, "small")
    assert verdict == UNDER_TRAINED
    assert evidence.startswith("Under-trained: d/a/r/eps1/seed0: weak. ") and "robust test accuracy" in evidence


def test_a_claim_reads_trained_nets_beside_others_or_says_that_it_is_about_dead_ones() -> None:
    rows = under_trained_at(1.0)
    elsewhere = make_claim("value('robust_test_accuracy', eps=0.8) > 99.5")
    assert claim_verdict(elsewhere, rows, FACTORS, "small")[0] == FAILS
    about_dead = make_claim("value('robust_test_accuracy', eps=1) > 1", dead_nets=True)
    assert claim_verdict(about_dead, rows, FACTORS, "small")[0] == HOLDS
    for kind in ("software", "data"):
        no_nets = make_claim("value('robust_test_accuracy', eps=1) > 1", kind=kind)
        assert claim_verdict(no_nets, rows, FACTORS, "small")[0] == HOLDS
    missing = make_claim("value('robust_test_accuracy', eps=1) > printed('robust_test_accuracy', eps=9)")
    assert claim_verdict(missing, rows, FACTORS, "small")[0] == UNTESTABLE


def test_a_claim_says_what_it_is_about() -> None:
    claims, sources = [make_claim("value('a') > 1")], [{"of": "theorem"}, {"of": "toy"}]
    item = make_item(rows=sources, factors=["eps"], options={"index": ["eps"]}, claims=claims)
    checks = {name: Theory(check="yamada2021/lemma_1") for name in ("theorem", "toy")}

    def check(**changes: Any) -> None:
        study = make_study("w", table_1=item.model_copy(update=changes))
        check_claims(study.model_copy(update={"theory": checks}))

    with pytest.raises(ConfigError, match="claim 'A': kind: got 'empirical', but all rows of the item are of theory"):
        check()
    check(rows=[*item.rows, item.rows[0].model_copy(update={"of": "accuracy"})])
    check(claims=[make_claim("value('a') > 1", kind="theory")])
    with pytest.raises(ConfigError, match="dead_nets: got true"):
        check(claims=[make_claim("value('a') > 1", kind="toy", dead_nets=True)])


def test_a_wrong_claim_is_named(tmp_path: Path) -> None:
    stanza = {"title": "T", "kind": "table", "draw": "grid", "factors": FACTORS, "options": {"index": ["eps"]}}
    item = make_item(**stanza, claims=[Claim(id="A", says="s", holds="value('robust_test_accuracy') > 1")])
    write_item(item, accuracy_rows(), tmp_path / "w" / "table_1.csv")
    vouch_for(tmp_path / "w" / "table_1.csv")
    with pytest.raises(ConfigError, match="w/table_1: claim 'A': robust test accuracy is 6 values; they differ in eps"):
        claim_rows({"w": make_study("w", table_1=item)}, tmp_path, "small")


def test_checking_is_quick_enough_for_planning() -> None:
    code = (
        "import sys; from robustscape.claims import expressions; expressions.check_expression(\"first(series('a')) > 0\");"
        "print([m for m in ('pandas', 'numpy', 'matplotlib', 'torch') if m in sys.modules])"
    )
    source = Path(robustscape.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def make_claim(holds: str, **keys: Any) -> Claim:
    return Claim(id="A", says="s", holds=holds, **keys)


@pytest.mark.parametrize(
    ("claim", "expanded"),
    [
        (make_claim("value('a') > 1"), "value('a') > 1"),
        (make_claim("value(eps=1) > 1", given={"metric": "a"}), "value(metric='a', eps=1) > 1"),
        (make_claim("value('b') > 1", given={"metric": "a", "eps": "8/255"}), f"value('b', eps={8 / 255}) > 1"),
        (make_claim("value(eps=2) > 1", given={"metric": "a", "eps": 1}), "value(metric='a', eps=2) > 1"),
        (
            make_claim("first(series()) > value() - printed()", given={"metric": "a", "along": "t"}),
            "first(series(metric='a', along='t')) > value(metric='a') - printed(metric='a')",
        ),
        (
            make_claim("last(printed_series('a', 'eps')) > 1", given={"along": "t"}),
            "last(printed_series('a', 'eps')) > 1",
        ),
        (
            make_claim("a - b > 1", let={"a": "value('x') + 1", "b": "a - 1"}),
            "value('x') + 1 - (value('x') + 1 - 1) > 1",
        ),
        (
            make_claim("all_true([part > s for s in levels])", let={"part": "value('a')", "levels": "[1, 2]"}),
            "all_true([value('a') > s for s in [1, 2]])",
        ),
        (make_claim("1 > 2\n  and 2 > 1"), "1 > 2 and 2 > 1"),
    ],
)
def test_given_and_let_are_written_out(claim: Claim, expanded: str) -> None:
    assert expand_claim(claim) == expanded


def test_given_and_let_change_neither_verdict_nor_evidence() -> None:
    short = make_claim(
        "all_true(beyond(pgd, 0) > beyond(random, 0))",
        given={"metric": "sharpness", "norm": "L2"},
        let={"pgd": "series(noise='PGD')", "random": "series(noise='RANDOM')"},
    )
    long = (
        "all_true(beyond(series('sharpness', norm='L2', noise='PGD'), 0)"
        " > beyond(series('sharpness', norm='L2', noise='RANDOM'), 0))"
    )
    assert claim_verdict(short, SHARP, [*FACTORS, "alpha"], "small") == sharp(long)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (
            {"given": {"espilon": 1}},
            r"^given: the factor 'espilon' of the claim is not among the item's `factors`: eps, alpha",
        ),
        (
            {"given": {"metric": "lss"}},
            r"^given: the metric 'lss' of the claim is not among the item's `metrics`: loss\. "
            r"One of them may be misspelt, 'lss' in the claim or 'loss' in `metrics` of the item\.$",
        ),
        (
            {"given": {"along": "esp"}},
            r"^given: along: the factor 'esp' .*'esp' in the claim or 'eps' in `factors` of the item",
        ),
        ({"given": {"metrc": "loss"}}, r"^given: unknown key 'metrc'. Did you mean 'metric'"),
        ({"given": {"eps": 1}, "holds": "serie() > 1"}, r"^holds: unknown function 'serie'. Did you mean 'series'"),
        ({"given": {"esp": 1}, "holds": "serie() > 1"}, r"^holds: unknown function 'serie'"),
        ({"given": {"eps": 1}, "holds": "last(sries) > 1"}, r"^holds: unknown name 'sries'"),
        (
            {"given": {"eps": 1}, "let": {"a": "serie()"}, "holds": "a > 1"},
            r"^let: a: unknown function 'serie'",
        ),
        ({"given": {"along": "eps"}}, r"^given: along is not used"),
        ({"given": {"eps": 1}, "holds": "value('loss', eps=0) > 1"}, r"^given: eps is not used"),
        ({"let": {"a": "1"}}, r"^let: a is not used"),
        ({"let": {"a": "b", "b": "a"}, "holds": "a > 1"}, r"^let: circular, (a -> b -> a|b -> a -> b)"),
        ({"let": {"a": "a + 1"}, "holds": "a > 1"}, r"^let: circular, a -> a"),
        ({"let": {"a": "value("}, "holds": "a > 1"}, r"^let: a: 'value\(' is not an expression"),
        ({"let": {"a": "valu('loss')"}, "holds": "a > 1"}, r"^let: a: unknown function 'valu'"),
        ({"let": {"a": "value('lss')"}, "holds": "a > 1"}, r"^let: a: the metric 'lss' of the claim"),
        ({"let": {"part": "1"}, "holds": "part > prat"}, r"^holds: unknown name 'prat'. Did you mean 'part'"),
        ({"let": {"a": "s"}, "holds": "all_true([a > s for s in [1]])"}, r"^let: a: unknown name 's'"),
        ({"let": {"a": "1"}, "holds": "all_true([a > 0 for a in [1]])"}, r"^holds: 'a' is a name of let"),
        ({"let": {"first": "1"}, "holds": "first > 0"}, r"^let: 'first' is a function of the language"),
        ({"let": {"a b": "1"}, "holds": "1 > 0"}, r"^let: 'a b' is not a name"),
        ({"let": {"in": "1"}, "holds": "1 > 0"}, r"^let: 'in' is not a name"),
        ({"holds": "value(eps=1) > 1"}, r"^holds: value: missing a required argument: 'metric'"),
    ],
)
def test_a_wrong_claim_is_refused_by_key(keys: dict[str, Any], why: str) -> None:
    claim = make_claim(**{"holds": "value('loss') > 1", **keys})
    with pytest.raises(ConfigError, match=why):
        check_claim(claim, ["loss"], ["eps", "alpha"])


def test_yes_and_no_without_quotes_are_refused() -> None:
    wrong = {"id": "A", "says": "s", "holds": "value('a') > 1", "given": yaml.safe_load("{periodic_lr: yes}")}
    with pytest.raises(ConfigError, match=r"key 'given'.*periodic_lr is true or false; write words such as 'yes'"):
        validate_model(Claim, wrong, "x.yaml")


def test_the_message_names_the_file_of_the_item() -> None:
    item = make_item(factors=["eps"], options={"index": ["eps"]}, claims=[make_claim("1 >")])
    study = make_study("w", table_1=item).with_files({("items", "table_1"): "studies/w/part.yaml"})
    with pytest.raises(ConfigError, match=r"^studies/w/part\.yaml: item 'table_1': claim 'A': holds: '1 >' is not"):
        check_claims(study)


def test_no_line_of_a_claim_is_longer_than_120_characters() -> None:
    for path in sorted((ROOT / "config" / "studies").rglob("*.yaml")):
        in_claims = False
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.strip() and not line.startswith("     "):
                in_claims = line.startswith("    claims:")
            assert not in_claims or len(line) <= 120, f"{path}:{number} has {len(line)} characters"


def test_the_documentation_lists_every_function() -> None:
    lines = []
    for name, function in FUNCTIONS.items():
        text = " ".join((function.__doc__ or "").split()).replace("``", "`")
        lines.append(f"- `{name}{signature_text(name)}`: {text}\n")
    assert "- `series(metric, along='eps', **factors)`: Our means of `metric`" in "".join(lines)
    assert (ROOT / "docs" / "claims.md").read_text().endswith(f"## Functions\n\n{''.join(lines)}")


def documented_claims() -> list[dict[str, Any]]:
    """The claims in the YAML examples of docs/claims.md."""
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "claims.md").read_text(), re.DOTALL)
    return [claim for example in examples for claim in yaml.safe_load(example)["claims"]]


@pytest.mark.parametrize("stanza", documented_claims(), ids=lambda stanza: stanza["id"])
def test_examples_of_the_documentation(stanza: dict[str, Any]) -> None:
    claim = validate_model(Claim, stanza, "docs/claims.md")
    check_claim(claim, None, [*FACTORS, "alpha"])
    rows = SHARP if "sharpness" in expand_claim(claim) else ACCURACY
    assert claim_verdict(claim, rows, [*FACTORS, "alpha"], "small")[0] in (HOLDS, FAILS)


def test_expressions_of_the_documentation() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "claims.md").read_text(), re.DOTALL)
    for expression in example.splitlines():
        assert (sharp if "sharpness" in expression else accurate)(expression)[0] in (HOLDS, FAILS)


def test_where_a_claims_text_is_printed() -> None:
    source = Path(robustscape.__file__).parent
    found = {path.name for path in source.rglob("*") if path.is_file() and b"claim.says" in path.read_bytes()}
    assert found == {"verdicts.py", "page.html.jinja"}


def test_metrics_of_landscapes_do_not_confuse_factors() -> None:
    assert sharp("value('loss', noise='PGD', eps=1, alpha=1) > value('loss', noise='PGD', eps=1, alpha=0)")[0] == HOLDS


def test_equality_of_a_series_goes_level_by_level() -> None:
    """``series(...) != 0`` compared the object with the number once, and was always true."""
    assert sharp("all_true(series('sharpness', noise='PGD') == series('sharpness', noise='PGD'))")[0] == HOLDS
    assert sharp("any_true(series('sharpness', noise='PGD') != series('sharpness', noise='PGD'))")[0] == FAILS
    with pytest.raises(ConfigError, match="neither true nor false"):
        sharp("series('sharpness', noise='PGD') != 0")


@pytest.mark.parametrize(
    ("heights", "share"),
    [
        ([0.0, 0.0], 1.0),
        ([2.0, 2.0], 0.0),
        ([1.0, 1.0], 0.0),  # equal is not above
        ([0.0, 4.0], 0.75 / 2),  # they cross at x = 1.75
        ([4.0, 0.0], 0.0),  # they cross at x = 3.25, where the first has ended
        ([4.0, -5.0], 1.0 / 2),  # at x = 2
    ],
)
def test_share_above_compares_two_curves_where_both_are(heights: list[float], share: float) -> None:
    """The first has height 1 on [0, 3], its points in any order; the second goes from x = 1 to x = 4."""
    levels = (1, 2, 3)
    first = Series(levels, (3.0, 0.0, 1.5)), Series(levels, (1.0, 1.0, 1.0))
    second = Series((1, 2), (1.0, 4.0)), Series((1, 2), tuple(heights))
    assert share_above(*first, *second) == pytest.approx(share)


def test_share_above_needs_a_common_range() -> None:
    near, far = Series((1, 2), (0.0, 1.0)), Series((1, 2), (2.0, 3.0))
    with pytest.raises(NotTestable, match="range"):
        share_above(near, near, far, near)


def test_equal_levels_and_equal_places_are_different_comparisons() -> None:
    """kim2023 figure 3.15: with the larger margin at every level, a curve may be the lower one where both are."""
    levels = (1, 2)
    lower = Series(levels, (1.0, 2.0)), Series(levels, (0.9, 0.7))
    higher = Series(levels, (1.5, 3.0)), Series(levels, (0.85, 0.6))
    assert all_true(lower[1] > higher[1]) and share_above(*lower, *higher) == 0.0
