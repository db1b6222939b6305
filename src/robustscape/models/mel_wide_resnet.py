"""A wide residual net on Mel spectrograms: WRN-28-10 of kim2023 section 3.3.1 on one channel (``models.wide_resnet``)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from robustscape.models._mel import count_outputs, mel_front_end
from robustscape.models.wide_resnet import wide_resnet


def mel_wide_resnet(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    depth: Annotated[int, Field(ge=10)] = 28,
    width: Annotated[int, Field(ge=1)] = 10,
    base: Annotated[int, Field(ge=1)] = 16,
    rate: Annotated[int, Field(ge=1)] = 16000,
    mels: Annotated[int, Field(ge=1)] = 32,
    fft: Annotated[int, Field(ge=2)] = 2048,
    hop: Annotated[int, Field(ge=1)] = 512,
    scale: Literal["raw", "log"] = "raw",
    outputs: Annotated[int, Field(ge=2)] | None = None,
) -> nn.Module:
    """Return a Mel spectrogram and WRN-``depth``-``width``.

    Args:
        shape: shape of one input, (2, 1, T): high and low byte of T samples.
        num_classes: number of classes.
        rate: samples a second.
        mels: filters of the Mel spectrogram.
        fft: samples of a window of its Fourier transform.
        hop: samples between two windows.
        scale: its values, powers ("raw") or their logarithms.
        outputs: number of logits; None: one a class. What is more is never a label (kim2023's nets have 12 for ten words).
        depth: number of layers, 4 more than a multiple of 6.
        width: widening factor k.
        base: channels of the first convolution, 16 in the usual net; the stages have k, 2 k and 4 k times as many.

    Raises:
        ConfigError: the inputs are no waveforms of bytes, or too short; too few outputs; no such depth.
    """
    front, image = mel_front_end("mel_wide_resnet", shape, rate, mels, fft, hop, scale)
    net = wide_resnet(
        image, count_outputs("mel_wide_resnet", num_classes, outputs), depth=depth, width=width, base=base
    )
    return nn.Sequential(front, net)
