"""Pre-activation ResNet-10 for small images: ``preactresnet18`` with one block in each of four stages instead of two.

No work of ours names it. It stands in for PreActResNet18 where images have 7x7 or 8x8 pixels (ma2025 chapter 4 at the scale
``small``): its blocks, shortcuts and last sum are the same, with and without batch normalisation, at half the cost. Modules have
the names of preactresnet18: conv1, layer1..4, bn, linear.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from robustscape.models._shapes import require_image
from robustscape.models.preactresnet18 import PreActResNet


def preactresnet10(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    width: Annotated[int, Field(ge=1)] = 64,
    norm: Literal["batch", "none"] = "batch",
    last_norm: bool = True,
) -> nn.Module:
    """Return a pre-activation ResNet-10.

    Args:
        shape: shape of one image, (C, H, W).
        num_classes: number of logits.
        width: number of channels of the first stage.
        norm: the normalisation in blocks: "batch", or "none".
        last_norm: whether batch normalisation and ReLU come before the pooling.
    """
    channels = require_image("preactresnet10", shape, smallest=4)[0]
    return PreActResNet(channels, num_classes, width, norm=norm == "batch", last_norm=last_norm, blocks=1)
