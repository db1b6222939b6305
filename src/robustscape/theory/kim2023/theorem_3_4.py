"""kim2023, theorem 3.4: along a monotone path, bridges cost no more than the divergence they replace."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.theory.rows import check_row


def theorem_3_4(
    *,
    segments: list[Annotated[int, Field(ge=1)]] = [2, 3, 5, 10],  # noqa: B006  (read from the syntax tree as a schema)
    classes: Annotated[int, Field(ge=3)] = 6,
    draws: Annotated[int, Field(ge=1)] = 2000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check sum_k KL(p_k || p_{k+1}) <= KL(p_0 || p_m) on random chains of distributions, and a chain on which it fails.

    The chains have two classes with p_y monotone along the chain (assumption 1), as in the theorem, or more classes with all
    components monotone, for which the same proof holds. Without monotonicity it can fail, as for p_y = (0.5, 0.9, 0.5).

    Args:
        segments: numbers m of segments.
        classes: number of classes of the general chains.
        draws: number of random chains of each kind.
        seed: seed of the chains.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for m in segments:
        p = torch.rand(draws, m + 1, generator=generator, dtype=torch.float64).sort(1, descending=True).values
        binary = torch.stack([p, 1 - p], 2)
        ends = torch.rand(2, draws, classes, generator=generator, dtype=torch.float64).clamp_min(1e-6)
        ends = ends / ends.sum(2, keepdim=True)
        share = torch.rand(draws, m + 1, 1, generator=generator, dtype=torch.float64).sort(1).values
        share[:, 0], share[:, -1] = 0.0, 1.0
        general = torch.lerp(ends[0][:, None], ends[1][:, None], share)  # each component is monotone
        protocol = {"segments": m, "draws": draws, "seed": seed}
        for name, chain, count in (("two classes", binary, 2), ("monotone components", general, classes)):
            gap = chain_excess(chain).max().item()
            rows.append(
                check_row(
                    "theorem 3.4",
                    f"largest left side - right side, {name}",
                    gap,
                    "<=",
                    0.0,
                    tolerance=1e-12,
                    classes=count,
                    **protocol,
                )
            )
    there_and_back = torch.tensor([0.5, 0.9, 0.5], dtype=torch.float64)
    counter = chain_excess(torch.stack([there_and_back, 1 - there_and_back], 1)[None]).item()
    rows.append(
        check_row(
            "theorem 3.4",
            "left side - right side of a path that turns",
            counter,
            ">",
            0.0,
            segments=2,
            classes=2,
            draws=1,
            seed=seed,
        )
    )
    return rows


def chain_excess(chain: Tensor) -> Tensor:
    """Return sum_k KL(p_k || p_{k+1}) - KL(p_0 || p_m), in nats, of chains (N, m + 1, C) of distributions, (N,)."""

    def divergence(p: Tensor, q: Tensor) -> Tensor:
        return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum(-1)

    return divergence(chain[:, :-1], chain[:, 1:]).sum(1) - divergence(chain[:, 0], chain[:, -1])
