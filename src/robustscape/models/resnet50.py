"""ResNet-50 with the stem for small images: one 3x3 convolution, no max-pooling (He et al. 2016a; ma2025 chapter 5, flat nets).

23,520,842 parameters for 10 classes, 23,551,577 for 25 and 23,705,252 for 100. Modules have the usual names: conv1, bn1,
layer1..4, linear; in a block conv1, bn1, conv2, bn2, conv3, bn3, shortcut.0 and shortcut.1.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.models._shapes import require_image

#: Channels that leave a block, in units of those inside.
EXPANSION = 4

#: Blocks and stride of each stage.
STAGES = ((3, 1), (4, 2), (6, 2), (3, 2))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each with batch normalisation; a 1x1 convolution in the shortcut where the shape changes."""

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        out = EXPANSION * inner
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = F.relu(self.bn2(self.conv2(inner)))
        return F.relu(self.bn3(self.conv3(inner)) + self.shortcut(x))


class ResNet50(nn.Module):
    """A convolution of w channels; stages of 3, 4, 6 and 3 blocks with 4w, 8w, 16w and 32w; average pooling; linear."""

    def __init__(self, channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages, entering = [], width
        for number, (blocks, stride) in enumerate(STAGES):
            inner = width * 2**number
            first = Bottleneck(entering, inner, stride)
            entering = EXPANSION * inner
            stages.append(nn.Sequential(first, *(Bottleneck(entering, inner, 1) for _ in range(blocks - 1))))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.linear = nn.Linear(entering, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(x.mean((2, 3)))


def resnet50(shape: tuple[int, ...], num_classes: int, *, width: Annotated[int, Field(ge=1)] = 64) -> nn.Module:
    """Return a ResNet-50 for small images.

    Args:
        shape: shape of one image, (C, H, W), e.g. 8x8 to 64x64.
        num_classes: number of logits.
        width: channels of the first convolution, and inside the blocks of the first stage; 64 in the usual net.
    """
    return ResNet50(require_image("resnet50", shape, smallest=4)[0], num_classes, width)
