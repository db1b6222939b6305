"""Pre-activation ResNet-18 with the stem for small images (He et al. 2016b).

The PreActResNet18 of kim2023 and of kanai2022's code base, in the form usual in adversarial training: batch normalisation
and ReLU before the pooling, convolutional shortcuts without normalisation. Modules have the usual names: conv1, layer1..4,
bn, linear; in a block bn1, conv1, bn2, conv2, shortcut.0.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.models._shapes import require_image


class PreActBlock(nn.Module):
    """conv(relu(bn(conv(a)))) + shortcut, a = relu(bn(x)); the shortcut is x, or a 1x1 convolution of a."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        inner = F.relu(self.bn2(self.conv1(active)))
        return self.conv2(inner) + (x if self.shortcut is None else self.shortcut(active))


class PreActResNet(nn.Module):
    """Four stages of two blocks with w, 2w, 4w, 8w channels and strides 1, 2, 2, 2; average pooling; linear."""

    def __init__(self, channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        w = width
        self.conv1 = nn.Conv2d(channels, w, 3, padding=1, bias=False)
        self.layer1 = nn.Sequential(PreActBlock(w, w, 1), PreActBlock(w, w, 1))
        self.layer2 = nn.Sequential(PreActBlock(w, 2 * w, 2), PreActBlock(2 * w, 2 * w, 1))
        self.layer3 = nn.Sequential(PreActBlock(2 * w, 4 * w, 2), PreActBlock(4 * w, 4 * w, 1))
        self.layer4 = nn.Sequential(PreActBlock(4 * w, 8 * w, 2), PreActBlock(8 * w, 8 * w, 1))
        self.bn = nn.BatchNorm2d(8 * w)
        self.linear = nn.Linear(8 * w, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        return self.linear(F.relu(self.bn(x)).mean((2, 3)))


def preactresnet18(shape: tuple[int, ...], num_classes: int, *, width: Annotated[int, Field(ge=1)] = 64) -> nn.Module:
    """Return a pre-activation ResNet-18 for small images.

    Args:
        shape: shape of one image, (C, H, W), e.g. 8x8 to 64x64.
        num_classes: number of logits.
        width: number of channels of the first stage; 64 in the usual net.
    """
    return PreActResNet(require_image("preactresnet18", shape, smallest=4)[0], num_classes, width)
