"""PGD on the swish toy of kanai2022, figure 2: one attacked input per node of a grid of weights, all in one batch."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd
from robustscape.theory.kanai2022._local_entropy import Array
from robustscape.theory.logistic import binary_logits

#: Gradients vanish at z = z*, where a start would be stuck: there are several starts, and the best point is kept.
STEPS, REL_STEP_SIZE, RESTARTS = 100, 0.05, 3


def swish_pgd_losses(
    side: Array, x: tuple[float, float], norm: Literal["L2", "Linf"], eps: float, seed: int = 0
) -> Array:
    """Return log(1 + exp(-s(theta.x'))) in nats, with x' found by PGD, at the weights side x side, (n, n), for y = +1."""
    one, two = np.meshgrid(side, side, indexing="ij")
    weights = torch.from_numpy(np.stack([one.ravel(), two.ravel()], axis=1))

    def model(points: Tensor) -> Tensor:
        return binary_logits(F.silu((points * weights).sum(1)))

    inputs = torch.tensor(x, dtype=torch.float64).expand(len(weights), 2)
    labels = torch.ones(len(weights), dtype=torch.int64)
    attacked = pgd(
        model,
        inputs,
        labels,
        ThreatModel(norm, eps, None),
        SampleGenerator.seeded(seed, len(weights)),
        steps=STEPS,
        rel_step_size=REL_STEP_SIZE,
        restarts=RESTARTS,
        keep_best=True,
    )
    losses = F.cross_entropy(model(attacked), labels, reduction="none")
    return losses.view(len(side), len(side)).numpy()
