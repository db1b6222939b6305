"""Counting passes: what an attack asked of a model, per sample.

A wall clock says how fast a machine is; forward and backward passes say how much work an attack is (AttackBench, Cina
et al. 2025). A pass over a batch of B counts B, so passes divided by the number of samples are passes per sample.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustscape.attacks._nearby import Nearby, nearby
from robustscape.attacks.gradients import Classifier


class CountedModel(nn.Module):
    """``model``, with the samples it sees counted.

    Attributes:
        forwards: samples passed forward.
        backwards: samples passed backward to the input; an attack that asks for the gradients of C logits one after
            the other makes C backward passes.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model
        self.training = isinstance(model, nn.Module) and model.training
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        self.forwards = 0
        self.backwards = 0

    @property
    def in_fp32(self) -> Classifier:
        """See ``gradients.in_fp32``; a model that searches in lower precision counts its fp32 passes itself."""
        exact: Classifier = getattr(self.model, "in_fp32", self)
        return exact

    def nearby(self) -> Nearby:
        """See ``_nearby``. A pass over a window is a pass."""
        return nearby(self.model).then(self._count_forward)

    def _count_forward(self, x: Tensor, logits: Tensor) -> Tensor:
        self.forwards += x.shape[0]
        return logits

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += x.shape[0]
        if torch.is_grad_enabled() and x.requires_grad:
            x = x.view_as(x)  # a hook of our own, on a tensor of our own
            x.register_hook(self._count_backward)
        logits: Tensor = self.model(x)
        return logits

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += gradient.shape[0]
