"""The encoder of wav2vec (Schneider et al. 2019), frozen: the front end of kim2023's Wav2vec-based nets (section 3.4.1).

Convolutions of waveforms, each with group normalisation over all channels and ReLU, then log(|z| + 1); 512 channels, kernels of
10, 8, 4, 4, 4 samples and strides of 5, 4, 2, 2, 2, so that a second at 16 kHz becomes 98 frames; the published checkpoint has
two of kernel 1 more. Modules have the names of fairseq's ``feature_extractor``, so files of its weights fit. The work trains the
classifier behind it alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from robustscape.errors import ConfigError
from robustscape.models._mel import require_waveforms
from robustscape.models._weights import read_frozen_weights
from robustscape.models.m5 import waveforms_of_bytes

#: Where the weights are from: a file of wav2vec's own, a file of an encoder trained here, or a fixed stream of random numbers.
EncoderSource = Literal["pretrained", "small-trained", "random-frozen"]


class Encoder(nn.Module):
    """Waveforms as bytes (B, 2, 1, T) to features (B, channels, frames)."""

    def __init__(self, channels: int, kernels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.kernels, self.strides = tuple(kernels), tuple(strides)
        before = [1, *[channels] * (len(kernels) - 1)]
        self.conv_layers = nn.ModuleList(
            # fairseq has dropout of rate 0 in the second place.
            nn.Sequential(
                nn.Conv1d(width, channels, kernel, stride=stride, bias=False),
                nn.Identity(),
                nn.GroupNorm(1, channels),
                nn.ReLU(),
            )
            for width, kernel, stride in zip(before, kernels, strides, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        z = waveforms_of_bytes(x)[:, 0]
        for layer in self.conv_layers:
            z = layer(z)
        return (z.abs() + 1).log()

    def frames(self, length: int) -> int:
        """Return the number of frames of ``length`` samples; 0 or less if they are too few."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            length = (length - kernel) // stride + 1
        return length


def frozen_encoder(
    architecture: str,
    shape: tuple[int, ...],
    source: EncoderSource,
    weights: str | None,
    sha256: str | None,
    channels: int,
    kernels: Sequence[int],
    strides: Sequence[int],
) -> tuple[Encoder, int]:
    """Return an encoder whose weights are not trained, and its number of frames for inputs of ``shape``.

    Args:
        architecture: name for errors.
        shape: of one input, (2, 1, T).
        source: of the weights.
        weights: their file, seen from the project's folder; None if and only if they are random.
        sha256: of that file.
        channels: of all convolutions.
        kernels: of each convolution, in samples.
        strides: of each convolution; as many.

    Raises:
        ConfigError: the inputs are no waveforms, or too short; kernels and strides differ in number; weights and their source do
            not fit together.
        MissingData, CorruptFile: see ``read_frozen_weights``.
    """
    length = require_waveforms(architecture, shape)
    if len(kernels) != len(strides):
        raise ConfigError(
            f"{architecture}: 'strides' got {len(strides)}, allowed are as many as kernels: {len(kernels)}."
        )
    if (weights is None) != (source == "random-frozen"):
        raise ConfigError(
            f"{architecture}: the encoder '{source}' got weights {weights!r}; a file is for 'pretrained' and 'small-trained', "
            "and these need one."
        )
    encoder = Encoder(channels, kernels, strides)
    frames = encoder.frames(length)
    if frames < 1:
        raise ConfigError(f"the architecture '{architecture}' needs longer waveforms than {length} samples.")
    if weights is None:
        fill_at_random(encoder)
    else:
        read_frozen_weights(encoder, weights, sha256, architecture, prefix="feature_extractor.")
    return encoder, frames


def fill_at_random(encoder: Encoder) -> None:
    """Give an encoder random weights, the same whatever the run's seed, since all nets share one, and freeze it.

    Convolutions as He et al. (2015), which keeps the variance of what passes.
    """
    generator = torch.Generator().manual_seed(0)
    for name, parameter in encoder.named_parameters():
        if parameter.dim() == 3 and not parameter.is_meta:
            spread = math.sqrt(2 / parameter[0].numel())
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * spread)
        elif not parameter.is_meta:
            nn.init.constant_(parameter, 1.0 if name.endswith("weight") else 0.0)
    encoder.requires_grad_(False)
