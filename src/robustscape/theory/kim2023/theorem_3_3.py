"""kim2023, equations 3.20 to 3.23 and theorem 3.3: the robust error and its bound with bridges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.theory.rows import check_row


def theorem_3_3(
    *,
    points: Annotated[int, Field(ge=5)] = 31,
    radius: Annotated[int, Field(ge=1)] = 3,
    bridges: list[Annotated[int, Field(ge=1)]] = [1, 2, 3, 4],  # noqa: B006  (read from the syntax tree as a schema)
    betas: list[Annotated[float, Field(gt=0)]] = [0.5, 1.0, 5.0],  # noqa: B006
    draws: Annotated[int, Field(ge=1)] = 200,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check the statements on random binary problems on a line, by exact sums, for hinge loss and base-2 logistic loss.

    Inputs are the points of a grid with random weights P(x), labels have random eta(x) = P(y = 1 | x), f is a function on the
    grid, and x* is a point of the ball where f has the sign opposite to that at x, or x if there is none. Intermediate points are
    the grid points nearest to the straight path. Checked are R_rob = R_nat + R_bdy (3.20), with R_rob by its definition: some
    point of the ball is wrong, looked for in all of it; R_bdy <= P[x within eps of the decision boundary], which equals
    E max 1{f(x') f(x) < 0} (3.21), with the boundary where f changes its sign from one grid point to the next;
    R_rob(f) - R*_nat <= psi^{-1}( R_phi(f) - R*_phi ) + E max 1{beta f(x') f(x) < 0} (3.22), where beta > 0 changes no sign;
    1{beta f(x*) f(x) < 0} <= sum_k 1{beta f(g_k) f(g_{k+1}) <= 0} for all patterns of signs (3.23); and

        R_rob(f) - R*_nat <= psi^{-1}( R_phi(f) - R*_phi ) + E sum_k phi( beta f(g_k) f(g_{k+1}) )

    (theorem 3.3), for phi with phi(0) >= 1, where psi(t) = |t| for the hinge loss and 1 - h_2((1+t)/2) for the logistic one. A
    bound that is too large would hold as well. So its right side is compared with closed forms on two problems where it says
    much: f = -s everywhere with s -> 0 and beta s^2 -> infinity, where both sides are 2 eta - 1; and a step of f = +-1 with
    certain labels, whose bridges cost phi(-beta) + (m - 1) phi(beta) in the ball of the boundary. Some of the
    problems have a step with certain labels, for which 3.22 is an equation with the hinge loss: what is missing there is noticed.

    Args:
        points: number of grid points.
        radius: radius of the ball in grid steps.
        bridges: numbers m of segments.
        betas: values of beta.
        draws: number of random problems.
        seed: seed of the problems.
    """
    generator = torch.Generator().manual_seed(seed)
    slack = {(phi, m): float("inf") for phi in ("hinge", "logistic") for m in bridges}
    slack_of_3_22 = {phi: float("inf") for phi in ("hinge", "logistic")}
    split = boundary = apart = below = 0.0
    for number in range(draws):
        weight = torch.rand(points, generator=generator, dtype=torch.float64)
        weight /= weight.sum()
        f, eta = _random_line_problem(number, points, generator)
        star = _opposite_sign_points(f, radius)
        wrong = torch.where(f > 0, 1 - eta, eta)  # P(f(x) y <= 0 | x)
        crossing = f * f[star] <= 0
        crossing &= star != torch.arange(points)
        bdy = weight @ ((1 - wrong) * crossing)
        rob = weight @ _robust_error(f, eta, radius)
        split = max(split, abs((rob - weight @ wrong - bdy).item()))
        near = weight @ _near_decision_boundary(f, radius).double()
        boundary, below = max(boundary, (bdy - near).item()), max(below, (near - bdy).item())
        apart = max(apart, abs((weight @ crossing.double() - near).item()))
        best = weight @ torch.minimum(eta, 1 - eta)
        for name, least in slack_of_3_22.items():
            bound = _psi_inverse(name, _excess_risk(name, f, eta, weight)) + (weight @ crossing.double()).item()
            slack_of_3_22[name] = min(least, bound - (rob - best).item())
        for m in bridges:
            path = torch.stack([_path_points(k, m, star) for k in range(m + 1)])
            for beta in betas:
                for name in ("hinge", "logistic"):
                    bound = sum(_right_side(name, f, eta, weight, path, beta))
                    slack[name, m] = min(slack[name, m], bound - (rob - best).item())
    protocol = {"points": points, "radius": radius, "draws": draws, "seed": seed}
    return [
        check_row("eq 3.20", "largest |R_rob - R_nat - R_bdy|", split, "==", 0.0, tolerance=1e-12, **protocol),
        check_row("eq 3.21", "largest R_bdy - P[near the boundary]", boundary, "<=", 0.0, tolerance=1e-12, **protocol),
        check_row("eq 3.21", "largest P[near the boundary] - R_bdy", below, ">", 0.0, **protocol),
        check_row(
            "eq 3.21",
            "largest |P[near the boundary] - E max 1{f(x') f(x) < 0}|",
            apart,
            "==",
            0.0,
            tolerance=1e-12,
            **protocol,
        ),
        *(
            check_row(
                "eq 3.22",
                "smallest right side - left side",
                value,
                ">=",
                0.0,
                tolerance=1e-12,
                phi=name,
                **protocol,
            )
            for name, value in slack_of_3_22.items()
        ),
        *(
            check_row(
                "eq 3.23", "sign patterns against it", _count_violations_of_3_23(m), "==", 0.0, bridges=m, **protocol
            )
            for m in sorted({*bridges, 5})
        ),
        *(
            check_row(
                "theorem 3.3",
                "smallest right side - left side",
                value,
                ">=",
                0.0,
                tolerance=1e-12,
                bridges=m,
                phi=name,
                **protocol,
            )
            for (name, m), value in slack.items()
        ),
        *_tight_rows(points, radius, bridges, betas, protocol),
    ]


