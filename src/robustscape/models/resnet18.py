"""ResNet-18 with the stem for small images: one 3x3 convolution, no max-pooling (He et al. 2016a, section 4.2).

The ResNet18 of yamada2021, liu2020 (whose w is ``width / 4``), kanai2022 and kim2023. Modules have the usual names: conv1,
bn1, layer1..4, linear; in a block conv1, bn1, conv2, bn2, shortcut.0 and shortcut.1.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.models._shapes import require_image


class BasicBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)); a 1x1 convolution in the shortcut where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=not norm)
        self.bn1 = _norm(out, norm)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=not norm)
        self.bn2 = _norm(out, norm)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            convolution = nn.Conv2d(channels, out, 1, stride=stride, bias=not norm)
            self.shortcut = nn.Sequential(convolution, _norm(out, norm))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class ResNet(nn.Module):
    """Four stages of two blocks with w, 2w, 4w, 8w channels and strides 1, 2, 2, 2; average pooling; linear."""

    def __init__(self, channels: int, num_classes: int, width: int, norm: bool) -> None:
        super().__init__()
        w = width
        self.conv1 = nn.Conv2d(channels, w, 3, padding=1, bias=not norm)
        self.bn1 = _norm(w, norm)
        self.layer1 = nn.Sequential(BasicBlock(w, w, 1, norm), BasicBlock(w, w, 1, norm))
        self.layer2 = nn.Sequential(BasicBlock(w, 2 * w, 2, norm), BasicBlock(2 * w, 2 * w, 1, norm))
        self.layer3 = nn.Sequential(BasicBlock(2 * w, 4 * w, 2, norm), BasicBlock(4 * w, 4 * w, 1, norm))
        self.layer4 = nn.Sequential(BasicBlock(4 * w, 8 * w, 2, norm), BasicBlock(8 * w, 8 * w, 1, norm))
        self.linear = nn.Linear(8 * w, num_classes)
        if not norm:
            _initialise_plain(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(x.mean((2, 3)))


def _norm(channels: int, norm: bool) -> nn.Module:
    """Return batch normalisation, or the identity."""
    return nn.BatchNorm2d(channels) if norm else nn.Identity()


def _initialise_plain(net: ResNet) -> None:
    """Initialise as He et al. (2015), but every block as its shortcut: without normalisation the sum of blocks would explode."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in net.modules():
        if isinstance(module, BasicBlock):
            nn.init.zeros_(module.conv2.weight)


def resnet18(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    width: Annotated[int, Field(ge=1)] = 64,
    norm: Literal["batch", "none"] = "batch",
) -> nn.Module:
    """Return a ResNet-18 for small images.

    Args:
        shape: shape of one image, (C, H, W), e.g. 8x8 to 64x64.
        num_classes: number of logits.
        width: number of channels of the first stage; 64 in the usual net.
        norm: "batch", or "none": no batch normalisation, convolutions with biases (kim2023 figures 4.8 and 4.9).
    """
    return ResNet(require_image("resnet18", shape, smallest=4)[0], num_classes, width, norm == "batch")
