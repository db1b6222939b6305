"""A net of three convolutions with batch normalisation: the smallest one here with catastrophic overfitting in fast AT.

Not from one of the works: it stands in for the residual nets of kim2023 chapter 2 on images of 8x8 to 28x28 pixels, on a CPU.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated

from pydantic import Field
from torch import nn

from robustscape.models._shapes import require_image


def small_cnn_bn(shape: tuple[int, ...], num_classes: int, *, width: Annotated[int, Field(ge=1)] = 16) -> nn.Module:
    """Return two 3x3 convolutions (w), pooling, one more (2w), each with batch normalisation and ReLU, and a linear layer.

    Args:
        shape: shape of one image, (C, H, W).
        num_classes: number of logits.
        width: w above, the number of channels of the first convolution.
    """
    channels, height, columns = require_image("small_cnn_bn", shape, smallest=4)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, width, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(width),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(width, width, 3, padding=1, bias=False),
            bn2=nn.BatchNorm2d(width),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            conv3=nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            bn3=nn.BatchNorm2d(2 * width),
            relu3=nn.ReLU(),
            flatten=nn.Flatten(),
            linear=nn.Linear(2 * width * (height // 2) * (columns // 2), num_classes),
        )
    )
