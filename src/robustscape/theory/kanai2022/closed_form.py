"""kanai2022, section 3.1: the worst inputs of a linear classifier in closed form, compared with PGD."""

from __future__ import annotations

from typing import Annotated, Any

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd
from robustscape.theory.logistic import (
    agreement_row,
    binary_logits,
    class_labels,
    logistic_losses,
    random_problem,
    worst_input,
    worst_losses,
)
from robustscape.theory.rows import check_row


def closed_form(
    *,
    dimensions: tuple[Annotated[int, Field(ge=2)], ...] = (2, 10),
    samples: Annotated[int, Field(ge=1)] = 200,
    eps: Annotated[float, Field(gt=0)] = 0.3,
    steps: Annotated[int, Field(ge=1)] = 100,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compare log(1 + exp(-y w.x + eps ||w||_q)), q = 2 (L2) or 1 (Linf), with the loss at the worst input and at PGD's.

    Args:
        dimensions: numbers of weights.
        samples: number of random inputs.
        eps: perturbation budget.
        steps: number of PGD steps, each of size eps / 10.
        seed: seed of the inputs, labels, weights and PGD's starts.
    """
    rows = []
    for dimension in dimensions:
        x, y, w = random_problem(dimension, samples, seed)

        def model(points: Tensor, w: Tensor = w) -> Tensor:
            return binary_logits(points @ w)

        for norm in ("L2", "Linf"):
            protocol = {
                "dimension": dimension,
                "norm": norm,
                "samples": samples,
                "eps": eps,
                "steps": steps,
                "seed": seed,
            }
            exact = worst_losses(w, x, y, eps, norm)
            threat = ThreatModel(norm, eps, None)
            generator = SampleGenerator.seeded(seed, samples)
            attacked = pgd(model, x, class_labels(y), threat, generator, steps=steps, rel_step_size=0.1)
            found = F.cross_entropy(model(attacked), class_labels(y), reduction="none")
            at_worst = logistic_losses(w, worst_input(w, x, y, eps, norm), y)
            rows += [
                agreement_row(norm, "largest |formula - loss at x'|", exact, at_worst, tolerance=1e-12, **protocol),
                agreement_row(norm, "largest |formula - PGD|", exact, found, tolerance=1e-4, **protocol),
                check_row(
                    norm, "PGD's largest excess", (found - exact).max().item(), "<=", 0.0, tolerance=1e-6, **protocol
                ),
            ]
    return rows
