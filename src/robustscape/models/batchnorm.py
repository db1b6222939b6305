"""Running statistics of normalisation layers: frozen during passes that must not count, estimated anew for weights unseen.

Entropy-SGD ends at theta, but its passes were at the weights around it (kanai2022 section 2.2), so the statistics that training
left belong to other weights; the same holds for averages of weights. Cost of an estimate: the passes that make it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase


def tracking_norms(model: nn.Module) -> list[_NormBase]:
    """Return the BatchNorm and InstanceNorm layers of ``model`` that have running statistics."""
    return [m for m in model.modules() if isinstance(m, _NormBase) and m.track_running_stats]


@contextmanager
def frozen_statistics(norms: Sequence[_NormBase]) -> Iterator[None]:
    """Within the block, passes in training mode use the batch's statistics and leave the running ones as they are."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        if isinstance(norm, _BatchNorm):
            norm.track_running_stats = False
        else:  # InstanceNorm hands its running statistics on all the same, and adds this share of the new ones
            norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.track_running_stats, norm.momentum = True, momentum


def recalibrate_batchnorm(model: nn.Module, passes: Iterable[Callable[[], object]]) -> None:
    """Replace running means and variances by their plain averages over forward passes.

    Only these layers are in training mode meanwhile; every module's mode is the same afterwards as before.

    Args:
        model: the net.
        passes: functions that send a batch through ``model``; what they return is dropped.
    """
    norms = tracking_norms(model)
    modes = [(module, module.training) for module in model.modules()]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        # Not 1 / number below: a pass may send several inputs (TRADES: two).
        norm.momentum = None  # cumulative average, of BatchNorm
        norm.train()
    try:
        for number, forward in enumerate(passes, 1):
            for norm in norms:
                if not isinstance(norm, _BatchNorm):
                    norm.momentum = 1 / number
            forward()
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in modes:
            module.training = training
