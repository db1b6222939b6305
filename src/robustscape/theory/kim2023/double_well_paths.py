"""kim2023, figure 4.2: two basins, the saddle between them, and steps of SAM in cases I to III."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.kim2023._picture_rows import Protocol, Rows, drawn_rows, number_points, outcome_row
from robustscape.theory.kim2023._toys import (
    Array,
    Point,
    double_well,
    double_well_gradient,
    gradient_flow_line,
    gradients_at,
    perturbed_point,
    row_cosines,
)

SADDLE: Point = (0.0, 0.0)
MINIMA: dict[str, Point] = {"s₁": (1.0, 0.0), "s₂": (-1.0, 0.0)}
WINDOW = ((-1.45, 1.45), (-0.95, 1.75))
#: Steps over which starts are followed.
STEPS = 200
#: A start crosses the saddle "back and forth" if at least this many of its steps do.
CROSSINGS = 10
#: Within this distance of s_1 gradient descent counts as arrived.
ARRIVED = 0.05
#: The same for SAM, a tenth of the distance between the minimum and the saddle: it circles around the minimum at up to 0.09, as a
#: normalised radius does not shrink with the gradient.
CIRCLING = 0.1
#: Starts of the steps shown, one per case; which case a step is, is computed, not assumed.
STARTS: dict[str, Point] = {
    "case I": (0.9, 0.9),
    "case II": (0.35, 0.8),
    "case III (i)": (0.3, 0.15),
    "case III (ii)": (0.15, 0.05),
}


def double_well_paths(
    *,
    radius: Annotated[float, Field(gt=0)] = 0.7,
    eta: Annotated[float, Field(gt=0)] = 0.6,
    points: Annotated[int, Field(ge=3)] = 41,
    radii: Annotated[tuple[float, ...], Field(min_length=1)] = (0.1, 0.3),
    small_eta: Annotated[float, Field(gt=0)] = 0.1,
    starts: Annotated[int, Field(ge=5)] = 48,
) -> list[dict[str, Any]]:
    """Return phase portraits of (x^2 - 1)^2 / 4 + y^2 / 2 with one SAM step (normalised radius) in each case.

    The stable manifold of the saddle, x = 0, is the boundary of the basins; the unstable one is y = 0. The work draws them by
    hand; here the manifolds are integrated and the steps computed. What the work says of the cases is counted over starts all
    over the basin of s_1, with radii that are small against the distance between saddle and minima.

    Args:
        radius: rho of the steps drawn, large, so that it can be seen.
        eta: learning rate of the steps drawn, large, so that a step can be seen.
        points: number of grid points per side of the flow.
        radii: values of rho of the counts.
        small_eta: learning rate of the counts.
        starts: number of starts of the counts per side of their grid.
    """
    view = "portrait"
    x, y = np.linspace(*WINDOW[0], points), np.linspace(*WINDOW[1], points)
    across, up = np.meshgrid(x, y)
    right, above = double_well_gradient(across, up)
    speed = np.hypot(right, above)
    rows = drawn_rows(view, "flow", across, up, speed, dx=-right, dy=-above, metric="speed")
    rows += drawn_rows(view, "region", across, up, np.sign(across), metric="basin")
    for name, place in (*MINIMA.items(), ("d", SADDLE)):
        aside: Protocol = {"dx": -7, "dy": 7} if name == "d" else {}
        rows += drawn_rows(view, "point", *place, double_well(*place), text=name, **aside)
    for number, side in enumerate((1.0, -1.0)):
        stable = gradient_flow_line(double_well_gradient, (0.0, 1e-4 * side), backward=True, length=1.8)[::6]
        unstable = gradient_flow_line(double_well_gradient, (1e-4 * side, 0.0), backward=False, length=0.999)[::6]
        rows += drawn_rows(view, "path", *stable.T, method="stable manifold of d", text=f"stable {number}")
        rows += drawn_rows(view, "path", *unstable.T, method="unstable manifold of d", text=f"unstable {number}")
    for text, place in (("A(s₁)", (0.85, 0.95)), ("A(s₂)", (-0.85, 0.95))):
        rows += drawn_rows(view, "label", *place, panel="(a) basins of attraction", text=text)
    for text, place in (("Wˢ(d)", (0.27, 1.45)), ("Wᵘ(d)", (0.5, -0.17))):
        rows += drawn_rows(view, "label", *place, panel="(b) manifolds of the saddle d", text=text)
    for letter, (panel, start) in zip("cdef", STARTS.items(), strict=True):
        rows += _step(view, f"({letter}) {panel}", panel, start, radius, eta)
    for rho in radii:
        rows += _shares_of_starts(view, rho, small_eta, starts)
    return number_points(rows)


def basin_of(point: Point) -> str:
    """Return the minimum that the gradient flow reaches from a point, by the sign of x; "boundary" on the boundary x = 0."""
    return "boundary" if point[0] == 0 else "s₁" if point[0] > 0 else "s₂"


def sam_step_case(point: Point, radius: float, eta: float) -> str:
    """Return the case of a SAM step.

    Case III: w^p is in another basin than w; (i) if w_{t+1} is in the basin of w, (ii) if not. Case II: w^p is in the same basin,
    but the boundary intersects the ball of this radius around w. Case I: it does not.
    """
    above, after = sam_step(point, radius, eta)
    if basin_of(above) != basin_of(point):
        return "case III (i)" if basin_of(after) == basin_of(point) else "case III (ii)"
    return "case II" if abs(point[0]) < radius else "case I"


def sam_step(point: Point, radius: float, eta: float) -> tuple[Point, Point]:
    """Return w^p and w_{t+1}."""
    above = perturbed_point(double_well_gradient, point, radius, "normalised")
    across, up = double_well_gradient(*above)
    return above, (point[0] - eta * across, point[1] - eta * up)


def sam_steps(points: Array, radius: float, eta: float) -> tuple[Array, Array]:
    """Return w^p and w_{t+1} of many weights (n, 2) at once; radius 0 is gradient descent."""
    gradient = gradients_at(double_well_gradient, points)
    above = points + radius * gradient / np.hypot(gradient[:, 0], gradient[:, 1])[:, None]
    return above, points - eta * gradients_at(double_well_gradient, above)


def _shares_of_starts(view: str, radius: float, eta: float, starts: int) -> Rows:
    """Return, for each case, what SAM does from the starts that are in it.

    median_cosine: between the gradients at w and w^p (the work: near 1 in cases I and II). Of ``STEPS`` steps from each start,
    share_held: all are in case III; share_crossing: at least ``CROSSINGS`` of them are in case III (ii), which crosses the
    boundary; share_at_minimum: the last is at the minimum of its basin; share_descending: so is that of gradient descent.
    """
    across, up = np.meshgrid(np.linspace(0.01, 1.4, starts), np.linspace(-0.9, 0.9, starts))
    begin = np.stack([across.ravel(), up.ravel()], axis=1)
    above, after = sam_steps(begin, radius, eta)
    cosine = row_cosines(gradients_at(double_well_gradient, begin), gradients_at(double_well_gradient, above))
    held, crossings = np.full(len(begin), True), np.zeros(len(begin), int)
    weights, descending = begin, begin
    for _ in range(STEPS):
        above, after = sam_steps(weights, radius, eta)
        other = above[:, 0] * weights[:, 0] < 0
        held &= other
        crossings += other & (after[:, 0] * weights[:, 0] < 0)
        weights, descending = after, sam_steps(descending, 0.0, eta)[1]
    apart, apart_descending = (np.hypot(*(ends - MINIMA["s₁"]).T) for ends in (weights, descending))
    cases = np.array([sam_step_case((float(x), float(y)), radius, eta) for x, y in begin])
    rows = []
    for case in STARTS:
        here = cases == case
        if not here.any():
            continue
        found = {
            "median_cosine": np.median(cosine[here]),
            "share_held": held[here].mean(),
            "share_crossing": (crossings[here] >= CROSSINGS).mean(),
            "share_at_minimum": (apart[here] < CIRCLING).mean(),
            "share_descending": (apart_descending[here] < ARRIVED).mean(),
        }
        own: Protocol = {"radius": radius, "eta": eta, "rule": "normalised", "starts": int(here.sum())}
        for metric, value in found.items():
            rows += outcome_row(view, metric, float(value), method=case, **own)
    return rows


def _step(view: str, panel: str, wanted: str, start: Point, radius: float, eta: float) -> Rows:
    """Return the rows of one SAM step: its arrows, its points, and which case it is."""
    above, after = sam_step(start, radius, eta)
    own: Protocol = {"radius": radius, "eta": eta, "rule": "normalised"}
    cosine = row_cosines(
        gradients_at(double_well_gradient, np.array([start])), gradients_at(double_well_gradient, np.array([above]))
    )
    rows = []
    for method, begin, end in (("ascent to wᵖ", start, above), ("SAM step", start, after)):
        dx, dy = end[0] - begin[0], end[1] - begin[1]
        rows += drawn_rows(view, "arrow", *begin, double_well(*begin), dx=dx, dy=dy, panel=panel, method=method, **own)
    for text, place, down in (("w", start, 4), ("wᵖ", above, 4), ("w′", after, -13)):
        rows += drawn_rows(view, "point", *place, double_well(*place), panel=panel, text=text, dx=7, dy=down)
    facts = {
        "gradient_cosine": float(cosine[0]),
        "perturbed_weight_in_the_other_basin": float(basin_of(above) != basin_of(start)),
        "next_weight_in_the_other_basin": float(basin_of(after) != basin_of(start)),
        "is_this_case": float(sam_step_case(start, radius, eta) == wanted),
    }
    for metric, value in facts.items():
        rows += outcome_row(view, metric, value, method=wanted, **own)
    return rows
