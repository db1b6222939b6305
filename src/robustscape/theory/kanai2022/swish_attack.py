"""kanai2022, figure 2 (d) to (f): PGD on the swish model against the exact worst case, and interior worst cases."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.kanai2022._swish_pgd import swish_pgd_losses
from robustscape.theory.kanai2022._two_weight_losses import DATA, reachable_scores, swish, swish_minimiser, worst_loss
from robustscape.theory.rows import check_row


def swish_attack(
    *,
    eps: Annotated[float, Field(gt=0)] = 0.5,
    points: Annotated[int, Field(ge=3)] = 61,
    span: Annotated[float, Field(gt=0)] = 3.0,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check that the loss is log(1 + exp(-s(z))) at the reachable z nearest to z* = -1.278, where s has its minimum -0.278.

    Where z* is reachable the optimum lies inside the ball (lemma 4): the loss that PGD finds there is log(1 + exp(0.278)) at
    all weights, under Linf attacks too, which have kinks elsewhere.

    Args:
        eps: perturbation budget.
        points: number of weights per side of the window.
        span: the window is [-span, span]^2.
        seed: seed of PGD's starts.
    """
    z = swish_minimiser()
    least = float(swish(np.array(z)))
    flat = float(np.log1p(np.exp(-least)))
    side, h, tolerance = np.linspace(-span, span, points), 1e-4, 1e-3
    x = DATA["datum"][0][0]
    rows = [
        check_row(
            "swish",
            "|s'(z*)|",
            abs(float(swish(np.array(z + h)) - swish(np.array(z - h)))) / (2 * h),
            "==",
            0.0,
            tolerance=1e-6,
        ),
        check_row(
            "swish",
            "least s on a fine grid",
            float(swish(np.linspace(-10, 10, 200_001)).min()),
            "==",
            least,
            tolerance=1e-9,
        ),
    ]
    for norm in ("L2", "Linf"):
        protocol: dict[str, Any] = {"norm": norm, "eps": eps, "points": points, "seed": seed}
        loss = worst_loss("swish", "datum", norm, eps)
        exact = loss(side[:, None], side[None, :])
        found = swish_pgd_losses(side, x, norm, eps, seed)
        low, high = reachable_scores(side[:, None], side[None, :], x, norm, eps)
        inside = (low < z - 1e-2) & (high > z + 1e-2)
        rows += [
            check_row(
                "PGD",
                "largest |PGD - exact|",
                float(np.abs(found - exact).max()),
                "==",
                0.0,
                tolerance=tolerance,
                **protocol,
            ),
            check_row(
                "PGD", "PGD's largest excess", float((found - exact).max()), "<=", 0.0, tolerance=1e-9, **protocol
            ),
            check_row("interior", "nodes with an interior optimum", int(inside.sum()), ">", 0, **protocol),
            check_row(
                "interior",
                "largest |PGD - log(1 + exp(0.278))|",
                float(np.abs(found[inside] - flat).max()),
                "==",
                0.0,
                tolerance=tolerance,
                **protocol,
            ),
        ]
    return rows
