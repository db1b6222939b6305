"""The power of a claim: against the normal distribution, and that it does not look at the verdict."""

from __future__ import annotations

from statistics import NormalDist

import pandas as pd
import pytest

from robustscape.claims.verdicts import evaluate_expression
from robustscape.report.words import FAILS, HOLDS, TOO_NOISY

FACTORS = ["method"]
SHARE = 0.04
"""Four standard errors of a share over 200 repetitions are at most 0.14; the seed is fixed, and this is what it gives."""


def table(
    a: float, b: float, std: float, *, printed: tuple[float, float] = (52.0, 50.0), nets: str = "ab"
) -> pd.DataFrame:
    """Two methods over three seeds, beside what a work printed."""
    columns = {"metric": "accuracy", "unit": "percent", "n": 3, "stand_in": "", "seed": "0;1;2"}
    return pd.DataFrame(
        {
            "method": ["a", "b"],
            "value": [a, b],
            "std": std,
            "paper_value": printed,
            "checkpoint": list(nets),
            **columns,
        }
    )


def share_in(evidence: str) -> float:
    """The share that a verdict's evidence names."""
    return float(evidence.split("would hold ")[1].split("%")[0]) / 100


ABOVE = "value('accuracy', method='a') > value('accuracy', method='b')"


@pytest.mark.parametrize("std", [4.0, 8.0])
def test_it_is_that_of_a_difference_of_two_normal_means(std: float) -> None:
    _, evidence = evaluate_expression(ABOVE, table(60.0, 40.0, std), FACTORS)
    error = std * (2 / 3) ** 0.5
    assert share_in(evidence) == pytest.approx(NormalDist(0, error).cdf(2.0), abs=SHARE)


def test_numbers_of_the_same_networks_move_together() -> None:
    """Two metrics of one network: their difference has no error left."""
    assert evaluate_expression(ABOVE, table(60.0, 40.0, 8.0, nets="aa"), FACTORS)[0] == HOLDS


@pytest.mark.parametrize(("a", "b"), [(90.0, 10.0), (10.0, 90.0)])
def test_it_does_not_look_at_our_means(a: float, b: float) -> None:
    verdict, evidence = evaluate_expression(ABOVE, table(a, b, 8.0), FACTORS)
    assert verdict == TOO_NOISY
    assert evidence == evaluate_expression(ABOVE, table(a, b, 8.0), FACTORS)[1]
    assert share_in(evidence) == share_in(evaluate_expression(ABOVE, table(50.0, 50.0, 8.0), FACTORS)[1])


@pytest.mark.parametrize(("a", "b", "verdict"), [(60.0, 40.0, HOLDS), (40.0, 60.0, FAILS)])
@pytest.mark.parametrize(
    "rows",
    [
        {"std": 0.5},  # the errors are small
        {"std": float("nan")},  # unknown
        {"std": 8.0, "printed": (52.0, float("nan"))},  # not printed
        {"std": 8.0, "printed": (50.0, 52.0)},  # the printed numbers contradict the claim
    ],
    ids=["small", "unknown", "not printed", "contradicted"],
)
def test_elsewhere_the_verdict_is_that_of_the_numbers(
    a: float, b: float, verdict: str, rows: dict[str, object]
) -> None:
    std = float(str(rows["std"]))
    found = table(a, b, std, **{k: v for k, v in rows.items() if k != "std"})  # type: ignore[arg-type]
    if std != std:
        found["n"], found["seed"] = 1, "0"
    assert evaluate_expression(ABOVE, found, FACTORS)[0] == verdict


def test_the_errors_a_claim_asks_for_are_ours() -> None:
    """A claim "by more than the standard error" is judged with our error around the printed difference."""
    claim = (
        "value('accuracy', method='a') - value('accuracy', method='b') "
        "> combined_error(standard_error('accuracy', method='a'), standard_error('accuracy', method='b'))"
    )
    _, evidence = evaluate_expression(claim, table(60.0, 40.0, 2.0), FACTORS)
    error = 2.0 * (2 / 3) ** 0.5
    assert share_in(evidence) == pytest.approx(1 - NormalDist(2.0, error).cdf(error), abs=SHARE)
