"""A differentiable Mel spectrogram as the first layer of a net for waveforms (kim2023 sections 3.3.1 and 3.4.1).

The work feeds the spectrogram "directly" to its nets, which reads as the power spectrogram without a logarithm ("raw"); "log"
takes log(mel + 1e-6). Gradients of an attack run through it to the waveform.
"""

from __future__ import annotations

import warnings
from typing import Literal

import torch
import torchaudio
from torch import Tensor, nn

from robustscape.errors import ConfigError
from robustscape.models.m5 import waveforms_of_bytes

MelScale = Literal["raw", "log"]

#: Added to the spectrogram before a logarithm.
FLOOR = 1e-6


class MelSpectrogram(nn.Module):
    """Waveforms as bytes (B, 2, 1, T) to Mel spectrograms (B, 1, mels, frames), frames = T // hop + 1.

    torchaudio's transform, with frames centred on multiples of ``hop`` and the waveform mirrored at its ends; mirroring is done
    here by indexing, since the gradient of PyTorch's own is not reproducible on a GPU.
    """

    def __init__(self, rate: int, mels: int, fft: int, hop: int, scale: MelScale) -> None:
        super().__init__()
        # Warnings are of filters between two frequencies, which see nothing; filters need values to be looked at, on any device.
        with warnings.catch_warnings(), torch.device("cpu"):
            warnings.simplefilter("ignore")
            self.transform = torchaudio.transforms.MelSpectrogram(rate, fft, hop_length=hop, n_mels=mels, center=False)
        self.log = scale == "log"
        self.margin = fft // 2

    def forward(self, x: Tensor) -> Tensor:
        wave = waveforms_of_bytes(x)[:, 0, 0]
        before, after = wave[:, 1 : self.margin + 1].flip(1), wave[:, -self.margin - 1 : -1].flip(1)
        mel = self.transform(torch.cat([before, wave, after], dim=1))
        return ((mel + FLOOR).log() if self.log else mel)[:, None]


def mel_front_end(
    architecture: str, shape: tuple[int, ...], rate: int, mels: int, fft: int, hop: int, scale: MelScale
) -> tuple[MelSpectrogram, tuple[int, int, int]]:
    """Return the layer, and the shape (1, mels, frames) of what it makes of one input of ``shape``.

    Raises:
        ConfigError: the inputs are no waveforms of bytes, or shorter than half of a window of ``fft`` samples.
    """
    length = require_waveforms(architecture, shape)
    if length <= fft // 2:
        raise ConfigError(
            f"the architecture '{architecture}' mirrors {fft // 2} samples at each end (fft {fft}), so it needs longer waveforms "
            f"than {length} samples."
        )
    return MelSpectrogram(rate, mels, fft, hop, scale), (1, mels, length // hop + 1)


def require_waveforms(architecture: str, shape: tuple[int, ...]) -> int:
    """Return the number of samples T of inputs of ``shape``, (2, 1, T): high and low byte of each (``models.m5``).

    Raises:
        ConfigError: it is another shape.
    """
    if len(shape) != 3 or shape[:2] != (2, 1):
        raise ConfigError(
            f"the architecture '{architecture}' takes waveforms as two bytes a sample, (2, 1, T), but the data set's inputs have "
            f"shape {tuple(shape)}."
        )
    return shape[2]


def count_outputs(architecture: str, num_classes: int, outputs: int | None) -> int:
    """Return the number of logits: ``outputs``, or one a class.

    Raises:
        ConfigError: ``outputs`` is below the number of classes.
    """
    if outputs is not None and outputs < num_classes:
        raise ConfigError(f"{architecture}: 'outputs' got {outputs}, allowed is {num_classes} (the classes) or more.")
    return num_classes if outputs is None else outputs
