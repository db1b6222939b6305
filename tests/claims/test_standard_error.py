"""The rule for differences between means over seeds: what the standard error is, and what a claim makes of it."""

from __future__ import annotations

import ast
import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up import labelled_frame
from scipy import stats

from robustscape.claims.expressions import expand_claim
from robustscape.claims.reading import Reader, share_error
from robustscape.claims.series import Series
from robustscape.claims.verdicts import evaluate_expression
from robustscape.config.loading import load_experiment
from robustscape.config.studies import Claim
from robustscape.errors import ConfigError
from robustscape.report.items import aggregate_repetitions
from robustscape.report.words import FAILS, HOLDS, UNTESTABLE

ROOT = Path(__file__).parents[2]
DIFFERENCE = "value('a', method='SAM') - value('a', method='SGD')"
ERROR = "combined_error(standard_error('a', method='SAM'), standard_error('a', method='SGD'))"


def measured(**values: Sequence[float]) -> pd.DataFrame:
    """The item's rows of a number of each method, one value a seed."""
    rows = [
        {"method": method, "seed": seed, "metric": "a", "value": value}
        for method, numbers in values.items()
        for seed, value in enumerate(numbers)
    ]
    return aggregate_repetitions(labelled_frame(rows, unit="1"), ["method"])


def error_of(rows: pd.DataFrame, method: str = "SAM") -> float:
    return Reader(rows, ["method"]).standard_error("a", method=method)


@pytest.mark.parametrize("numbers", [[1.0, 2.0], [1.0, 2.0, 6.0], [0.1, 0.4, 0.2, 0.7, 0.3]])
def test_it_is_the_standard_deviation_by_the_root_of_the_number_of_seeds(numbers: list[float]) -> None:
    found = error_of(measured(SAM=numbers))
    assert found == pytest.approx(statistics.stdev(numbers) / math.sqrt(len(numbers)))
    assert found**2 == pytest.approx(
        sum((x - statistics.fmean(numbers)) ** 2 for x in numbers) / len(numbers) / (len(numbers) - 1)
    )


def test_the_evidence_says_how_many_seeds() -> None:
    """SAM 1, 2, 6: mean 3, squares 14; SGD 0, 1, 1, 2: mean 1, squares 2."""
    rows = measured(SAM=[1, 2, 6], SGD=[0, 1, 1, 2])
    verdict, evidence = evaluate_expression(f"{DIFFERENCE} > {ERROR}", rows, ["method"])
    assert verdict == HOLDS
    assert "standard error of a (SAM) = 1.528, n = 3; standard error of a (SGD) = 0.4082, n = 4" in evidence
    assert f"combined_error = {math.sqrt(14 / 6 + 2 / 12):.4g}" in evidence
    series = "all_true(series('a', along='method') > standard_error_series('a', along='method'))"
    verdict, evidence = evaluate_expression(series, rows, ["method"])
    assert verdict == HOLDS and "standard error of a at method SAM, SGD: 1.528, 0.4082" in evidence


@pytest.mark.parametrize(
    ("sam", "verdict"),
    [
        ([4.0, 5.0, 6.0], HOLDS),  # 5 against 4, with errors of 0.577 each: 0.816 together
        ([3.8, 4.8, 5.8], FAILS),  # 0.8 apart
        ([3.0, 5.0, 7.0], FAILS),  # 1 apart, but 1.291
        ([2.0, 3.0, 4.0], FAILS),  # the wrong way round
    ],
)
def test_a_difference_within_its_error_does_not_hold(sam: list[float], verdict: str) -> None:
    rows = measured(SAM=sam, SGD=[3.0, 4.0, 5.0])
    assert evaluate_expression(f"{DIFFERENCE} > {ERROR}", rows, ["method"])[0] == verdict


def test_more_seeds_decide_what_few_do_not() -> None:
    few, many = measured(SAM=[4, 6], SGD=[3, 5]), measured(SAM=[4, 6] * 4, SGD=[3, 5] * 4)
    found = [evaluate_expression(f"{DIFFERENCE} > {ERROR}", rows, ["method"])[0] for rows in (few, many)]
    assert found == [FAILS, HOLDS]


