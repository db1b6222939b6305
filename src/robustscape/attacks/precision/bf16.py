"""bfloat16: half the time of a convolution, and an error in the third digit of a logit.

The first and the last layer stay in fp32, where rounding does most harm. On a CPU, batch normalisations are folded into the
convolutions before them (``fold_batchnorm``), which a model in train mode cannot have.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.search import SearchModel
from robustscape.models import fold_batchnorm

#: Where the two highest logits differ by less than this share of the largest, fp32 must decide: four units of bfloat16's last
#: place, about twice the largest error seen on ResNets.
CLOSE = 2.0**-6


def bf16(model: Classifier) -> SearchModel:
    """``model`` searched in bfloat16, confirmed in fp32.

    Args:
        model: logits (B, C) from inputs (B, ...), frozen. What is not an ``nn.Module`` is searched under plain autocast.
    """
    low = model
    if isinstance(model, nn.Module):
        low = copy.deepcopy(model) if model.training else fold_batchnorm(model)
        layers = [module for module in low.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        for layer in layers[-1:]:
            layer.forward = _in_fp32(layer.forward, torch.float32)
        for layer in layers[:1][: len(layers) - 1]:
            layer.forward = _in_fp32(layer.forward, torch.bfloat16)

    def search(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
            logits = low(x)
        return logits.to(x.dtype)

    return SearchModel(model, search, closeness=CLOSE)


def _in_fp32(forward: Callable[[Tensor], Tensor], result: torch.dtype) -> Callable[[Tensor], Tensor]:
    """A layer's ``forward`` that autocast leaves alone; what follows gets it as ``result``."""

    def forward_in_fp32(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float()).to(result)

    return forward_in_fp32
