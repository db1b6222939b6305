"""The length of a gradient step from the three ways to give it."""

from __future__ import annotations

from torch import Tensor

from robustscape.attacks.base.threat import ThreatModel


def step_length(
    x: Tensor, threat: ThreatModel, step_size: float | None, rel_step_size: float | None, steps: int
) -> Tensor | float:
    """Return the length of a step in input units, ready to broadcast against ``x`` (B, ...).

    ``step_size`` if given, else ``rel_step_size`` times eps, else 2 eps / steps (kim2023 section 3.4).

    >>> import torch
    >>> step_length(torch.zeros(2, 5), ThreatModel("Linf", 0.5), None, 0.25, steps=10)
    0.125
    """
    if step_size is not None:
        return step_size
    return (2 / steps if rel_step_size is None else rel_step_size) * threat.eps_like(x)
