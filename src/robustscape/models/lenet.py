"""LeNet in the variant of liu2020 (section 3): two 5x5 convolutions, two linear layers, no batch normalisation."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated

from pydantic import Field
from torch import nn

from robustscape.models._shapes import require_image


def lenet(shape: tuple[int, ...], num_classes: int, *, width: Annotated[int, Field(ge=1)] = 16) -> nn.Module:
    """Return conv5x5(2w)-ReLU-pool, conv5x5(4w)-ReLU-pool, linear(64w)-ReLU, linear; w = 16 is the usual 32/64/1024 net.

    Args:
        shape: shape of one image, (C, H, W), at least 4x4.
        num_classes: number of logits.
        width: w above.
    """
    channels, height, columns = require_image("lenet", shape, smallest=4)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 2 * width, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(2 * width, 4 * width, 5, padding=2),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear((height // 4) * (columns // 4) * 4 * width, 64 * width),
            relu3=nn.ReLU(),
            fc2=nn.Linear(64 * width, num_classes),
        )
    )
