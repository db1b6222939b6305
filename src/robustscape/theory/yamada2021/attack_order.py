"""yamada2021, claim Y-14: without clipping, the closed form beats PGD, and PGD beats random noise, on every sample."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import Norm, ThreatModel
from robustscape.attacks.pgd import pgd
from robustscape.attacks.random_noise import random_noise
from robustscape.theory.logistic import binary_logits, class_labels, logistic_losses, random_problem, worst_losses
from robustscape.theory.rows import check_row

NORMS: tuple[Norm, ...] = ("L2", "Linf")


def attack_order(
    *,
    dimension: Annotated[int, Field(ge=2)] = 32,
    samples: Annotated[int, Field(ge=1)] = 256,
    eps: Annotated[float, Field(gt=0)] = 0.5,
    steps: Annotated[int, Field(ge=1)] = 40,
    rel_step_size: Annotated[float, Field(gt=0)] = 0.15,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compare the losses of a logistic regression under the exact attack, PGD and random noise, per sample, in L2 and Linf.

    Args:
        dimension: number of weights.
        samples: number of random inputs.
        eps: perturbation budget.
        steps: number of PGD steps; the work trains with 40.
        rel_step_size: step size of PGD as a fraction of eps; the work's is 0.15 for L2.
        seed: seed of the inputs, labels, weights and attacks; PGD's starts and the random noise are independent.
    """
    x, y, w = random_problem(dimension, samples, seed)
    labels = class_labels(y)

    def model(points: Tensor) -> Tensor:
        return binary_logits(points @ w)

    rows = []
    for norm in NORMS:
        threat = ThreatModel(norm, eps, None)
        generator = SampleGenerator.seeded(seed, samples)
        attacked = pgd(model, x, labels, threat, generator.fork(0), steps=steps, rel_step_size=rel_step_size)
        exact = worst_losses(w, x, y, eps, norm)
        pgd_loss = logistic_losses(w, attacked, y)
        noise_loss = logistic_losses(w, random_noise(model, x, labels, threat, generator.fork(1)), y)
        share = (pgd_loss / exact).min().item()
        protocol: dict[str, Any] = {
            "norm": norm,
            "eps": eps,
            "steps": steps,
            "rel_step_size": rel_step_size,
            "dimension": dimension,
            "samples": samples,
            "seed": seed,
        }
        rows += [
            check_row(
                "Y-14",
                "smallest closed form - PGD loss",
                (exact - pgd_loss).min().item(),
                ">=",
                0.0,
                tolerance=1e-6,
                **protocol,
            ),
            check_row(
                "Y-14",
                "smallest PGD - random loss",
                (pgd_loss - noise_loss).min().item(),
                ">=",
                0.0,
                tolerance=1e-6,
                **protocol,
            ),
            check_row("lemma 1", "smallest share of the closed form that PGD reaches", share, ">=", 0.999, **protocol),
        ]
    return rows
