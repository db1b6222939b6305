"""kim2023, figure 4.7: a net of one squared unit, on which SAM ends at the saddle line and SGD at the minima."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robustscape.theory.kim2023._picture_rows import (
    Protocol,
    Rows,
    drawn_rows,
    number_points,
    outcome_row,
    surface_rows,
)
from robustscape.theory.kim2023._toys import Array

#: An end whose expected loss is that of the saddle line to within this counts as stuck; the minima are 0.25 below the line. With
#: large radii some runs swing to |w_1| = 0.25 near its end w_2 = 0, where the loss is that of the line all the same.
STUCK = 0.1
#: An end with |w_1| below this is at the saddle line w_1 = 0.
AT_THE_LINE = 0.2
#: The two equally likely labels of the one input 1.
LABELS = (-1.0, 2.0)
VIEW = "squared_activation"
PANELS = ("(a) expected loss above 2.25", "(b) end points", "(c) mean loss at the end")
#: Radius rule and radius -> final weights w_1 and w_2 of all starts, each (draws,).
Ends = dict[tuple[str, float], tuple[Array, Array]]
_MEAN, _HALF = sum(LABELS) / 2, (LABELS[1] - LABELS[0]) / 2


def squared_activation(
    *,
    radius: Annotated[float, Field(gt=0)] = 0.1,
    radii: Annotated[tuple[float, ...], Field(min_length=2)] = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9),
    eta: Annotated[float, Field(gt=0)] = 0.01,
    steps: Annotated[int, Field(ge=1)] = 10_000,
    batches: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1)] = (64, 4),
    draws: Annotated[int, Field(ge=10)] = 1000,
    points: Annotated[int, Field(ge=3)] = 61,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the landscape of w_2 phi(w_1 x) with phi(z) = z^2, end points of SGD and SAM, and their mean loss over rho.

    x = 1, y is -1 or 2 with probability 1/2, and the loss is (w_2 w_1^2 - y)^2; its expectation (w_2 w_1^2 - 1/2)^2 + 2.25 has
    minima of 2.25 and the saddle line {w_1 = 0, w_2 >= 0} of 2.5. Learning rate, batch size and number of steps are ours; the
    work refers to Ziyin et al. The radius from which on all starts are stuck, 0.7 in the work, depends on them and on the radius
    rule: 0.2 with the normalised one and batches of 64, 0.1 with batches of 4, at which all are stuck with the constant one, too,
    from 0.5 on. For one batch size, starts and batches are the same at all radii.

    Args:
        radius: rho of the SAM whose end points are shown.
        radii: values of rho of the curve; 0 is SGD.
        eta: learning rate.
        steps: number of updates.
        batches: batch sizes; the end points shown are those of the first.
        draws: number of initial weights, w_1 ~ U(-0.1, 0.1), w_2 ~ U(0, 1).
        points: number of grid points per side of the landscape.
        seed: seed of the starts and batches.
    """
    settings = [(rule, rho) for rule in ("normalised", "constant") for rho in sorted({0.0, radius, *radii})]
    view, protocol = VIEW, Protocol(eta=eta, steps=steps, seed=seed)
    rows = _landscape(view, points)
    for batch in batches:
        generator = np.random.default_rng(seed)
        w = train_squared_unit(settings, eta=eta, steps=steps, batch=batch, runs=draws, generator=generator)
        ends = dict(zip(settings, zip(*w, strict=True), strict=True))
        if batch == batches[0]:
            rows += _end_points(ends, radius, {**protocol, "batch": batch})
            rows += _references(ends)
        rows += _means(ends, batch, protocol)
    return number_points(rows)


def _end_points(ends: Ends, radius: float, protocol: Protocol) -> Rows:
    """Return the rows of panel b."""
    rows = []
    for method, rho in (("SGD", 0.0), (f"SAM, ρ = {radius:g}", radius)):
        w1, w2 = ends["normalised", rho]
        rows += drawn_rows(VIEW, "scatter", w1, w2, expected_loss(w1, w2), panel=PANELS[1], method=method, **protocol)
    return rows


def _means(ends: Ends, batch: int, protocol: Protocol) -> Rows:
    """Return the rows of panel c and its numbers; starts from which training diverged are counted and left out."""
    rows = []
    for (rule, rho), (w1, w2) in ends.items():
        finite = np.isfinite(w1) & np.isfinite(w2)
        loss, stuck = _mean_loss((w1, w2)), _mean(ends_stuck(w1[finite], w2[finite]))
        own = {**protocol, "rule": rule, "batch": batch}
        if math.isfinite(loss):
            method = f"SAM, {rule}, batches of {batch}"
            rows += drawn_rows(
                VIEW, "curve", rho, 0.0, loss, panel=PANELS[2], method=method, metric="final_loss", **own
            )
        for metric, value in (("mean_loss", loss), ("share_stuck", stuck), ("runs_not_finite", (~finite).sum())):
            rows += outcome_row(VIEW, metric, value, method=rule, radius=rho, **own)
    return rows


def _mean_loss(weights: tuple[Array, Array]) -> float:
    """Return the mean of the expected loss over the starts from which training did not diverge."""
    finite = np.isfinite(weights[0]) & np.isfinite(weights[1])
    return _mean(expected_loss(weights[0][finite], weights[1][finite]))


