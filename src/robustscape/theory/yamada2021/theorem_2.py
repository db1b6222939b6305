"""yamada2021, theorem 2: random noise sharpens the loss little, and not at all where the loss is minimal."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.landscape.logistic import fixed_hessian
from robustscape.theory.logistic import (
    agreement_row,
    class_labels,
    largest_difference,
    logistic_losses,
    random_problem,
    unit_vector,
    weight_hessian,
)
from robustscape.theory.rows import check_row


def theorem_2(
    *,
    dimension: Annotated[int, Field(ge=2, le=10)] = 5,
    samples: Annotated[int, Field(ge=2)] = 32,
    eps: Annotated[float, Field(gt=0)] = 0.5,
    margins: tuple[float, ...] = (0.0, 1.0, 3.0),
    scales: Annotated[tuple[float, ...], Field(min_length=2)] = (1.0, 10.0, 100.0),
    draws: Annotated[int, Field(ge=100)] = 200_000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check eqs 13 to 15 for noise eta ~ U(-eps, eps) that does not depend on w.

    (a) Gradient and Hessian agree with automatic differentiation; eq 13 prints x for x + eta and a wrong sign (erratum).
    (b) E eta eta^T = eps^2/3 I for the noise that the package draws.
    (c) On separable data all eigenvalues vanish as w grows: at weights c w the largest lies between kappa/(1 + kappa)^2
        times that of E (x + eta)(x + eta)^T for kappa = exp(-c m), m the largest and the smallest margin.
    (d) Where kappa = exp(-margin) is constant, H = kappa/(1 + kappa)^2 (E x x^T + eps^2/3 I).
    (e) The same holds with sigma^2 instead of eps^2/3 for Gaussian noise of variance sigma^2.

    Args:
        dimension: number of weights.
        samples: number of inputs.
        eps: half-width of the uniform noise; standard deviation of the Gaussian noise.
        margins: margins y w.(x + eta) at which (d) and (e) are checked.
        scales: factors c of w in (c), ascending.
        draws: number of noise vectors in (b).
        seed: seed of the inputs, labels, weights and noise.
    """
    protocol = {"eps": eps, "dimension": dimension, "samples": samples, "seed": seed}
    return [
        *_derivatives(dimension, samples, eps, seed, protocol),
        *_second_moment(dimension, eps, draws, seed, protocol | {"draws": draws}),
        *_vanishing(dimension, samples, eps, scales, seed, protocol),
        *(r for m in margins for r in _constant_margin(dimension, samples, eps, m, seed, protocol | {"margin": m})),
    ]


def _derivatives(dimension: int, samples: int, eps: float, seed: int, protocol: dict[str, Any]) -> list[dict[str, Any]]:
    """Check (a) on random data."""
    x, y, w = random_problem(dimension, samples, seed)
    noise = _noise(x, eps, seed)
    points = x + noise
    gradient = torch.func.grad(lambda v: logistic_losses(v, points, y).mean())(w)
    corrected, printed = _equation_13(w, x, noise, y)
    autodiff = weight_hessian(lambda v: logistic_losses(v, points, y).mean(), w)
    equation_14 = fixed_hessian(w, points, class_labels(y))
    quantity = "largest |formula - autodiff|"
    return [
        agreement_row("eq 13 corrected", quantity, corrected, gradient, tolerance=1e-12, **protocol),
        check_row(
            "eq 13 printed", quantity, largest_difference(printed, gradient), "!=", 0.0, tolerance=1e-6, **protocol
        ),
        agreement_row("eq 14", quantity, equation_14, autodiff, tolerance=1e-12, **protocol),
    ]


