"""LeNet without padding: two 5x5 convolutions, two linear layers, no batch normalisation.

The net of the public code of kim2023's author (LeNet in MAIR and in adversarial-defenses-pytorch), where the thesis says no more
than the name (section 3.4.2). It differs from ``lenet``, liu2020's, in the padding alone: of 28x28 pixels 4x4 are left, not 7x7.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated

from pydantic import Field
from torch import nn

from robustscape.models._shapes import require_image


def lenet_unpadded(shape: tuple[int, ...], num_classes: int, *, width: Annotated[int, Field(ge=1)] = 16) -> nn.Module:
    """Return conv5x5(2w)-ReLU-pool, conv5x5(4w)-ReLU-pool, linear(64w)-ReLU, linear; w = 16 is the author's 32/64/1024 net.

    Args:
        shape: shape of one image, (C, H, W), at least 16x16, of which one pixel is left.
        num_classes: number of logits.
        width: w above.
    """
    channels, height, columns = require_image("lenet_unpadded", shape, smallest=16)
    left = _side_left(height) * _side_left(columns)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 2 * width, 5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(2 * width, 4 * width, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(left * 4 * width, 64 * width),
            relu3=nn.ReLU(),
            fc2=nn.Linear(64 * width, num_classes),
        )
    )


def _side_left(side: int) -> int:
    """Return the pixels of a side that both convolutions and both poolings leave."""
    return ((side - 4) // 2 - 4) // 2
