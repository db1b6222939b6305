"""Running statistics of BatchNorm estimated anew, for weights that no training pass has seen.

Entropy-SGD ends at theta, but its passes were at the weights around it (kanai2022 section 2.2), so the statistics that training
left belong to other weights; the same holds for averages of weights. Cost: a forward pass per batch.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def recalibrate_batchnorm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace running means and variances by their plain averages over ``batches`` of inputs (B, ...).

    Only BatchNorm layers are in training mode meanwhile; every module's mode is the same afterwards as before.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    modes = [(module, module.training) for module in model.modules()]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
        norm.train()
    try:
        for x in batches:
            model(x)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in modes:
            module.training = training
