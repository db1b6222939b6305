"""Pre-activation ResNet-10 for small images: ``preactresnet18`` with one block in each of four stages instead of two.

No work of ours names it. It stands in for PreActResNet18 where images have 7x7 or 8x8 pixels (ma2025 chapter 4 at the scale
``small``): its blocks, shortcuts and last sum are the same, with and without batch normalisation, and half as deep it trains
without normalisation in a tenth of the updates. Modules have the names of preactresnet18: conv1, layer1..4, bn, linear.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.models._shapes import require_image
from robustscape.models.preactresnet18 import PreActBlock


class PreActResNet10(nn.Module):
    """A stem; four stages of one block with w, 2w, 4w, 8w channels and strides 1, 2, 2, 2; average pooling; linear."""

    def __init__(self, channels: int, num_classes: int, width: int, *, norm: bool, last_norm: bool) -> None:
        super().__init__()
        w = width
        self.conv1 = nn.Conv2d(channels, w, 3, padding=1, bias=False)
        self.layer1 = nn.Sequential(PreActBlock(w, w, 1, norm))
        self.layer2 = nn.Sequential(PreActBlock(w, 2 * w, 2, norm))
        self.layer3 = nn.Sequential(PreActBlock(2 * w, 4 * w, 2, norm))
        self.layer4 = nn.Sequential(PreActBlock(4 * w, 8 * w, 2, norm))
        self.bn = nn.BatchNorm2d(8 * w) if last_norm else None
        self.linear = nn.Linear(8 * w, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        return self.linear((x if self.bn is None else F.relu(self.bn(x))).mean((2, 3)))


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
    return PreActResNet10(channels, num_classes, width, norm=norm == "batch", last_norm=last_norm)
