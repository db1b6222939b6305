"""kim2023, propositions 3.1 and 3.2, equation 3.19: the effect of the smoothness term on the margin."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.theory.rows import check_row


def smoothness_gradient(
    *,
    classes: Annotated[int, Field(ge=3)] = 5,
    dimension: Annotated[int, Field(ge=2)] = 8,
    draws: Annotated[int, Field(ge=1)] = 50,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compare the closed-form gradients of KL(p(x) || p(x*)) and of its bridged form with autodiff, in float64.

    Proposition 3.1 (two classes): grad KL = (log p/p* - log (1-p)/(1-p*)) grad p + (-p/p* + (1-p)/(1-p*)) grad p*, and
    grad M = 2 grad p, so that the coefficient of grad M, half the first bracket, is positive exactly where p > p*: descending the
    divergence then lowers the margin. Proposition 3.2 (any number of classes): grad KL = J_p^T log alpha - J_{p*}^T alpha, with J
    the Jacobian of the probabilities in the weights and alpha = p/p*. Equation 3.19: with a bridge q between p and p*,
    grad [KL(p||q) + KL(q||p*)] = J_p^T log a1 + J_q^T (log a2 - a1) - J_{p*}^T a2, where a1 = p/q and a2 = q/p*.

    Args:
        classes: number of classes in the general statements.
        dimension: dimension of the inputs of the random softmax regressions.
        draws: number of random models, each with three inputs.
        seed: seed of the models and inputs.
    """
    generator = torch.Generator().manual_seed(seed)
    errors: dict[str, float] = {"3.1": 0.0, "3.2": 0.0, "3.19": 0.0, "dM": 0.0}
    wrong_coefficient = against = with_gap = 0
    for _ in range(draws):
        points = torch.randn(3, dimension, generator=generator, dtype=torch.float64)
        for count in (2, classes):
            weights = torch.randn(count, dimension, generator=generator, dtype=torch.float64)
            p, q, star = (_probabilities(weights, x) for x in points)
            jp, jq, js = (_jacobian(weights, x) for x in points)
            direct = _gradient(weights, points[0], points[2])
            if count == 2:
                closed = ((p[0] / star[0]).log() - (p[1] / star[1]).log()) * jp[0] + (
                    p[1] / star[1] - p[0] / star[0]
                ) * js[0]
                errors["3.1"] = max(errors["3.1"], _relative_difference(closed, direct))
                errors["dM"] = max(errors["dM"], _relative_difference(2 * jp[0], jp[0] - jp[1]))
                coefficient = ((p[0] / star[0]).log() - (p[1] / star[1]).log()) / 2
                wrong_coefficient += int((coefficient > 0) != (p[0] > star[0]))
            else:
                alpha, first, second = p / star, p / q, q / star
                closed = torch.einsum("c,cw->w", alpha.log(), jp) - torch.einsum("c,cw->w", alpha, js)
                errors["3.2"] = max(errors["3.2"], _relative_difference(closed, direct))
                bridged = _gradient(weights, points[0], points[1]) + _gradient(weights, points[1], points[2])
                closed = (
                    torch.einsum("c,cw->w", first.log(), jp)
                    + torch.einsum("c,cw->w", second.log() - first, jq)
                    - torch.einsum("c,cw->w", second, js)
                )
                errors["3.19"] = max(errors["3.19"], _relative_difference(closed, bridged))
                y = int(p.argmax())
                t = int(star.clone().index_fill(0, torch.tensor([y]), -1.0).argmax())
                if p[y] > star[y] and p[t] < star[t]:
                    with_gap += 1
                    step = -(alpha[y].log() * jp[y] + alpha[t].log() * jp[t])  # part of -grad KL in p_y and p_t
                    against += int((step @ (jp[y] - jp[t])).item() < 0)
    protocol = {"classes": classes, "dimension": dimension, "draws": draws, "seed": seed}
    exact: list[dict[str, Any]] = [
        check_row(check, quantity, errors[key], "==", 0.0, tolerance=1e-9, **protocol)
        for check, key, quantity in (
            ("proposition 3.1", "3.1", "largest relative |closed form - autodiff|"),
            ("proposition 3.1", "dM", "largest relative |grad M - 2 grad p|"),
            ("proposition 3.2", "3.2", "largest relative |closed form - autodiff|"),
            ("eq 3.19", "3.19", "largest relative |closed form - autodiff|"),
        )
    ]
    return [
        *exact,
        check_row(
            "proposition 3.1",
            "signs of the coefficient that differ from p - p*",
            wrong_coefficient,
            "==",
            0.0,
            **protocol,
        ),
        check_row("proposition 3.2", "draws with p_y > p*_y and p_t < p*_t", with_gap, ">", 0.0, **protocol),
        check_row(
            "proposition 3.2",
            "of them in which the direct part lowers p_y - p_t",
            against,
            "==",
            float(with_gap),
            **protocol,
        ),
    ]


def _probabilities(weights: Tensor, x: Tensor) -> Tensor:
    """Return the softmax probabilities (C,) of one input."""
    return (weights @ x).softmax(0)


def _jacobian(weights: Tensor, x: Tensor) -> Tensor:
    """Return the Jacobian of the probabilities in the weights, (C, C d)."""
    jacobian: Tensor = torch.func.jacrev(_probabilities)(weights, x)
    return jacobian.flatten(1)


def _gradient(weights: Tensor, x: Tensor, other: Tensor) -> Tensor:
    """Return the gradient of KL(p(x) || p(other)) in the weights, by autodiff, (C d,)."""

    def divergence(w: Tensor) -> Tensor:
        log_p, log_q = (w @ x).log_softmax(0), (w @ other).log_softmax(0)
        return (log_p.exp() * (log_p - log_q)).sum()

    gradient: Tensor = torch.func.grad(divergence)(weights)
    return gradient.flatten()


def _relative_difference(a: Tensor, b: Tensor) -> float:
    """Return ||a - b|| / ||b||."""
    return ((a - b).norm() / b.norm().clamp_min(1e-30)).item()
