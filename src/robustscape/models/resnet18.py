"""ResNet-18 with the stem for small images: one 3x3 convolution, no max-pooling (He et al. 2016a, section 4.2).

The ResNet18 of yamada2021, liu2020 (its w is ``width / 4``), kanai2022 and kim2023. Names are those of the field's
common
implementation: conv1, bn1, layer1..4, linear; conv1, bn1, conv2, bn2, shortcut.0 and .1 in a block.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.models._shapes import require_image


class BasicBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)); a 1x1 convolution in the shortcut where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class ResNet(nn.Module):
    """Four stages of two blocks with w, 2w, 4w, 8w channels and strides 1, 2, 2, 2; average pooling; linear."""

    def __init__(self, channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        w = width
        self.conv1 = nn.Conv2d(channels, w, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(w)
        self.layer1 = nn.Sequential(BasicBlock(w, w, 1), BasicBlock(w, w, 1))
        self.layer2 = nn.Sequential(BasicBlock(w, 2 * w, 2), BasicBlock(2 * w, 2 * w, 1))
        self.layer3 = nn.Sequential(BasicBlock(2 * w, 4 * w, 2), BasicBlock(4 * w, 4 * w, 1))
        self.layer4 = nn.Sequential(BasicBlock(4 * w, 8 * w, 2), BasicBlock(8 * w, 8 * w, 1))
        self.linear = nn.Linear(8 * w, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(x.mean((2, 3)))


def resnet18(shape: tuple[int, ...], num_classes: int, *, width: Annotated[int, Field(ge=1)] = 64) -> nn.Module:
    """ResNet-18 for small images.

    Args:
        shape: of one image, (C, H, W), e.g. 8x8 to 64x64.
        num_classes: how many logits.
        width: channels of the first stage; the usual net has 64.
    """
    return ResNet(require_image("resnet18", shape, smallest=4)[0], num_classes, width)
