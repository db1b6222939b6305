"""x-vectors on Mel spectrograms (Snyder et al. 2018), Model-F of kim2023 section 3.4.1.

Five layers along time with contexts {-2..2}, {-2, 0, 2}, {-3, 0, 3}, {0}, {0} and w, w, w, w, 3w - 36 channels (512 and 1500 at
w = 512), mean and standard deviation over time, two linear layers of w units, the output. Every layer but the last is followed by
ReLU and batch normalisation, as in the authors' recipe.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.errors import ConfigError
from robustscape.models._mel import count_outputs, mel_front_end

#: Samples of a layer's context, and the distance between two.
CONTEXTS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))

#: Added to variances over time before the root, whose gradient is infinite at 0.
FLOOR = 1e-5


class StatisticsPooling(nn.Module):
    """Mean and standard deviation over time: (B, C, T) to (B, 2C)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(2), (x.var(2, correction=0) + FLOOR).sqrt()], dim=1)


def mel_tdnn(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    width: Annotated[int, Field(ge=16)] = 512,
    rate: Annotated[int, Field(ge=1)] = 16000,
    mels: Annotated[int, Field(ge=1)] = 30,
    fft: Annotated[int, Field(ge=2)] = 2048,
    hop: Annotated[int, Field(ge=1)] = 512,
    scale: Literal["raw", "log"] = "raw",
    outputs: Annotated[int, Field(ge=2)] | None = None,
) -> nn.Module:
    """Return a Mel spectrogram and an x-vector net.

    Args:
        shape: shape of one input, (2, 1, T): high and low byte of T samples.
        num_classes: number of classes.
        rate: samples a second.
        mels: filters of the Mel spectrogram.
        fft: samples of a window of its Fourier transform.
        hop: samples between two windows.
        scale: its values, powers ("raw") or their logarithms.
        outputs: number of logits; None: one a class. What is more is never a label (kim2023's nets have 12 for ten words).
        width: w, the channels of the layers.

    Raises:
        ConfigError: the inputs are no waveforms of bytes, or too short; too few outputs.
    """
    front, (_, channels, frames) = mel_front_end("mel_tdnn", shape, rate, mels, fft, hop, scale)
    lost = sum((kernel - 1) * dilation for kernel, dilation in CONTEXTS)
    if frames <= lost:
        raise ConfigError(f"the architecture 'mel_tdnn' needs more than {lost} frames of waveforms, got {frames}.")
    layers: list[nn.Module] = [nn.Flatten(1, 2)]
    for (kernel, dilation), out in zip(CONTEXTS, [width] * 4 + [3 * width - 36], strict=True):
        layers += [nn.Conv1d(channels, out, kernel, dilation=dilation), nn.ReLU(), nn.BatchNorm1d(out)]
        channels = out
    layers.append(StatisticsPooling())
    channels *= 2
    for _ in range(2):
        layers += [nn.Linear(channels, width), nn.ReLU(), nn.BatchNorm1d(width)]
        channels = width
    return nn.Sequential(front, *layers, nn.Linear(channels, count_outputs("mel_tdnn", num_classes, outputs)))
