"""yamada2021, eq 8: the gradient of the adversarial loss, as printed and corrected."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.theory.logistic import (
    agreement_row,
    largest_difference,
    logistic_losses,
    optimal_problem,
    random_problem,
    unit_vector,
    worst_input,
)
from robustscape.theory.rows import check_row


def gradient(
    *,
    dimension: Annotated[int, Field(ge=2)] = 16,
    samples: Annotated[int, Field(ge=1)] = 64,
    eps: Annotated[float, Field(gt=0)] = 0.5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compare eq 8 with automatic differentiation of the loss through the attack -y eps w/||w||.

    With m = y w.x - eps ||w||, the gradient is mean (-y x + eps w/||w||) / (1 + exp(m)), from which appendix B starts. Eq 8
    prints an additional factor exp(-m) (erratum); the two agree only where m = 0, as at the optimum of theorem 1. By
    Danskin's theorem, holding the attack fixed gives the same gradient.

    Args:
        dimension: number of weights.
        samples: number of random inputs.
        eps: perturbation budget in L2.
        seed: seed of the inputs, labels and weights.
    """
    x, y, w = random_problem(dimension, samples, seed)
    moving = torch.func.grad(lambda v: logistic_losses(v, worst_input(v, x, y, eps, "L2"), y).mean())(w)
    attacked = worst_input(w, x, y, eps, "L2")
    fixed = torch.func.grad(lambda v: logistic_losses(v, attacked, y).mean())(w)
    corrected, printed = _equation_8(w, x, y, eps)
    optimal = optimal_problem(dimension, samples, eps, w.norm().item(), seed)
    _, at_optimum = _equation_8(optimal.w, optimal.x, optimal.y, eps)
    protocol = {"dimension": dimension, "samples": samples, "eps": eps, "seed": seed}
    return [
        agreement_row("eq 8 corrected", "largest |formula - autodiff|", corrected, moving, tolerance=1e-12, **protocol),
        check_row(
            "eq 8 printed",
            "largest |formula - autodiff|",
            largest_difference(printed, moving),
            "!=",
            0.0,
            tolerance=1e-6,
            **protocol,
        ),
        agreement_row(
            "eq 8 printed", "largest |gradient| at the optimum", at_optimum, 0.0, tolerance=1e-12, **protocol
        ),
        agreement_row("Danskin", "largest |fixed - moving attack|", fixed, moving, tolerance=1e-12, **protocol),
    ]


def _equation_8(w: Tensor, x: Tensor, y: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return the gradient of eq 8, (d,), corrected and as printed."""
    m = y * (x @ w) - eps * w.norm()
    terms = (eps * unit_vector(w) - y[:, None] * x) / (1 + m.exp())[:, None]
    return terms.mean(0), (terms * (-m).exp()[:, None]).mean(0)