def _mean(values: Any) -> float:
    """Return the mean; NaN without values."""
    return float(np.mean(values)) if len(values) else math.nan


def expected_loss(w1: Any, w2: Any) -> Any:
    """Return (w_2 w_1^2 - E y)^2 + Var y, elementwise."""
    return (w2 * w1**2 - _MEAN) ** 2 + _HALF**2


def ends_stuck(w1: Array, w2: Array) -> NDArray[np.bool_]:
    """Return whether the expected loss at each end is that of the saddle line, to within ``STUCK``."""
    stuck: NDArray[np.bool_] = np.abs(expected_loss(w1, w2) - expected_loss(0.0, 0.0)) <= STUCK
    return stuck


def label_means(batch: int, steps: int, runs: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the mean label of random batches, (steps, runs); the bits of a random integer are the labels of a batch."""
    mask = np.uint64((1 << batch) - 1)
    bits = np.bitwise_count(generator.integers(0, 2**64, (steps, runs), dtype=np.uint64) & mask)
    means: NDArray[np.float64] = LABELS[0] + 2 * _HALF * bits / batch
    return means


def train_squared_unit(
    settings: list[tuple[str, float]],
    *,
    eta: float,
    steps: int,
    batch: int,
    runs: int,
    generator: np.random.Generator,
) -> tuple[Array, Array]:
    """Return the final weights w_1 and w_2, each (settings, runs); a setting is a radius rule and a radius.

    The gradient, 4 r w_1 w_2 and 2 r w_1^2 with r = w_2 w_1^2 - y, is linear in y, so only the mean label of a batch matters.
    Weights that diverge become inf or NaN and stay so.
    """
    w1 = np.tile(generator.uniform(-0.1, 0.1, runs), (len(settings), 1))
    w2 = np.tile(generator.uniform(0, 1, runs), (len(settings), 1))
    radius = np.array([[rho] for _, rho in settings])
    constant = np.array([[rule == "constant"] for rule, _ in settings])
    per_length, per_gradient = np.where(constant, 0.0, radius), np.where(constant, radius, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        for block in np.array_split(np.arange(steps), max(1, steps // 1000)):
            for mean in label_means(batch, len(block), runs, generator):
                across, up = _gradient(w1, w2, mean)
                length = per_length / (np.sqrt(across**2 + up**2) + 1e-12) + per_gradient
                across, up = _gradient(w1 + length * across, w2 + length * up, mean)
                w1 -= eta * across
                w2 -= eta * up
    return w1, w2


def _gradient(w1: Array, w2: Array, label: Array) -> tuple[Array, Array]:
    """Return both partial derivatives of the loss at the mean label of a batch."""
    square = w1 * w1
    twice = 2 * (w2 * square - label)
    return 2 * twice * w1 * w2, twice * square


def _landscape(view: str, points: int) -> Rows:
    """Return the rows of panel a, the expected loss above its minimum, and of minima and saddle line in panels a and b."""
    x, y = np.linspace(-1.3, 1.3, points), np.linspace(-0.2, 2.2, points)
    rows = surface_rows(
        view, lambda w1, w2: expected_loss(w1, w2) - _HALF**2, x, y, panel=PANELS[0], metric="loss_above_minimum"
    )
    height = np.linspace(0.3, 2.2, 60)
    for panel in PANELS[:2]:
        for side, name in ((1.0, "right"), (-1.0, "left")):
            rows += drawn_rows(view, "path", side * np.sqrt(_MEAN / height), height, panel=panel, text=name)
        rows += drawn_rows(view, "path", [0.0, 0.0], [0.0, 2.2], panel=panel, text="saddle line")
    for text, place in (("minima", (0.85, 0.78)), ("saddle line", (0.0, 1.9))):
        rows += drawn_rows(view, "label", *place, panel=PANELS[0], text=text)
    return rows


def _references(ends: Ends) -> Rows:
    """Return the losses at which training ends: at minima, at the saddle line, and with large radii; the work prints all three.

    Those of the minima and of the saddle line are properties of the work's own loss, so that they reproduce its numbers; the
    third depends on learning rate, batch size and updates, which are ours.

    The minimum is the lowest expected loss of any end of SGD; the saddle line's is the mean over the ends of SAM with the
    largest normalised radius that are at the line.
    """
    radii = [rho for rule, rho in ends if rule == "normalised"]
    losses = expected_loss(*ends["normalised", 0.0])
    lowest = float(losses[np.isfinite(losses)].min(initial=math.inf))
    w1, w2 = ends["normalised", max(radii)]
    there = np.abs(w1) < AT_THE_LINE
    saddle = _mean(expected_loss(w1[there], w2[there]))
    rows = []
    for text, metric, value in (("minima", "global_minimum_loss", lowest), ("saddle line", "saddle_loss", saddle)):
        shown: Protocol = {"panel": PANELS[2], "method": "any", "text": text, "paper_protocol": True}
        rows += drawn_rows(VIEW, "level", 0.0, 0.0, value, metric=metric, **shown)
    large = [rho for rho in radii if rho > 0.7]
    if large:
        mean = _mean([_mean_loss(ends["normalised", rho]) for rho in large])
        rows += drawn_rows(VIEW, "dots", large[-1], 0.0, mean, panel=PANELS[2], method="SAM", metric="mean_final_loss")
    return rows
