"""The power of a claim: against the normal distribution, and that it does not look at the verdict."""

from __future__ import annotations

from statistics import NormalDist

import pandas as pd
import pytest

from robustscape.claims.power import LEAST_POWER, images_of
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


def measured_on(rows: pd.DataFrame, samples: int | str, **columns: object) -> pd.DataFrame:
    """Percentages of so many images."""
    return rows.assign(unit="percent", samples=samples, **columns)


@pytest.mark.parametrize(("std", "seeds"), [(0.0, "0;1;2"), (float("nan"), "0"), (2.0, "0;1;2")])
@pytest.mark.parametrize("samples", [100, 2500])
def test_a_percentage_has_the_error_of_its_images_which_more_runs_do_not_lessen(
    std: float, seeds: str, samples: int
) -> None:
    """Three equal runs on 100 images have an error all the same: other 100 images would have given another percentage."""
    count = len(seeds.split(";"))
    rows = measured_on(table(60.0, 40.0, std), samples, seed=seeds, n=count)
    verdict, evidence = evaluate_expression(ABOVE, rows, FACTORS)
    over_runs = 0.0 if count == 1 else std**2 / count
    error = (2 * over_runs + sum(p * (100 - p) for p in (52.0, 50.0)) / samples) ** 0.5
    expected = NormalDist(0, error).cdf(2.0)
    assert (verdict == TOO_NOISY) == (expected < LEAST_POWER)
    if verdict == TOO_NOISY:
        assert share_in(evidence) == pytest.approx(expected, abs=SHARE)


def test_of_the_same_networks_the_images_of_two_percentages_are_nested() -> None:
    """A difference of d has then the variance d (1 - d) / n, far below that of different networks."""
    nested = measured_on(table(60.0, 40.0, 0.0, nets="aa"), 100)
    assert evaluate_expression(ABOVE, nested, FACTORS)[0] == HOLDS
    small = measured_on(table(60.0, 40.0, 0.0, nets="aa", printed=(50.4, 50.0)), 100)
    _, evidence = evaluate_expression(ABOVE, small, FACTORS)
    assert share_in(evidence) == pytest.approx(NormalDist(0, (0.4 * 99.6 / 100) ** 0.5).cdf(0.4), abs=SHARE)
    for apart in (small.assign(split=["train", "test"]), small.assign(checkpoint=["a", "b"])):
        assert share_in(evaluate_expression(ABOVE, apart, FACTORS)[1]) == pytest.approx(0.5, abs=2 * SHARE)
    equal = measured_on(table(60.0, 40.0, 0.0, nets="aa", printed=(50.0, 50.0)), 100)
    assert evaluate_expression(ABOVE.replace(">", ">="), equal, FACTORS)[0] == HOLDS


def test_an_empty_cell_names_no_networks() -> None:
    """Read as NaN, which is true and differs from itself, it would make all numbers without a checkpoint those of one network."""
    rows = table(60.0, 40.0, 8.0).assign(checkpoint=float("nan"))
    assert evaluate_expression(ABOVE, rows, FACTORS)[0] == TOO_NOISY


@pytest.mark.parametrize(
    ("change", "images"),
    [
        ({}, 100),
        ({"samples": "300;100"}, 100),
        ({"samples": float("nan")}, None),
        ({"unit": "nats"}, None),
        ({"unit": "percentage_points"}, None),
        ({"metric": "training_time_overhead"}, None),
        ({"paper_value": 130.0}, None),
    ],
)
def test_the_images_of_a_number(change: dict[str, object], images: int | None) -> None:
    row = {"metric": "accuracy", "unit": "percent", "samples": 100.0, "paper_value": 50.0}
    assert images_of(row | change) == images


def test_a_loss_has_no_error_of_images() -> None:
    assert evaluate_expression(ABOVE, table(60.0, 40.0, 0.0).assign(samples=10, unit="nats"), FACTORS)[0] == HOLDS


@pytest.mark.parametrize(("a", "b"), [(60.0, 40.0), (40.0, 60.0)])
@pytest.mark.parametrize(
    "claim",
    ["value('accuracy', method='a') > 50.5 and {}", "{} and value('accuracy', method='a') > 50.5", "{} or 1 > 2"],
)
def test_parts_that_our_numbers_do_not_reach_have_their_errors_too(a: float, b: float, claim: str) -> None:
    """``and`` stops at its first false part: the numbers after it would be ours, or none, in place of the printed ones."""
    found = evaluate_expression(claim.format(ABOVE), table(a, b, 8.0), FACTORS)
    other = evaluate_expression(claim.format(ABOVE), table(52.0, 50.0, 8.0), FACTORS)
    assert found[0] == other[0] == TOO_NOISY and share_in(found[1]) == share_in(other[1])
    either = f"value('accuracy', method='a') > 90 or {ABOVE}"
    assert evaluate_expression(either, table(a, b, 8.0), FACTORS)[0] == TOO_NOISY
    chosen = f"({ABOVE}) if value('accuracy', method='a') < 51 else ({ABOVE})"
    assert evaluate_expression(chosen, table(a, b, 8.0), FACTORS)[0] == TOO_NOISY