@pytest.mark.parametrize("reader", ["standard_error('a', method='SAM')", "first(standard_error_series('a', 'method'))"])
def test_a_mean_of_one_has_none(reader: str) -> None:
    verdict, evidence = evaluate_expression(
        f"value('a', method='SGD') > {reader}", measured(SAM=[1], SGD=[2, 3]), ["method"]
    )
    assert verdict == UNTESTABLE
    assert "a has no standard error: it has no more than one independent repetition" in evidence


def nested(values: dict[int, list[float]], column: str = "direction") -> pd.DataFrame:
    """One number of several seeds (keys), each along several directions."""
    rows = [
        {"method": "SAM", "seed": seed, column: place, "metric": "a", "value": value}
        for seed, numbers in values.items()
        for place, value in enumerate(numbers)
    ]
    return aggregate_repetitions(labelled_frame(rows, unit="1"), ["method"])


@pytest.mark.parametrize("column", ["direction", "draw"])
def test_directions_of_one_net_are_not_nets(column: str) -> None:
    """Means of the seeds 1, 2 and 6: the error is sqrt(14 / 6), whether each is measured once or along four directions."""
    alike = nested({seed: [mean] * 4 for seed, mean in enumerate((1.0, 2.0, 6.0))}, column)
    assert alike["n"].tolist() == [12]
    assert error_of(alike) == pytest.approx(math.sqrt(14 / 6))
    apart = nested({seed: [mean - 0.5, mean + 0.5] for seed, mean in enumerate((1.0, 2.0, 6.0))}, column)
    assert error_of(apart) == pytest.approx(math.sqrt((2 * 14 + 6 * 0.25) / (6 * 2)))
    assert error_of(apart) > math.sqrt(14 / 6)
    with_one_net = nested({0: [1.0, 2.0, 3.0]}, column)
    verdict = evaluate_expression("standard_error('a', method='SAM') < 9", with_one_net, ["method"])[0]
    assert with_one_net["n"].tolist() == [3] and verdict == UNTESTABLE


def test_draws_without_a_net_are_independent() -> None:
    rows = labelled_frame(
        [{"method": "SAM", "draw": k, "metric": "a", "value": v} for k, v in enumerate([1.0, 2.0, 6.0])], unit="1"
    )
    assert error_of(aggregate_repetitions(rows, ["method"])) == pytest.approx(math.sqrt(14 / 6))


def test_squares_and_products_of_series_go_level_by_level() -> None:
    """simpleeval's own operators take a series for a list: it cannot be squared, nor be multiplied by another."""
    rows = measured(SAM=[1, 2, 6], SGD=[0, 1, 1, 2])
    for expression, expected in (
        ("mean(series('a', 'method') ** 2)", 5.0),
        ("mean(series('a', 'method') * series('a', 'method'))", 5.0),
        ("last(2 ** series('a', 'method')) + 0", 2.0),
        ("first(1000000 * series('a', 'method')) / 1000000", 3.0),
        ("mean(standard_error_series('a', 'method') ** 2)", (14 / 6 + 2 / 12) / 2),
    ):
        near = f"absolute({expression} - {expected!r}) < 1e-9"
        assert evaluate_expression(near, rows, ["method"])[0] == HOLDS, expression


def claims_of_the_studies() -> list[tuple[str, Claim, list[str]]]:
    studies = load_experiment(ROOT / "config", "paper").studies
    return [
        (f"{work}/{name}/{claim.id}", claim, item.factors)
        for work, study in studies.items()
        for name, item in study.items.items()
        for claim in item.claims
    ]


CLAIMS = claims_of_the_studies()


def test_every_claim_can_be_worked_out_where_all_its_numbers_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """No scale that is run often has several seeds of everything: an operator that cannot be applied would show at paper only."""

    def number(self: Reader, metric: str, **factors: Any) -> float:
        self.add_evidence(metric)
        return 1.5

    def numbers(self: Reader, metric: str, along: str = "eps", **factors: Any) -> Series:
        self.add_evidence(metric)
        return Series(levels, tuple(1.0 + level / 10**6 for level in levels))

    for name in ("value", "standard_error", "sampling_error", "printed", "unmatched"):
        monkeypatch.setattr(Reader, name, number)
    for name in ("series", "standard_error_series", "printed_series"):
        monkeypatch.setattr(Reader, name, numbers)
    for name, claim, factors in CLAIMS:
        expression = expand_claim(claim)
        constants = {n.value for n in ast.walk(ast.parse(expression)) if isinstance(n, ast.Constant)}
        levels = tuple(
            sorted({float(c) for c in constants if isinstance(c, int | float)} | {0.25, 777.0, 888.0, 999.0})
        )
        try:
            evaluate_expression(expression, pd.DataFrame(), factors)
        except Exception as error:
            raise AssertionError(f"{name}: {error}") from error