def _equation_13(w: Tensor, x: Tensor, noise: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient of eq 13, (d,), corrected and as printed."""
    g = 1 + torch.exp(-y * ((x + noise) @ w))
    share = (y * (g - 1) / g)[:, None]
    return -(share * (x + noise)).mean(0), (share * x).mean(0)


def _second_moment(dimension: int, eps: float, draws: int, seed: int, protocol: dict[str, Any]) -> list[dict[str, Any]]:
    """Check (b) within six standard errors.

    The standard deviation of eta_i is eps/sqrt(3), that of eta_i eta_j eps^2/3, and that of eta_i^2 is smaller.
    """
    eta = _noise(torch.zeros(draws, dimension, dtype=torch.float64), eps, seed)
    moment = eta.T @ eta / draws
    expected = eps**2 / 3 * torch.eye(dimension, dtype=torch.float64)
    error, mean_error = 6 * eps**2 / 3 / draws**0.5, 6 * eps / (3 * draws) ** 0.5
    return [
        agreement_row("noise", "largest |E eta|", eta.mean(0), 0.0, tolerance=mean_error, **protocol),
        agreement_row("noise", "largest |E eta eta^T - eps^2/3 I|", moment, expected, tolerance=error, **protocol),
    ]


def _vanishing(
    dimension: int, samples: int, eps: float, scales: tuple[float, ...], seed: int, protocol: dict[str, Any]
) -> list[dict[str, Any]]:
    """Check (c) on data moved along w until every noisy sample is classified correctly with a margin of at least eps."""
    x, y, w = random_problem(dimension, samples, seed)
    noise = _noise(x, eps, seed)
    lacking = (eps - (y * ((x + noise) @ w)).min()).clamp_min(0) / w.norm()
    points = x + noise + lacking * y[:, None] * unit_vector(w)
    margins = y * (points @ w)
    tops = [torch.linalg.eigvalsh(fixed_hessian(scale * w, points, class_labels(y)))[-1].item() for scale in scales]
    moment = torch.linalg.eigvalsh(points.T @ points / samples)[-1].item()
    rows = []
    for top, scale in zip(tops, scales, strict=True):
        kappa = (-scale * torch.stack([margins.max(), margins.min()])).exp()
        least, most = (moment * kappa / (1 + kappa) ** 2).tolist()
        tolerance, quantity = 1e-12 * moment, "largest eigenvalue at c w"
        rows += [
            check_row("theorem 2", quantity, top, "<=", most, tolerance=tolerance, scale=scale, **protocol),
            check_row("theorem 2", quantity, top, ">=", least, tolerance=tolerance, scale=scale, **protocol),
        ]
    falls = [before - after for before, after in pairwise(tops)]
    return rows + [
        check_row("theorem 2", "fall of the largest eigenvalue with c", fall, ">", 0.0, **protocol) for fall in falls
    ]


def _constant_margin(
    dimension: int, samples: int, eps: float, margin: float, seed: int, protocol: dict[str, Any]
) -> list[dict[str, Any]]:
    """Check (d) and (e) exactly.

    An additional coordinate y has the weight ``margin`` and no noise; the weights of all others are 0, so the noise does not
    change kappa. H is quadratic in the noise, so its expectation is a sum over the nodes of two-point Gauss quadrature:
    +-eps/sqrt(3) for U(-eps, eps), +-sigma for a Gaussian.
    """
    x, y, _ = random_problem(dimension, samples, seed)
    w = torch.tensor([0.0] * dimension + [margin], dtype=torch.float64)
    kappa = torch.tensor(-margin).double().exp().item()
    factor = kappa / (1 + kappa) ** 2
    rows = []
    for check, variance in (("uniform noise", eps**2 / 3), ("Gaussian noise", eps**2)):
        nodes = variance**0.5 * torch.tensor(list(product((-1.0, 1.0), repeat=dimension)), dtype=torch.float64)
        noisy = _hessian_of_the_rest(w, (x[:, None] + nodes).flatten(0, 1), y.repeat_interleave(len(nodes)))
        clean = _hessian_of_the_rest(w, x, y)
        formula = factor * (x.T @ x / samples + variance * torch.eye(dimension, dtype=x.dtype))
        rise = torch.linalg.eigvalsh(noisy) - torch.linalg.eigvalsh(clean)
        rows += [
            agreement_row(check, "largest |formula - autodiff|", formula, noisy, tolerance=1e-12, **protocol),
            check_row(
                check,
                "smallest rise of an eigenvalue",
                rise.min().item(),
                "==",
                factor * variance,
                tolerance=1e-12,
                **protocol,
            ),
            check_row(
                check,
                "largest rise of an eigenvalue",
                rise.max().item(),
                "==",
                factor * variance,
                tolerance=1e-12,
                **protocol,
            ),
        ]
    return rows


def _hessian_of_the_rest(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the Hessian (d, d) with respect to all weights but the last, whose coordinate is y."""
    points = torch.cat([x, y[:, None]], dim=1)
    return weight_hessian(lambda v: logistic_losses(v, points, y).mean(), w)[:-1, :-1]


def _noise(x: Tensor, eps: float, seed: int) -> Tensor:
    """Return the package's random noise without clipping, U(-eps, eps) in every coordinate, (N, d)."""
    return ThreatModel("Linf", eps, None).random_offset(x, SampleGenerator.seeded(seed, len(x))).double()
