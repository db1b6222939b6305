"""The form of a model in which attacks are computed fastest, and the watch that no model answers nonsense."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from robustscape.attacks.gradients import Classifier
from robustscape.errors import AttackError


def prepared(model: Classifier, *, train: bool = False) -> Classifier:
    """A frozen copy of ``model`` for attacks, so that nothing an attack does can reach the original.

    On a CPU convolutions run in channels-last layout: oneDNN otherwise reorders its inputs and outputs at every layer
    (docs/performance.md has the gain). Results change by float rounding only. ``train``: batch normalisation uses the
    batch's statistics; the running ones it updates are the copy's. What is not an ``nn.Module`` is returned as it is.
    """
    if not isinstance(model, nn.Module):
        return model
    model = copy.deepcopy(model).train(train).requires_grad_(False)
    weights = next(model.parameters(), None)
    if weights is not None and weights.device.type == "cpu":
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


class Watched(nn.Module):
    """``model``, remembering whether all its answers were finite; to look waits for the device, so once is enough.

    Args:
        model: logits (B, C) from inputs (B, ...).
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model
        self.training = isinstance(model, nn.Module) and model.training
        self._finite: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        finite = torch.isfinite(logits.detach()).all()
        self._finite = finite if self._finite is None else self._finite & finite
        return logits

    def refuse(self, attack: str) -> None:
        """Raise if any answer was NaN or infinite: every robust accuracy computed from it would be a lie.

        Raises:
            AttackError: naming the attack.
        """
        if self._finite is not None and not self._finite:
            raise AttackError(
                f"the model returns NaN or infinite logits under attack '{attack}', so it cannot be attacked or "
                "evaluated."
            )