def test_no_claim_types_in_how_many_seeds_there_are() -> None:
    """What judged differences before: a spread over seeds, by a number of seeds that was right at one scale."""
    for name, claim, _ in CLAIMS:
        expression = expand_claim(claim)
        errors = expression.count("standard_error")
        assert not re.search(r"standard_error\w*\([^()]*\) (/|\*(?!\*))", expression), name
        assert ("standard error" in claim.says) == (errors > 0), f"{name}: {claim.says}"


# -- the error of a percentage of few samples ---------------------------------------------------------------------------


def percentages(unit: str = "percent", samples: object = 100, **values: float) -> pd.DataFrame:
    rows = [
        {"method": method, "seed": 0, "metric": "a", "value": value, "samples": samples}
        for method, value in values.items()
    ]
    return aggregate_repetitions(labelled_frame(rows, unit=unit), ["method"])


def test_a_printed_percentage_moved_beyond_its_bounds_has_an_error() -> None:
    """The power of a claim moves printed numbers by their errors: 0.7 % of 1,000 samples comes below 0."""
    assert share_error(-0.3, 1000) == share_error(0.0, 1000) > 0
    assert share_error(100.4, 50) == share_error(100.0, 50) > 0


@pytest.mark.parametrize(("percent", "samples"), [(50.0, 100), (7.0, 1000), (0.0, 100), (100.0, 8)])
def test_a_percentage_has_the_error_of_its_samples(percent: float, samples: int) -> None:
    """The standard deviation of the posterior of a share after a uniform prior; near sqrt(p (1 - p) / n) in the middle."""
    found = Reader(percentages(SAM=percent, samples=samples), ["method"]).sampling_error("a", method="SAM")
    k = percent / 100 * samples
    assert found == pytest.approx(100 * stats.beta(k + 1, samples - k + 1).std()) and found > 0
    if percent == 50.0:
        assert found == pytest.approx(100 * math.sqrt(0.25 / samples), rel=0.02)


@pytest.mark.parametrize(
    ("sam", "sgd", "verdict"), [(60.0, 50.0, HOLDS), (56.0, 50.0, FAILS), (100.0, 100.0, FAILS), (0.0, 0.0, FAILS)]
)
def test_a_difference_must_be_beyond_the_sampling_error(sam: float, sgd: float, verdict: str) -> None:
    """Of 100 samples at 50 and 60 %: 4.93 and 4.84, together 6.9."""
    error = ERROR.replace("standard_error", "sampling_error")
    found, evidence = evaluate_expression(f"{DIFFERENCE} > {error}", percentages(SAM=sam, SGD=sgd), ["method"])
    assert found == verdict and "sampling error of a (SAM)" in evidence and "100 samples" in evidence


def test_the_fewest_samples_count_where_runs_differ() -> None:
    rows = percentages(SAM=50.0)
    assert Reader(rows.assign(samples="100;25"), ["method"]).sampling_error("a", method="SAM") == pytest.approx(
        Reader(rows.assign(samples=25), ["method"]).sampling_error("a", method="SAM")
    )


def test_only_a_percentage_of_samples_has_a_sampling_error() -> None:
    with pytest.raises(ConfigError, match="is measured in '1', not percent"):
        evaluate_expression("sampling_error('a', method='SAM') > 0", percentages(unit="1", SAM=0.5), ["method"])
    none = percentages(SAM=50.0).drop(columns="samples")
    verdict, evidence = evaluate_expression("sampling_error('a', method='SAM') > 0", none, ["method"])
    assert verdict == UNTESTABLE and "a has no number of samples" in evidence
