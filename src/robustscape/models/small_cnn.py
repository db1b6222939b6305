"""A net that adversarial training fits to small grey images within seconds on a CPU; not from one of the works."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated

from pydantic import Field
from torch import nn

from robustscape.models._shapes import require_image


def small_cnn(shape: tuple[int, ...], num_classes: int, *, width: Annotated[int, Field(ge=1)] = 16) -> nn.Module:
    """Return a net of three 3x3 convolutions (w; 2w and 2w with stride 2), ReLUs and one linear layer; no batch normalisation.

    Args:
        shape: shape of one image, (C, H, W).
        num_classes: number of logits.
        width: w above, the number of channels of the first convolution.
    """
    channels, height, columns = require_image("small_cnn", shape, smallest=4)
    pixels = ((height + 3) // 4) * ((columns + 3) // 4)  # each stride of 2 halves a side, rounding up
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, width, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            relu2=nn.ReLU(),
            conv3=nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
            relu3=nn.ReLU(),
            flatten=nn.Flatten(),
            linear=nn.Linear(2 * width * pixels, num_classes),
        )
    )
