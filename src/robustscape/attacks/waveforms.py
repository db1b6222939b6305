"""The perturbation budget of a waveform in decibels (kim2023 section 3.4, after Carlini & Wagner 2018)."""

from __future__ import annotations

from torch import Tensor


def waveform_eps(x: Tensor, decibels: float = -20.0) -> Tensor:
    """Return the eps of each waveform, (B,), with which the peak of a perturbation is ``decibels`` above the waveform's.

    With dB(x) = max_i 20 log10 |x_i|, the condition dB(delta) - dB(x) = decibels is eps = 10^(decibels / 20) max_i |x_i|.
    -20 gives a tenth of the peak. A silent waveform gets eps 0.

    Args:
        x: waveforms (B, T) or (B, 1, T).
        decibels: peak of the perturbation relative to that of the waveform, usually negative.

    >>> import torch
    >>> waveform_eps(torch.tensor([[0.5, -0.8], [0.0, 0.0]])).tolist()  # doctest: +ELLIPSIS
    [0.08..., 0.0]
    """
    return 10.0 ** (decibels / 20) * x.flatten(1).abs().amax(1)
