"""Dropping finished samples from a batch: early stopping, shared by all attacks.

An attack that looks for misclassification has nothing left to do on a sample it has broken. Attacks keep the samples
they still work on in tensors of their own, and shrink them by ``select_rows`` as samples finish, so that a pass costs no more
than the samples that are left. Randomness is per sample (``SampleGenerator``), so who leaves when changes nothing for the
others.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel


def select_rows(keep: Tensor, *states: Any) -> list[Any]:
    """Return ``states`` for the samples where the mask ``keep`` (B,) is true.

    Tensors of shape (B, ...), threat models and generators are cut down; anything else is passed on.
    """
    index = keep.nonzero().squeeze(1)

    def cut(state: Any) -> Any:
        if isinstance(state, Tensor):
            return state[index]
        return state.select(index) if isinstance(state, ThreatModel | SampleGenerator) else state

    return [cut(state) for state in states]
