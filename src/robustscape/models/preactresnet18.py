"""Pre-activation ResNet-18 with the stem for small images (He et al. 2016b).

The PreActResNet18 of kim2023 and of kanai2022's code base, in the form usual in adversarial training: batch normalisation
and ReLU before the pooling, convolutional shortcuts without normalisation. Modules have the usual names: conv1, layer1..4,
bn, linear; in a block bn1, conv1, bn2, conv2, shortcut.0.

ma2025 chapter 4 names PreActResNet18 and leaves batch normalisation out (``norm: none``) but for table 4.4. The net of its
authors' public code ends in its last sum (``last_norm: false``): no batch normalisation and no ReLU before the pooling. For
images of 224x224 pixels its stem is a 7x7 convolution and a max-pooling of 3x3, each of stride 2 (``stem: large``).
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.models._shapes import require_image


class PreActBlock(nn.Module):
    """conv(relu(bn(conv(a)))) + shortcut, a = relu(bn(x)); the shortcut is x, or a 1x1 convolution of a; bn may be nothing."""

    def __init__(self, channels: int, out: int, stride: int, norm: bool = True) -> None:
        super().__init__()
        self.bn1 = _norm(channels, norm)
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.bn2 = _norm(out, norm)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        inner = F.relu(self.bn2(self.conv1(active)))
        return self.conv2(inner) + (x if self.shortcut is None else self.shortcut(active))


class PreActResNet(nn.Module):
    """A stem; four stages of blocks with w, 2w, 4w, 8w channels and strides 1, 2, 2, 2; average pooling; linear."""

    def __init__(
        self,
        channels: int,
        num_classes: int,
        width: int,
        *,
        norm: bool,
        last_norm: bool,
        large_stem: bool = False,
        blocks: int = 2,
    ) -> None:
        super().__init__()
        w = width
        self.conv1 = nn.Conv2d(channels, w, 3, padding=1, bias=False)
        self.pool: nn.Module = nn.Identity()
        if large_stem:
            self.conv1 = nn.Conv2d(channels, w, 7, stride=2, padding=3, bias=False)
            self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(w, w, 1, norm, blocks)
        self.layer2 = _stage(w, 2 * w, 2, norm, blocks)
        self.layer3 = _stage(2 * w, 4 * w, 2, norm, blocks)
        self.layer4 = _stage(4 * w, 8 * w, 2, norm, blocks)
        self.bn = nn.BatchNorm2d(8 * w) if last_norm else None
        self.linear = nn.Linear(8 * w, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.pool(self.conv1(x))))))
        return self.linear((x if self.bn is None else F.relu(self.bn(x))).mean((2, 3)))


def _stage(channels: int, out: int, stride: int, norm: bool, blocks: int) -> nn.Sequential:
    """Return a stage, of whose blocks the first one has the stride."""
    first = PreActBlock(channels, out, stride, norm)
    return nn.Sequential(first, *(PreActBlock(out, out, 1, norm) for _ in range(blocks - 1)))


def _norm(channels: int, norm: bool) -> nn.Module:
    """Return batch normalisation, or the identity."""
    return nn.BatchNorm2d(channels) if norm else nn.Identity()


def preactresnet18(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    width: Annotated[int, Field(ge=1)] = 64,
    norm: Literal["batch", "none"] = "batch",
    last_norm: bool = True,
    stem: Literal["small", "large"] = "small",
) -> nn.Module:
    """Return a pre-activation ResNet-18.

    Args:
        shape: shape of one image, (C, H, W).
        num_classes: number of logits.
        width: number of channels of the first stage; 64 in the usual net.
        norm: the normalisation in blocks: "batch", or "none" (ma2025 chapter 4).
        last_norm: whether batch normalisation and ReLU come before the pooling.
        stem: "small": a 3x3 convolution, for images of 8x8 to 64x64 pixels; "large": that of ImageNet, for 224x224.
    """
    channels = require_image("preactresnet18", shape, smallest=4 if stem == "small" else 32)[0]
    return PreActResNet(
        channels, num_classes, width, norm=norm == "batch", last_norm=last_norm, large_stem=stem == "large"
    )
