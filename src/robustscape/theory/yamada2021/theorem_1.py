"""yamada2021, theorem 1: at the optimum, the adversarial loss is sharper the larger eps is."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.threat import ThreatModel
from robustscape.landscape.logistic import fixed_hessian, total_hessian
from robustscape.theory.logistic import (
    agreement_row,
    class_labels,
    logistic_losses,
    optimal_problem,
    random_problem,
    unit_vector,
    weight_hessian,
    worst_input,
    worst_losses,
)
from robustscape.theory.rows import check_row


def theorem_1(
    *,
    dimension: Annotated[int, Field(ge=2)] = 16,
    samples: Annotated[int, Field(ge=1)] = 32,
    eps_values: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=2)] = (0.2, 0.4, 0.6, 0.8, 1.0),
    weight_norm: Annotated[float, Field(gt=0)] = 2.0,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compare the Hessian of eq 9, its eigenvalues (eqs 10, 11) and their growth with eps (eq 12) with autodiff.

    At a point with w/||w|| = y x/eps for every sample, H = eps / (2 ||w||) (I - w w^T/||w||^2) has the eigenvalue
    eps / (2 ||w||) with multiplicity d - 1, and the eigenvalue 0 along w. It is the Hessian of the loss under an attack that
    moves with w; with the attack held fixed, as training computes it, the Hessian is zero there. Away from the optimum both
    Hessians have closed forms, which are checked too.

    Args:
        dimension: number of weights.
        samples: number of inputs.
        eps_values: perturbation budgets in L2, at least two.
        weight_norm: ||w||, the same at every eps, as eq 12 assumes.
        seed: seed of the inputs, labels and weights.
    """
    rows, tops, eps_values = [], [], tuple(sorted(set(eps_values)))
    for eps in eps_values:
        protocol = {"eps": eps, "dimension": dimension, "samples": samples, "weight_norm": weight_norm, "seed": seed}
        x, y, w = optimal_problem(dimension, samples, eps, weight_norm, seed)
        total = _moving_attack_hessian(w, x, y, eps)
        equation_9 = (
            eps / (2 * w.norm()) * (torch.eye(dimension, dtype=w.dtype) - torch.outer(unit_vector(w), unit_vector(w)))
        )
        eigenvalues = torch.linalg.eigvalsh(total)
        expected = eps / (2 * weight_norm)
        tops.append(eigenvalues[-1].item())
        multiplicity = ((eigenvalues - expected).abs() <= 1e-10).sum().item()
        fixed = fixed_hessian(w, worst_input(w, x, y, eps, "L2"), class_labels(y))
        differences = _central_differences(w, x, y, eps)
        rows += [
            agreement_row("eq 9", "largest |H - autodiff|", equation_9, total, tolerance=1e-10, **protocol),
            agreement_row("eq 9", "largest |H - differences|", equation_9, differences, tolerance=1e-8, **protocol),
            check_row("eq 10", "largest eigenvalue", tops[-1], "==", expected, tolerance=1e-10, **protocol),
            check_row("eq 10", "multiplicity of eps/(2||w||)", multiplicity, "==", dimension - 1, **protocol),
            check_row("eq 11", "|H w|", (total @ w).norm().item(), "==", 0.0, tolerance=1e-10, **protocol),
            check_row(
                "theorem 1", "smallest eigenvalue", eigenvalues[0].item(), ">=", 0.0, tolerance=1e-12, **protocol
            ),
            agreement_row("fixed attack", "largest |H| at the optimum", fixed, 0.0, tolerance=1e-12, **protocol),
            *_away_from_the_optimum(dimension, samples, eps, seed),
        ]
    protocol = {"dimension": dimension, "samples": samples, "weight_norm": weight_norm, "seed": seed}
    ratios = [top / eps for top, eps in zip(tops, eps_values, strict=True)]
    steps = [after - before for before, after in pairwise(tops)]
    spread = max(ratios) - min(ratios)
    return [
        *rows,
        *(check_row("eq 12", "rise of the largest eigenvalue with eps", step, ">", 0.0, **protocol) for step in steps),
        check_row("eq 12", "spread of largest eigenvalue / eps", spread, "==", 0.0, tolerance=1e-10, **protocol),
    ]


def _moving_attack_hessian(w: Tensor, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Return the Hessian (d, d) of the mean loss with the attack differentiated, too."""
    return weight_hessian(lambda v: logistic_losses(v, worst_input(v, x, y, eps, "L2"), y).mean(), w)


def _central_differences(w: Tensor, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Return the same Hessian from central differences of gradients with the attack recomputed, as experiments do."""
    step = 1e-5 * w.norm()

    def gradient(weights: Tensor) -> Tensor:
        attacked = worst_input(weights, x, y, eps, "L2")
        return torch.func.grad(lambda v: logistic_losses(v, attacked, y).mean())(weights)

    columns = [gradient(w + move) - gradient(w - move) for move in step * torch.eye(len(w), dtype=w.dtype)]
    return torch.stack(columns, dim=1) / (2 * step)


def _away_from_the_optimum(dimension: int, samples: int, eps: float, seed: int) -> list[dict[str, Any]]:
    """Check the closed forms of both Hessians, which experiments use, on random data."""
    x, y, w = random_problem(dimension, samples, seed)
    protocol = {"eps": eps, "dimension": dimension, "samples": samples, "weight_norm": w.norm().item(), "seed": seed}
    moving = _moving_attack_hessian(w, x, y, eps)
    attacked = worst_input(w, x, y, eps, "L2")
    held = weight_hessian(lambda v: logistic_losses(v, attacked, y).mean(), w)
    linf = weight_hessian(lambda v: worst_losses(v, x, y, eps, "Linf").mean(), w)
    total = total_hessian(w, x, class_labels(y), ThreatModel("L2", eps, None))
    fixed = fixed_hessian(w, attacked, class_labels(y))
    total_linf = total_hessian(w, x, class_labels(y), ThreatModel("Linf", eps, None))
    quantity = "largest |formula - autodiff| on random data"
    return [
        agreement_row("total Hessian, L2", quantity, total, moving, tolerance=1e-12, **protocol),
        agreement_row("fixed Hessian", quantity, fixed, held, tolerance=1e-12, **protocol),
        agreement_row("total Hessian, Linf", quantity, total_linf, linf, tolerance=1e-12, **protocol),
    ]
