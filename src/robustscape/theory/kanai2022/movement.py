"""kanai2022, figure 1: how the worst input moves with the weights."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from scipy.optimize import brentq
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import Norm, ThreatModel
from robustscape.attacks.pgd import pgd
from robustscape.theory.kanai2022._local_entropy import Array
from robustscape.theory.logistic import binary_logits

#: Input and pairs of weights drawn; the work's values are lost. In ``ACROSS`` one weight changes its sign.
CENTRE = np.array([0.0, 0.0])
NEAR = np.array([1.0, 0.35]), np.array([1.0, 0.8])
ACROSS = np.array([1.0, 0.25]), np.array([1.0, -0.25])
#: Panels (b) and (c): l = -(x' - m).A (x' - m)/2, whose peak m moves with theta, in (b) inside the ball, in (c) outside.
CURVATURE = np.array([[1.0, 0.35], [0.35, 0.6]])
INSIDE = np.array([0.10, 0.02]), np.array([0.03, 0.13])
BEYOND = np.array([0.52, 0.12]), np.array([0.30, 0.48])


def movement(
    *, eps: Annotated[float, Field(gt=0)] = 0.3, points: Annotated[int, Field(ge=3)] = 121
) -> list[dict[str, Any]]:
    """Return paths in the plane of inputs, and the distances between the worst inputs of two weights.

    Rows x_1 and x_2 are the ``place``-th point of a ``shape`` in a ``panel``: (a) a linear model under L2 and Linf attacks; (b) a
    peak of the loss inside the ball; (c) a peak outside, with the worst input on the sphere. Paths are drawn from the formulas.
    For the pairs of (a) there are rows adversarial_example_distance, between the worst inputs that PGD finds, weight_distance,
    their ratio, bound (eps/theta_min, lemma 2) and jump (2 eps, lemma 3). Of the inputs that projected gradient ascent finds on
    the way of (b) and (c) there are smallest_reach and largest_reach, ||x' - x|| / eps; slope_left, the largest gradient that x'
    could still follow: all of it inside the ball, on the sphere what does not point outwards (lemmas 4 and 5: none); and
    farthest_from_drawn, their largest distance from the points drawn, which solve the conditions of these lemmas.

    Args:
        eps: perturbation budget.
        points: number of points of a curve.
    """
    turn = np.linspace(0, 2 * np.pi, points)
    circle = CENTRE + eps * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    square = CENTRE + eps * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    rows: list[dict[str, Any]] = []
    cases: tuple[tuple[str, Norm, tuple[Array, Array]], ...] = (
        ("(a) L2, no weight changes sign", "L2", NEAR),
        ("(a) L2, one weight changes sign", "L2", ACROSS),
        ("(a) L∞, no weight changes sign", "Linf", NEAR),
        ("(a) L∞, one weight changes sign", "Linf", ACROSS),
    )
    for panel, norm, pair in cases:
        ends = [worst_input(theta, eps, norm) for theta in pair]
        shares = np.linspace(0, 1, points)[:, None]
        way = [worst_input(theta, eps, norm) for theta in (1 - shares) * pair[0] + shares * pair[1]]
        rows += _shape(panel, "ball", circle if norm == "L2" else square)
        rows += _shape(panel, "x'(θ) on the way", np.array(way)) + _ends(panel, ends)
        rows += _distances(panel, norm, eps, pair)
    for panel, peaks in (("(b) peak inside the ball", INSIDE), ("(c) peak beyond the ball", BEYOND)):
        shares = np.linspace(0, 1, points)[:, None]
        on_the_way = (1 - shares) * peaks[0] + shares * peaks[1]
        way = [highest_point_of_ball(peak, eps) for peak in on_the_way]
        rows += _shape(panel, "ball", circle)
        for number, peak in enumerate(peaks, 1):
            at = highest_point_of_ball(peak, eps)
            drop = 0.06 if panel.startswith("(b)") else float(np.sqrt((at - peak) @ CURVATURE @ (at - peak)))
            rows += _shape(panel, f"level of the loss at θ{number}", peak + drop * _ellipse(turn))
        rows += _shape(panel, "x'(θ) on the way", np.array(way)) + _ends(
            panel, [highest_point_of_ball(p, eps) for p in peaks]
        )
        rows += _optimality(panel, ascended_inputs(on_the_way, eps), np.array(way), on_the_way, eps)
    return rows


def worst_input(theta: Array, eps: float, norm: Norm) -> Array:
    """Return x' = x - y eps theta/||theta|| (L2) or x - y eps sign(theta) (Linf), (2,); y = -1, so it moves along theta."""
    return np.asarray(CENTRE + eps * (theta / np.linalg.norm(theta) if norm == "L2" else np.sign(theta)))


