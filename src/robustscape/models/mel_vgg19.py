"""VGG-19 with batch normalisation on Mel spectrograms (kim2023 section 3.3.1; Simonyan & Zisserman 2015, configuration E).

Sixteen 3x3 convolutions with bias, each followed by batch normalisation and ReLU, five max-poolings, the mean over what remains,
one linear layer: the form usual for small images, since the work does not give its own.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from robustscape.models._mel import count_outputs, mel_front_end

#: Channels of each convolution in units of the width; 0 is a pooling.
LAYERS = (4, 4, 0, 8, 8, 0, 16, 16, 16, 16, 0, 32, 32, 32, 32, 0, 32, 32, 32, 32, 0)


def mel_vgg19(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    width: Annotated[int, Field(ge=1)] = 16,
    rate: Annotated[int, Field(ge=1)] = 16000,
    mels: Annotated[int, Field(ge=1)] = 32,
    fft: Annotated[int, Field(ge=2)] = 2048,
    hop: Annotated[int, Field(ge=1)] = 512,
    scale: Literal["raw", "log"] = "raw",
    outputs: Annotated[int, Field(ge=2)] | None = None,
) -> nn.Module:
    """Return a Mel spectrogram and a VGG-19.

    Args:
        shape: shape of one input, (2, 1, T): high and low byte of T samples.
        num_classes: number of classes.
        rate: samples a second.
        mels: filters of the Mel spectrogram.
        fft: samples of a window of its Fourier transform.
        hop: samples between two windows.
        scale: its values, powers ("raw") or their logarithms.
        outputs: number of logits; None: one a class. What is more is never a label (kim2023's nets have 12 for ten words).
        width: w: the first convolution has 4w channels and the last 32w; 16 in the usual net.

    Raises:
        ConfigError: the inputs are no waveforms of bytes, or too short; too few outputs.
    """
    front, (channels, _, _) = mel_front_end("mel_vgg19", shape, rate, mels, fft, hop, scale)
    layers: list[nn.Module] = []
    for size in LAYERS:
        if size == 0:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))  # rounding up leaves at least one pixel
            continue
        layers += [nn.Conv2d(channels, size * width, 3, padding=1), nn.BatchNorm2d(size * width), nn.ReLU()]
        channels = size * width
    head = nn.Linear(channels, count_outputs("mel_vgg19", num_classes, outputs))
    return nn.Sequential(front, *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
