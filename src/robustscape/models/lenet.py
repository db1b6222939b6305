"""LeNet: two 5x5 convolutions, two linear layers, no batch normalisation.

With padding it is liu2020's (section 3), of 28x28 pixels 7x7 are left. Without it is that of the public code of kim2023's author
(LeNet in MAIR and in adversarial-defenses-pytorch), where the thesis says no more than the name (section 3.4.2): 4x4 are left.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated

from pydantic import Field
from torch import nn

from robustscape.models._shapes import require_image


def lenet(
    shape: tuple[int, ...], num_classes: int, *, width: Annotated[int, Field(ge=1)] = 16, padded: bool = True
) -> nn.Module:
    """Return conv5x5(2w)-ReLU-pool, conv5x5(4w)-ReLU-pool, linear(64w)-ReLU, linear; w = 16 is the usual 32/64/1024 net.

    Args:
        shape: shape of one image, (C, H, W), at least 4x4; 16x16 without padding. One pixel of the smallest is left.
        num_classes: number of logits.
        width: w above.
        padded: whether convolutions keep the size of an image, by two zeros on each side.
    """
    channels, height, columns = require_image("lenet", shape, smallest=4 if padded else 16)
    padding = 2 if padded else 0
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 2 * width, 5, padding=padding),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(2 * width, 4 * width, 5, padding=padding),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(_side_left(height, padding) * _side_left(columns, padding) * 4 * width, 64 * width),
            relu3=nn.ReLU(),
            fc2=nn.Linear(64 * width, num_classes),
        )
    )


def _side_left(side: int, padding: int) -> int:
    """Return the pixels of a side that both convolutions and both poolings leave."""
    lost = 4 - 2 * padding
    return ((side - lost) // 2 - lost) // 2
