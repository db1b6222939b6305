"""M5, a net on raw waveforms (Dai et al. 2017), the net of ma2025 table 4.6.

Four convolutions along time, each with batch normalisation, ReLU and max-pooling by 4, the average over time, a linear layer; in
the widths of its authors: 128, 128, 256, 512, the first convolution 80 samples long with stride 4. 571,939 parameters for the 35
words of Speech Commands.

The inputs are the high and the low byte of each 16-bit sample over 255, in [0, 1]; the net puts them together first,
w = 2 (65280 h + 255 l) / 65535 - 1 in [-1, 1]. A change of all inputs by at most e changes w by at most 2 e; one of L2 norm e by
at most 1.992 e, and noise of variance v on the inputs is noise of variance 3.969 v on w. So a budget of w is half as large on the
inputs: exactly in L-infinity, to 0.4 % in L2 and for noise. Convolutions along time are two-dimensional with one row, as inputs
are images everywhere here.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.errors import ConfigError


def waveforms_of_bytes(x: Tensor) -> Tensor:
    """Return the waveforms in [-1, 1], (B, 1, 1, T), of inputs (B, 2, 1, T) in [0, 1]; differentiable."""
    high, low = x[:, :1], x[:, 1:]
    return (high * 65280 + low * 255) * (2 / 65535) - 1


class M5(nn.Module):
    """Waveforms of bytes (B, 2, 1, T) to logits."""

    def __init__(self, num_classes: int, width: int, first: int, stride: int) -> None:
        super().__init__()
        w = width
        self.conv1 = nn.Conv2d(1, w, (1, first), stride=(1, stride))
        self.bn1 = nn.BatchNorm2d(w)
        self.conv2 = nn.Conv2d(w, w, (1, 3))
        self.bn2 = nn.BatchNorm2d(w)
        self.conv3 = nn.Conv2d(w, 2 * w, (1, 3))
        self.bn3 = nn.BatchNorm2d(2 * w)
        self.conv4 = nn.Conv2d(2 * w, 4 * w, (1, 3))
        self.bn4 = nn.BatchNorm2d(4 * w)
        self.linear = nn.Linear(4 * w, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = waveforms_of_bytes(x)
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), (1, 4))
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), (1, 4))
        x = F.max_pool2d(F.relu(self.bn3(self.conv3(x))), (1, 4))
        x = F.max_pool2d(F.relu(self.bn4(self.conv4(x))), (1, 4))
        return self.linear(x.mean((2, 3)))


def m5(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    width: Annotated[int, Field(ge=1)] = 128,
    first: Annotated[int, Field(ge=1)] = 80,
    stride: Annotated[int, Field(ge=1)] = 4,
) -> nn.Module:
    """Return M5.

    Args:
        shape: shape of one input, (2, 1, T): high and low byte of T samples.
        num_classes: number of logits.
        width: channels of the first two convolutions; the others have two and four times as many.
        first: samples that the first convolution sees: 80 at 16 kHz are 5 ms.
        stride: of the first convolution.

    Raises:
        ConfigError: the inputs are no waveforms of bytes, or too short for four poolings.
    """
    if len(shape) != 3 or shape[:2] != (2, 1):
        raise ConfigError(
            f"the architecture 'm5' takes waveforms as two bytes a sample, (2, 1, T), but the data set's inputs have shape "
            f"{tuple(shape)}."
        )
    length = math.floor((shape[2] - first) / stride) + 1
    for _ in range(3):
        length = length // 4 - 2
    if length // 4 < 1:
        raise ConfigError(
            f"the architecture 'm5' with a first convolution of {first} samples and stride {stride} needs longer waveforms than "
            f"{shape[2]} samples."
        )
    return M5(num_classes, width, first, stride)