def attacked_input(theta: Array, eps: float, norm: Norm) -> Array:
    """Return the input (2,) that 100 steps of PGD find in the ball around ``CENTRE`` from a random start, y = -1."""
    weights = torch.from_numpy(theta)

    def model(points: Tensor) -> Tensor:
        return binary_logits(points @ weights)

    found = pgd(
        model,
        torch.from_numpy(CENTRE)[None],
        torch.zeros(1, dtype=torch.int64),
        ThreatModel(norm, eps, None),
        SampleGenerator.seeded(0, 1),
        steps=100,
        rel_step_size=0.1,
    )
    return np.asarray(found[0].numpy())


def ascended_inputs(peaks: Array, eps: float) -> Array:
    """Return the inputs (n, 2) that projected gradient ascent on -(x - m).A (x - m)/2 finds in L2 balls, for peaks m (n, 2).

    Its steps go along the gradient itself, so that they end at a peak; PGD's, of a fixed length, would circle around it. A step
    shrinks the distance from the highest point to 1 - 0.4 c of it or less, c = 0.397 being the least curvature.
    """
    summits, curvature = torch.from_numpy(peaks), torch.from_numpy(CURVATURE)
    centres = torch.from_numpy(CENTRE).expand_as(summits)
    ball, found = ThreatModel("L2", eps, None), centres
    for _ in range(300):
        point = found.clone().requires_grad_()
        away = point - summits
        (slope,) = torch.autograd.grad(-(away @ curvature * away).sum() / 2, point)
        found = ball.project(point.detach() + 0.4 * slope, centres)
    return np.asarray(found.numpy())


def highest_point_of_ball(peak: Array, eps: float) -> Array:
    """Return the point of the L2 ball where -(x - m).A (x - m)/2 is greatest: m, or on the sphere (A + lambda I) x = A m."""
    if np.linalg.norm(peak) <= eps:
        return peak

    def excess(multiplier: float) -> float:
        return float(np.linalg.norm(np.linalg.solve(CURVATURE + multiplier * np.eye(2), CURVATURE @ peak)) - eps)

    multiplier = brentq(excess, 0.0, 1e3, xtol=1e-14)
    return np.asarray(np.linalg.solve(CURVATURE + multiplier * np.eye(2), CURVATURE @ peak))


def _ellipse(turn: Array) -> Array:
    """Return points of {v : v.A v = 1} at the angles ``turn``, (n, 2)."""
    return np.asarray(np.linalg.solve(np.linalg.cholesky(CURVATURE).T, np.stack([np.cos(turn), np.sin(turn)])).T)


def _shape(panel: str, shape: str, path: Array) -> list[dict[str, Any]]:
    """Return rows x_1 and x_2 of the points of a path, (n, 2) or (2,)."""
    return [
        {"panel": panel, "shape": shape, "place": place, "metric": metric, "value": value, "unit": "1"}
        for place, point in enumerate(np.atleast_2d(path).tolist())
        for metric, value in zip(("x_1", "x_2"), point, strict=True)
    ]


def _ends(panel: str, ends: list[Array]) -> list[dict[str, Any]]:
    return [row for number, end in enumerate(ends, 1) for row in _shape(panel, f"x'(θ{number})", end)]


def _distances(panel: str, norm: Norm, eps: float, pair: tuple[Array, Array]) -> list[dict[str, Any]]:
    """Return the distances between two attacked inputs and between their weights, the ratio, and the bounds of lemmas 2 and 3."""
    ends = [attacked_input(theta, eps, norm) for theta in pair]
    moved, apart = float(np.linalg.norm(ends[0] - ends[1])), float(np.linalg.norm(pair[0] - pair[1]))
    least = min(float(np.linalg.norm(theta)) for theta in pair)
    found = {
        "adversarial_example_distance": moved,
        "weight_distance": apart,
        "ratio": moved / apart,
        "bound": eps / least,
        "jump": 2 * eps,
    }
    return _single_rows(panel, norm, found)


def _optimality(panel: str, inputs: Array, drawn: Array, peaks: Array, eps: float) -> list[dict[str, Any]]:
    """Return how far inputs (n, 2) are from the centre and from those drawn, and what gradient is left there for peaks (n, 2)."""
    reach = np.linalg.norm(inputs - CENTRE, axis=1) / eps
    gradients = (peaks - inputs) @ CURVATURE
    outwards = (inputs - CENTRE) / (reach * eps)[:, None]
    along = np.where(reach >= 1 - 1e-9, np.maximum((gradients * outwards).sum(1), 0.0), 0.0)
    left = np.linalg.norm(gradients - along[:, None] * outwards, axis=1)
    found = {
        "smallest_reach": reach.min(),
        "largest_reach": reach.max(),
        "slope_left": left.max(),
        "farthest_from_drawn": np.linalg.norm(inputs - drawn, axis=1).max(),
    }
    return _single_rows(panel, "L2", {name: float(value) for name, value in found.items()})


def _single_rows(panel: str, norm: Norm, found: dict[str, float]) -> list[dict[str, Any]]:
    """Return a row per metric of a panel as a whole."""
    return [
        {"panel": panel, "shape": None, "place": None, "norm": norm, "metric": metric, "value": value, "unit": "1"}
        for metric, value in found.items()
    ]
