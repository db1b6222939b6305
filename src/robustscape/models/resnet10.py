"""ResNet-10 for small images: one block in each of four stages; the net of ma2025 chapters 3 and 5.

The work names it only. With batch normalisation it is the usual ResNet-18 of small images with one block a stage instead of two.
Without ("none", chapter 3: section 3.5.1 says that nets with batch normalisation do not profit from SOAR) convolutions have
biases, and each block's branch a learned factor that begins at 0 (SkipInit; De & Smith 2020), so that the net begins as its
shortcuts and trains at the rates of the other one. Modules have the names of resnet18; the factor is ``scale``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.models._shapes import require_image
from robustscape.models.resnet18 import BasicBlock


class ScaledBlock(BasicBlock):
    """relu(s branch(x) + shortcut(x)); with batch normalisation s is 1, without it a parameter that begins at 0."""

    def __init__(self, channels: int, out: int, stride: int, norm: bool) -> None:
        super().__init__(channels, out, stride, norm)
        self.scale = None if norm else nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu((branch if self.scale is None else self.scale * branch) + self.shortcut(x))


class ResNet10(nn.Module):
    """Four stages of one block with w, 2w, 4w, 8w channels and strides 1, 2, 2, 2; average pooling; linear."""

    def __init__(self, channels: int, num_classes: int, width: int, norm: bool) -> None:
        super().__init__()
        w = width
        self.conv1 = nn.Conv2d(channels, w, 3, padding=1, bias=not norm)
        self.bn1 = nn.BatchNorm2d(w) if norm else nn.Identity()
        self.layer1 = ScaledBlock(w, w, 1, norm)
        self.layer2 = ScaledBlock(w, 2 * w, 2, norm)
        self.layer3 = ScaledBlock(2 * w, 4 * w, 2, norm)
        self.layer4 = ScaledBlock(4 * w, 8 * w, 2, norm)
        self.linear = nn.Linear(8 * w, num_classes)
        if not norm:
            for module in self.modules():
                if isinstance(module, nn.Conv2d) and module.bias is not None:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(x.mean((2, 3)))


def resnet10(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    width: Annotated[int, Field(ge=1)] = 64,
    norm: Literal["batch", "none"] = "none",
) -> nn.Module:
    """Return a ResNet-10 for small images.

    Args:
        shape: shape of one image, (C, H, W), e.g. 8x8 to 64x64.
        num_classes: number of logits.
        width: number of channels of the first stage; 64 in the usual net.
        norm: "batch", or "none": no normalisation, and a learned factor on each branch.
    """
    return ResNet10(require_image("resnet10", shape, smallest=4)[0], num_classes, width, norm == "batch")
