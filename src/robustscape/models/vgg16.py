"""VGG-16 with batch normalisation for small images (Simonyan & Zisserman 2015, configuration D; liu2020 section 3).

Thirteen 3x3 convolutions with bias, each followed by batch normalisation and ReLU, five max-poolings, one linear layer.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from robustscape.models._shapes import require_image

#: Channels of each convolution in units of the width; 0 is a pooling.
LAYERS = (4, 4, 0, 8, 8, 0, 16, 16, 16, 0, 32, 32, 32, 0, 32, 32, 32, 0)


class VGG(nn.Module):
    """Convolutions and poolings (``features``), the mean over the remaining pixels, and a linear layer."""

    def __init__(self, channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for size in LAYERS:
            if size == 0:
                # Rounding up changes nothing for 32x32 pixels, and leaves at least one pixel of smaller images.
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
                continue
            out = size * width
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
            channels = out
        self.features = nn.Sequential(*layers)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.features(x).mean((2, 3)))


def vgg16(shape: tuple[int, ...], num_classes: int, *, width: Annotated[int, Field(ge=1)] = 16) -> nn.Module:
    """Return a VGG-16 with batch normalisation and one linear layer; ``width`` is the w of liu2020.

    Args:
        shape: shape of one image, (C, H, W), 32x32 in the work; at least 4x4.
        num_classes: number of logits.
        width: w: the first convolution has 4w channels and the last 32w; 16 in the usual net.
    """
    return VGG(require_image("vgg16", shape, smallest=4)[0], num_classes, width)
