"""How loud a perturbation of a sound may be (kim2023 section 3.4, after Carlini & Wagner 2018)."""

from __future__ import annotations

from torch import Tensor


def waveform_eps(x: Tensor, decibels: float = -20.0) -> Tensor:
    """The eps of each waveform, (B,): the perturbation's peak lies ``decibels`` from the sound's.

    With dB(x) = max_i 20 log10 |x_i|, the condition dB(delta) - dB(x) = decibels reads eps = 10^(decibels / 20) max_i
    |x_i|; -20 gives a tenth of the peak. A silent clip gets eps 0 and stays as it is.

    >>> import torch
    >>> waveform_eps(torch.tensor([[0.5, -0.8], [0.0, 0.0]])).tolist()  # doctest: +ELLIPSIS
    [0.08..., 0.0]
    """
    return 10.0 ** (decibels / 20) * x.flatten(1).abs().amax(1)
