"""The net of ma2025 chapter 4 on MNIST and Fashion-MNIST (table 4.2): two 4x4 convolutions and two linear layers.

Conv(1, 16, 4)-ReLU-Conv(16, 32, 4)-ReLU-FN(21632, 100)-FN(100, 10), all of stride 1: 21632 is 32 x 26 x 26, so both convolutions
pad by 1, as in the net that it is a copy of (Wong & Kolter 2018, there of stride 2). 2,172,806 parameters,
PyTorch's initialisation.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated

from pydantic import Field
from torch import nn

from robustscape.models._shapes import require_image


def cnn2_fc2(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    width: Annotated[int, Field(ge=1)] = 16,
    hidden: Annotated[int, Field(ge=1)] = 100,
    relu_between_fc: bool = False,
) -> nn.Module:
    """Return two 4x4 convolutions (w and 2w) with ReLUs, and two linear layers.

    Args:
        shape: shape of one image, (C, H, W).
        num_classes: number of logits.
        width: w above, the number of channels of the first convolution.
        hidden: units between the linear layers.
        relu_between_fc: a ReLU between the linear layers, as in the net of Wong and Kolter; the work prints none there and calls
            the net ReLU-activated.
    """
    channels, height, columns = require_image("cnn2_fc2", shape, smallest=4)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels, width, 4, padding=1),
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(width, 2 * width, 4, padding=1),
        relu2=nn.ReLU(),
        flatten=nn.Flatten(),
        fc1=nn.Linear(2 * width * (height - 2) * (columns - 2), hidden),
    )
    if relu_between_fc:
        layers["relu3"] = nn.ReLU()
    layers["fc2"] = nn.Linear(hidden, num_classes)
    return nn.Sequential(layers)