def _right_side(name: str, f: Tensor, eta: Tensor, weight: Tensor, path: Tensor, beta: float) -> tuple[float, float]:
    """Return psi^{-1}(R_phi(f) - R*_phi) and E sum_k phi(beta f(g_k) f(g_{k+1})); arrays (points,), the path (m + 1, points)."""
    excess = _excess_risk(name, f, eta, weight)
    return _psi_inverse(name, excess), (weight @ bridged_term(name, f, path, beta)).item()


def _excess_risk(name: str, f: Tensor, eta: Tensor, weight: Tensor) -> float:
    """Return R_phi(f) - R*_phi; arrays (points,)."""
    excess = weight @ (eta * _surrogate_loss(name, f) + (1 - eta) * _surrogate_loss(name, -f))
    excess -= weight @ _least_conditional_risk(name, eta)
    return excess.item()


def _tight_rows(
    points: int, radius: int, bridges: Sequence[int], betas: Sequence[float], protocol: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return rows that compare the right side of theorem 3.3 with closed forms; see ``theorem_3_3``."""
    place = torch.arange(points)
    weight = torch.full((points,), 1 / points, dtype=torch.float64)
    step = torch.where(place < points // 2, -1.0, 1.0).double()
    star = _opposite_sign_points(step, radius)
    share = (star != place).double().mean().item()  # of the points in the ball of the boundary
    worst = {"excess": 0.0, "bridges": 0.0}
    for name, phi in _CLOSED_FORMS.items():
        for m in bridges:
            for eta in (0.6, 0.8, 1.0):
                barely = torch.full((points,), -1e-4, dtype=torch.float64)
                same = torch.stack([place] * (m + 1))
                found = sum(_right_side(name, barely, torch.full_like(barely, eta), weight, same, 1e10))
                worst["excess"] = max(worst["excess"], abs(found - (2 * eta - 1)))
            whole = torch.stack([_path_points(k, m, star) for k in range(m + 1)])
            # A path of fewer grid points than m + 1 stays at some of them, which costs phi(beta) too.
            for beta in betas:
                _, found = _right_side(name, step, (step > 0).double(), weight, whole, beta)
                expected = share * (phi(-beta) + (m - 1) * phi(beta)) + (1 - share) * m * phi(beta)
                worst["bridges"] = max(worst["bridges"], abs(found - expected))
    return [
        check_row(
            "theorem 3.3",
            "largest |right side - (2 eta - 1)| for f barely wrong everywhere",
            worst["excess"],
            "==",
            0.0,
            tolerance=1e-3,
            **protocol,
        ),
        check_row(
            "theorem 3.3",
            "largest error of the sum over bridges of a step",
            worst["bridges"],
            "==",
            0.0,
            tolerance=1e-9,
            **protocol,
        ),
    ]


#: phi of the hinge and of the base-2 logistic loss, in closed form.
_CLOSED_FORMS: dict[str, Callable[[float], float]] = {
    "hinge": lambda z: max(0.0, 1 - z),
    "logistic": lambda z: math.log2(1 + math.exp(-z)),
}


def _random_line_problem(number: int, points: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return f and eta, each (points,).

    In one of three problems f is a random walk. In the other two it is a step of height 1 or 5 whose sign agrees with eta, so
    that the bounds are nearly tight.
    """
    walk = torch.randn(points, generator=generator, dtype=torch.float64).cumsum(0)
    eta = torch.rand(points, generator=generator, dtype=torch.float64)
    if number % 3 == 0:
        return walk * 2 / 3 * torch.rand(1, generator=generator, dtype=torch.float64), eta
    turn = torch.randint(points + 10, (1,), generator=generator)  # beyond the grid: no boundary at all
    f = (1.0 if number % 3 == 1 else 5.0) * torch.where(torch.arange(points) < turn, -1.0, 1.0).double()
    certain = eta.round() if number % 2 else eta
    return f, torch.where(f > 0, torch.maximum(certain, 1 - certain), torch.minimum(certain, 1 - certain))


def _opposite_sign_points(f: Tensor, radius: int) -> Tensor:
    """Return x* as indices (points,): the nearest point of the ball with the other sign of f; x itself if there is none."""
    count, positive = len(f), (f > 0).tolist()
    star = torch.arange(count)
    for place in range(count):
        ball = range(max(0, place - radius), min(count, place + radius + 1))
        others = [j for j in ball if positive[j] != positive[place]]
        if others:
            star[place] = min(others, key=lambda j: (abs(j - place), j))
    return star


def _robust_error(f: Tensor, eta: Tensor, radius: int) -> Tensor:
    """Return P(f(x') y <= 0 for some x' of the ball | x) of each point, (points,), by looking at the whole ball."""
    values = f.tolist()
    balls = [values[max(0, place - radius) : place + radius + 1] for place in range(len(values))]
    some_not_positive = torch.tensor([any(value <= 0 for value in ball) for ball in balls])
    some_not_negative = torch.tensor([any(value >= 0 for value in ball) for ball in balls])
    return eta * some_not_positive + (1 - eta) * some_not_negative


def _near_decision_boundary(f: Tensor, radius: int) -> Tensor:
    """Return True for each point whose ball contains two neighbours with different signs of f, (points,)."""
    changes = ((f[1:] > 0) != (f[:-1] > 0)).tolist()
    return torch.tensor([any(changes[max(0, place - radius) : place + radius]) for place in range(len(f))])


def bridged_term(name: str, f: Tensor, path: Tensor, beta: float) -> Tensor:
    """Return sum_k phi(beta f(g_k) f(g_{k+1})) of each point, (points,), along paths of grid points (m + 1, points)."""
    return _surrogate_loss(name, beta * f[path[:-1]] * f[path[1:]]).sum(0)


def _path_points(k: int, m: int, star: Tensor) -> Tensor:
    """Return the grid points nearest to x + k/m (x* - x) as indices (points,)."""
    here = torch.arange(len(star))
    return here + torch.round((star - here).double() * k / m).long()


def _surrogate_loss(name: str, z: Tensor) -> Tensor:
    """Return phi(z) of the hinge or the base-2 logistic loss, elementwise."""
    if name == "hinge":
        return (1 - z).clamp_min(0)
    return torch.nn.functional.softplus(-z) / torch.log(torch.tensor(2.0, dtype=z.dtype))


def _least_conditional_risk(name: str, eta: Tensor) -> Tensor:
    """Return H(eta) = inf_a eta phi(a) + (1 - eta) phi(-a), elementwise."""
    return 2 * torch.minimum(eta, 1 - eta) if name == "hinge" else _binary_entropy(eta)


def _binary_entropy(eta: Tensor) -> Tensor:
    """Return the binary entropy h_2(eta) in bits, elementwise."""
    return -(torch.special.xlogy(eta, eta) + torch.special.xlogy(1 - eta, 1 - eta)) / torch.log(
        torch.tensor(2.0, dtype=eta.dtype)
    )


def _psi_inverse(name: str, value: float) -> float:
    """Return the t in [0, 1] with psi(t) = value, by bisection; ``value`` if it is 1 or more (a trivial bound)."""
    if name == "hinge" or value >= 1:
        return max(value, 0.0)
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        reached = sum((1 + side) / 2 * math.log2(1 + side) for side in (middle, -middle) if side > -1)
        low, high = (middle, high) if reached < value else (low, middle)
    return high


def _count_violations_of_3_23(m: int, signs: Sequence[int] = (-1, 0, 1)) -> int:
    """Return the number of patterns of signs at the m + 1 points of a path for which equation 3.23 fails."""
    return sum(
        (pattern[0] * pattern[-1] < 0) > sum(a * b <= 0 for a, b in itertools.pairwise(pattern))
        for pattern in itertools.product(signs, repeat=m + 1)
    )
