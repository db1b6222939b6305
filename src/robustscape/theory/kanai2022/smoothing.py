"""kanai2022, sections 3.1 and 4: the adversarial loss has kinks, more of them under Linf; Entropy-SGD removes them."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.kanai2022._local_entropy import Array, largest_second_difference, local_entropy, weight_grid
from robustscape.theory.kanai2022._two_weight_losses import worst_loss
from robustscape.theory.rows import check_row


def smoothing(
    *,
    eps: Annotated[float, Field(gt=0)] = 0.3,
    gammas: tuple[Annotated[float, Field(gt=0)], ...] = (1.0, 3.0),
    steps: tuple[Annotated[float, Field(gt=0)], ...] = (0.025, 0.0125, 0.00625),
    span: Annotated[float, Field(gt=0)] = 3.0,
) -> list[dict[str, Any]]:
    """Check the largest second differences of the loss of figure 2 on finer and finer grids, with and without a node at 0.

    They converge where the gradient is Lipschitz and double as the step halves where it jumps. The share of nodes with a second
    difference above 2 converges to that of a patch around 0 under L2, and halves with the step under Linf (along the axes).

    Args:
        eps: perturbation budget.
        gammas: values of gamma of Entropy-SGD.
        steps: grid steps, each half the one before.
        span: the window is [-span, span]^2.
    """
    rows = []
    for nodes, straddling in (("a node at 0", False), ("no node at 0", True)):
        coarse = {}
        for attack in ("none", "L2", "Linf"):
            loss = worst_loss("linear", "datum", attack, eps)
            for gamma in (None, *gammas):
                protocol: dict[str, Any] = {"attack": attack, "eps": eps, "gamma": gamma, "nodes": nodes}
                bends = []
                for step in steps:
                    side = weight_grid(span, step, straddling=straddling)
                    values = (
                        loss(side[:, None], side[None, :]) if gamma is None else local_entropy(loss, gamma, side, side)
                    )
                    bends.append(largest_second_difference(values, step))
                coarse[attack, gamma] = bends[0]
                kinked = gamma is None and attack != "none"
                check = "kinks" if kinked else "smooth"
                rows += [
                    check_row(check, "growth as the step halves", after / before, ">=", 1.8, **protocol)
                    if kinked
                    else check_row(check, "growth as the step halves", after / before, "<=", 1.1, **protocol)
                    for before, after in pairwise(bends)
                ]
        protocol = {"eps": eps, "nodes": nodes}
        rows += [
            check_row("order", "Linf minus L2", coarse["Linf", None] - coarse["L2", None], ">", 0.0, **protocol),
            check_row("order", "L2 minus clean", coarse["L2", None] - coarse["none", None], ">", 0.0, **protocol),
        ]
        for gamma in gammas:
            apart = coarse["Linf", gamma] / coarse["L2", gamma] - 1
            rows.append(check_row("alike", "Linf over L2, less 1", abs(apart), "<=", 0.25, gamma=gamma, **protocol))
    return rows + _bent_share_rows(eps, steps, span)


def _bent_share_rows(eps: float, steps: tuple[float, ...], span: float) -> list[dict[str, Any]]:
    """Check how the share of bent nodes changes as the step halves, under L2 and Linf."""
    rows = []
    for attack in ("L2", "Linf"):
        loss = worst_loss("linear", "datum", attack, eps)
        shares = [
            _share_of_bent_nodes(loss(side[:, None], side[None, :]), step)
            for step in steps
            for side in [weight_grid(span, step)]
        ]
        check, expected, tolerance = ("patch", 1.0, 0.2) if attack == "L2" else ("axes", 0.5, 0.1)
        for before, after in pairwise(shares):
            ratio = after / before if before else float("nan")
            protocol: dict[str, Any] = {"attack": attack, "eps": eps}
            rows.append(
                check_row(check, "share of bent nodes, ratio", ratio, "==", expected, tolerance=tolerance, **protocol)
            )
    return rows


def _share_of_bent_nodes(values: Array, step: float, bent: float = 2.0) -> float:
    """Return the share of inner nodes where a second difference along either axis exceeds ``bent``."""
    one = np.abs(np.diff(values, 2, axis=0))[:, 1:-1] > bent * step**2
    two = np.abs(np.diff(values, 2, axis=1))[1:-1] > bent * step**2
    return float((one | two).mean())
