"""Pre-activation ResNet-18 that ends in its last sum: no batch normalisation and no ReLU before the pooling (ma2025 chapter 4).

The work names PreActResNet18 and leaves batch normalisation out (``norm: none``) but for table 4.4. This is the net of its
authors' public code: stem, four stages of two blocks, average pooling, linear; convolutions without biases in either form,
PyTorch's initialisation. For images of 224x224 pixels the stem is a 7x7 convolution and a max-pooling of 3x3, each
of stride 2.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.models._shapes import require_image


class OpenPreActBlock(nn.Module):
    """conv(relu(n(conv(a)))) + shortcut, a = relu(n(x)); the shortcut is x, or a 1x1 convolution of a; n is a norm or nothing."""

    def __init__(self, channels: int, out: int, stride: int, norm: bool) -> None:
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


class OpenPreActResNet(nn.Module):
    """A stem; four stages of two blocks with w, 2w, 4w, 8w channels and strides 1, 2, 2, 2; average pooling; linear."""

    def __init__(self, channels: int, num_classes: int, width: int, norm: bool, large: bool) -> None:
        super().__init__()
        w = width
        self.stem: nn.Module = nn.Conv2d(channels, w, 3, padding=1, bias=False)
        if large:
            convolution = nn.Conv2d(channels, w, 7, stride=2, padding=3, bias=False)
            self.stem = nn.Sequential(convolution, nn.MaxPool2d(3, stride=2, padding=1))
        self.layer1 = nn.Sequential(OpenPreActBlock(w, w, 1, norm), OpenPreActBlock(w, w, 1, norm))
        self.layer2 = nn.Sequential(OpenPreActBlock(w, 2 * w, 2, norm), OpenPreActBlock(2 * w, 2 * w, 1, norm))
        self.layer3 = nn.Sequential(OpenPreActBlock(2 * w, 4 * w, 2, norm), OpenPreActBlock(4 * w, 4 * w, 1, norm))
        self.layer4 = nn.Sequential(OpenPreActBlock(4 * w, 8 * w, 2, norm), OpenPreActBlock(8 * w, 8 * w, 1, norm))
        self.linear = nn.Linear(8 * w, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.linear(x.mean((2, 3)))


def _norm(channels: int, norm: bool) -> nn.Module:
    """Return batch normalisation, or the identity."""
    return nn.BatchNorm2d(channels) if norm else nn.Identity()


def preactresnet18_open(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    width: Annotated[int, Field(ge=1)] = 64,
    norm: Literal["batch", "none"] = "none",
    stem: Literal["small", "large"] = "small",
) -> nn.Module:
    """Return a pre-activation ResNet-18 without normalisation and ReLU before its pooling.

    Args:
        shape: shape of one image, (C, H, W).
        num_classes: number of logits.
        width: number of channels of the first stage; 64 in the usual net.
        norm: "batch" (ma2025 table 4.4), or "none".
        stem: "small": a 3x3 convolution, for images of 8x8 to 64x64 pixels; "large": that of ImageNet, for 224x224.
    """
    channels = require_image("preactresnet18_open", shape, smallest=4 if stem == "small" else 32)[0]
    return OpenPreActResNet(channels, num_classes, width, norm == "batch", stem == "large")
