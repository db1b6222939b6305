"""DenseNet-BC on Mel spectrograms (kim2023 section 3.3.1; Huang et al. 2017).

The work says "DenseNet" only: by default the blocks of DenseNet-121 (6, 12, 24, 16 layers, growth 32), with the 3x3 stem without
pooling that is usual for images of 32x32.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.models._mel import count_outputs, mel_front_end


class DenseLayer(nn.Module):
    """x with ``growth`` channels more: BN, ReLU, 1x1 convolution to 4 growth, BN, ReLU, 3x3 convolution."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x))))))], dim=1)


def mel_densenet(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    growth: Annotated[int, Field(ge=1)] = 32,
    blocks: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = [6, 12, 24, 16],  # noqa: B006  (a schema)
    rate: Annotated[int, Field(ge=1)] = 16000,
    mels: Annotated[int, Field(ge=1)] = 32,
    fft: Annotated[int, Field(ge=2)] = 2048,
    hop: Annotated[int, Field(ge=1)] = 512,
    scale: Literal["raw", "log"] = "raw",
    outputs: Annotated[int, Field(ge=2)] | None = None,
) -> nn.Module:
    """Return a Mel spectrogram and a DenseNet: a stem of 2 growth channels, dense blocks with halving between them, linear.

    Args:
        shape: shape of one input, (2, 1, T): high and low byte of T samples.
        num_classes: number of classes.
        rate: samples a second.
        mels: filters of the Mel spectrogram.
        fft: samples of a window of its Fourier transform.
        hop: samples between two windows.
        scale: its values, powers ("raw") or their logarithms.
        outputs: number of logits; None: one a class. What is more is never a label (kim2023's nets have 12 for ten words).
        growth: channels that a layer adds.
        blocks: layers of each block.

    Raises:
        ConfigError: the inputs are no waveforms of bytes, or too short; too few outputs.
    """
    front, _ = mel_front_end("mel_densenet", shape, rate, mels, fft, hop, scale)
    channels = 2 * growth
    layers: list[nn.Module] = [nn.Conv2d(1, channels, 3, padding=1, bias=False)]
    for number, size in enumerate(blocks):
        for _ in range(size):
            layers.append(DenseLayer(channels, growth))
            channels += growth
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        if number < len(blocks) - 1:
            layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            channels //= 2
    head = nn.Linear(channels, count_outputs("mel_densenet", num_classes, outputs))
    return nn.Sequential(front, *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
