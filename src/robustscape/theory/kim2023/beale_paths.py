"""kim2023, figures 4.1, 4.3 and 4.4: gradient descent finds the minimum of Beale's function, SAM stays at its saddle."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.kim2023._picture_rows import (
    Protocol,
    Rows,
    drawn_rows,
    evenly_spaced_indices,
    number_points,
    outcome_row,
    surface_rows,
)
from robustscape.theory.kim2023._toys import (
    BEALE_MINIMUM,
    BEALE_SADDLE,
    Array,
    Path,
    Point,
    Rule,
    beale,
    beale_gradient,
    count_sign_changes,
    gradient_flow_line,
    gradients_at,
    row_cosines,
    sam_path,
)

#: Within this distance of the saddle SAM counts as trapped.
NEAR = 0.05
#: Number of steps at the end of a path on which claims about oscillation are tested.
END = 1000
#: Gradients shorter than this are left out of the cosines: near the saddle rounding changes them by 1e-13.
RESOLVED = 1e-9
WINDOW = ((-3.4, 3.8), (-1.2, 2.4))
#: What the end of gradient descent is called that starts where SAM does with this rule.
GD: dict[Rule, str] = {"normalised": "GD", "constant": "GD, second start"}


def beale_paths(
    *,
    eta: Annotated[float, Field(gt=0)] = 1e-4,
    radius: Annotated[float, Field(gt=0)] = 0.5,
    constant_radius: Annotated[float, Field(gt=0)] = 0.05,
    start: tuple[float, float] = (1.0, 2.0),
    constant_start: tuple[float, float] = (-1.0, 0.2),
    steps: Annotated[int, Field(ge=2000)] = 100_000,
    points: Annotated[int, Field(ge=3)] = 81,
) -> list[dict[str, Any]]:
    """Return paths of GD and of SAM under both radius rules, SAM's perturbed weights once it is trapped, and gradient cosines.

    The work gives eta = 1e-4 only. Start and radius of the normalised rule are those of its author's code
    (github.com/Harry24k/sam-saddle, where the learning rate is 1.25e-5): from there SAM is trapped with a radius of 0.4 and more,
    not of 0.3. The number of steps is ours: after 20 000 of them gradient descent, whose rate at the minimum is 0.3 eta, is still
    0.3 away from it, after 100 000 it is 0.02. So are the constant radius, above 1/27.75 as theorem 4.2 requires, and its start,
    since the path diverges from the other one. Both starts lie in the basin of the minimum. With the constant radius the
    cosine converges to -1; it oscillates, as in figure 4.4, under the normalised rule.

    Args:
        eta: learning rate.
        radius: rho of the normalised rule.
        constant_radius: rho of the constant rule.
        start: initial weights of the normalised rule.
        constant_start: initial weights of the constant rule.
        steps: number of updates.
        points: number of grid points per side of the contour plot.
    """
    rules: tuple[tuple[Rule, float], ...] = (("normalised", radius), ("constant", constant_radius))
    starts: dict[Rule, Point] = {"normalised": start, "constant": constant_start}
    descents = {rule: sam_path(beale_gradient, starts[rule], eta=eta, steps=steps) for rule, _ in rules}
    paths = {
        rule: sam_path(beale_gradient, starts[rule], eta=eta, steps=steps, radius=rho, rule=rule) for rule, rho in rules
    }
    protocol: Protocol = {"eta": eta, "steps": steps}
    rows = _trajectories(descents, paths, rules, points, protocol)
    for rule, rho in rules:
        rows += _trapped(paths[rule], rule, rho, protocol)
        rows += _cosines(paths[rule], rule, rho, protocol)
    return number_points(rows)


def _panel(rule: Rule, rho: float) -> str:
    return f"{rule} radius, ρ = {rho:g}"


def _trajectories(
    descents: dict[Rule, Path],
    paths: dict[Rule, Path],
    rules: tuple[tuple[Rule, float], ...],
    points: int,
    protocol: Protocol,
) -> Rows:
    """Return the rows of figure 4.1: the function, the paths of GD and SAM, and their ends."""
    view = "trajectory"
    rows = surface_rows(view, beale, np.linspace(*WINDOW[0], points), np.linspace(*WINDOW[1], points))
    for rule, rho in rules:
        panel, method = _panel(rule, rho), f"SAM, {rule}"
        own = {**protocol, "rule": rule, "rho": rho}
        rows += _path(view, descents[rule], panel=panel, method="GD", **protocol)
        rows += _path(view, paths[rule], panel=panel, method="SAM", **own)
        rows += _finish(view, GD[rule], descents[rule], protocol)
        rows += _finish(view, method, paths[rule], own)
        x, y = paths[rule].weights[0].tolist()
        rows += drawn_rows(view, "point", x, y, beale(x, y), panel=panel, text="start")
    for text, (x, y) in (("saddle", BEALE_SADDLE), ("minimum", BEALE_MINIMUM)):
        rows += drawn_rows(view, "point", x, y, beale(x, y), text=text)
    return rows


def _path(view: str, path: Path, **more: Any) -> Rows:
    """Return the rows of a path, thinned by length rather than by time, since its last thousands of steps hardly move."""
    travelled = np.concatenate([[0.0], np.hypot(*np.diff(path.weights, axis=0).T).cumsum()])
    chosen = np.unique(np.searchsorted(travelled, np.linspace(0, travelled[-1], 300)))
    x, y = path.weights[chosen.clip(max=len(travelled) - 1)].T
    return drawn_rows(view, "path", x, y, beale(x, y), **more)


def _finish(view: str, method: str, path: Path, protocol: Protocol) -> Rows:
    """Return the loss at the end of a path and its distances to the saddle and the minimum."""
    x, y = path.weights[-1]
    return [
        *outcome_row(view, "final_loss", beale(x, y), method=method, **protocol),
        *outcome_row(view, "distance_to_saddle", _from(path.weights, BEALE_SADDLE)[-1], method=method, **protocol),
        *outcome_row(view, "distance_to_minimum", _from(path.weights, BEALE_MINIMUM)[-1], method=method, **protocol),
    ]


def _from(points: Array, place: tuple[float, float]) -> Array:
    distances: Array = np.hypot(points[:, 0] - place[0], points[:, 1] - place[1])
    return distances


def _trapped(path: Path, rule: Rule, rho: float, protocol: Protocol) -> Rows:
    """Return the rows of figure 4.3: w and w^p from the first step within ``NEAR`` of the saddle on, and both manifolds."""
    view, panel, method = "trapped", _panel(rule, rho), f"SAM, {rule}"
    own = {**protocol, "rule": rule, "rho": rho}
    near = _from(path.weights, BEALE_SADDLE) < NEAR
    since = int(near.argmax()) if near.any() else len(near)
    unstable = (path.perturbed[since:, 0] - BEALE_SADDLE[0] - (path.perturbed[since:, 1] - BEALE_SADDLE[1])) / 2**0.5
    rows = [
        *outcome_row(view, "step_trapped", since if near.any() else math.nan, method=method, **own),
        *outcome_row(view, "sign_changes", count_sign_changes(unstable), method=method, **own),
        *outcome_row(view, "distance_to_saddle", _from(path.weights, BEALE_SADDLE)[-1], method=method, **own),
    ]
    late = since + evenly_spaced_indices(len(near) - since, 700)
    shown = {"perturbed weights": path.perturbed[late], "weights": path.weights[late]}
    reach = 1.1 * max(
        (float(np.abs(points - BEALE_SADDLE).max()) for points in shown.values() if len(points)), default=1
    )
    side = np.linspace(-reach, reach, 31)
    rows += surface_rows(view, beale, BEALE_SADDLE[0] + side, BEALE_SADDLE[1] + side, panel=panel)
    rows += _manifold(view, panel, "basin boundary", reach)
    for label, points in shown.items():
        rows += drawn_rows(view, "scatter", points[:, 0], points[:, 1], panel=panel, method=label, **own)
    rows += _manifold(view, panel, "unstable manifold", reach)
    return rows + drawn_rows(view, "point", *BEALE_SADDLE, text="saddle")


def _manifold(view: str, panel: str, name: str, reach: float) -> Rows:
    """Return the rows of the stable manifold of the saddle, which is the boundary of the basins, or of the unstable one."""
    backward, along = (True, 1.0) if name == "basin boundary" else (False, -1.0)
    rows = []
    for side in (1.0, -1.0):
        begin = BEALE_SADDLE[0] + 1e-4 * side, BEALE_SADDLE[1] + 1e-4 * along * side
        line = gradient_flow_line(beale_gradient, begin, backward=backward, step=reach / 200, length=3 * reach)
        line = line[(np.abs(line - BEALE_SADDLE) < reach).all(axis=1)][::4]
        rows += drawn_rows(view, "path", line[:, 0], line[:, 1], panel=panel, method=name, text=f"{name} {side:+g}")
    return rows


def _cosines(path: Path, rule: Rule, rho: float, protocol: Protocol) -> Rows:
    """Return the rows of figure 4.4: the whole path as the range within windows, and its last steps one by one.

    The path counts until one of the two gradients is too short for a direction (``RESOLVED``).
    """
    view, method, metric = "cosine", f"SAM, {rule}", "gradient_cosine"
    own = {**protocol, "rule": rule, "rho": rho}
    gradients = gradients_at(beale_gradient, path.weights), gradients_at(beale_gradient, path.perturbed)
    short = np.minimum(*(np.hypot(*gradient.T) for gradient in gradients)) < RESOLVED
    cosine = row_cosines(*gradients)[: int(short.argmax()) if short.any() else None]
    width = max(1, len(cosine) // 400)
    windows = cosine[: len(cosine) // width * width].reshape(-1, width)
    low, high = windows.min(1), windows.max(1)
    at = width * np.arange(len(low)) + width / 2
    last = np.arange(max(0, len(cosine) - 200), len(cosine))
    ranges = drawn_rows(
        view, "band", at, low, high, dy=high - low, panel="whole run", method=method, metric=metric, **own, window=width
    )
    single = drawn_rows(view, "curve", last, 0.0, cosine[last], panel="last steps", method=method, metric=metric, **own)
    return [
        *ranges,
        *single,
        *outcome_row(view, "least_cosine_at_the_end", cosine[-END:].min(), method=method, **own),
        *outcome_row(view, "largest_cosine_at_the_end", cosine[-END:].max(), method=method, **own),
        *outcome_row(view, "sign_changes_per_step", count_sign_changes(cosine[-END:]) / END, method=method, **own),
    ]
