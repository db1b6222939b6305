"""Counting passes: what an attack asked of a model, per sample.

A wall clock says how fast a machine is; forward and backward passes say how much work an attack is (AttackBench, Cina
et al. 2025). A pass over a batch of B counts B, so passes divided by the number of samples are passes per sample.
"""

from __future__ import annotations

from concurrent.futures import CancelledError

import torch
from torch import Tensor, nn

from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.precision.nearby import Nearby, nearby


class CountedModel(nn.Module):
    """``model``, with the samples it sees counted.

    Attributes:
        forwards: samples passed forward.
        backwards: samples passed backward to the input; an attack that asks for the gradients of C logits one after
            the other makes C backward passes.
        halted: once it is true, the next pass raises ``CancelledError``.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model
        self.training = isinstance(model, nn.Module) and model.training
        self.halted = False
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        self.forwards = 0
        self.backwards = 0

    def nearby(self) -> Nearby:
        """See ``_nearby``. A pass over a window is a pass."""
        return nearby(self.model).then(self._count_forward)

    def forward(self, x: Tensor) -> Tensor:
        self._count_forward(x, x)
        if torch.is_grad_enabled() and x.requires_grad:
            x = x.view_as(x)  # a hook of our own, on a tensor of our own
            x.register_hook(self._count_backward)
        logits: Tensor = self.model(x)
        return logits

    def _count_forward(self, x: Tensor, answer: Tensor) -> Tensor:
        if self.halted:
            raise CancelledError
        self.forwards += x.shape[0]
        return answer

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += gradient.shape[0]
