"""The form of a model in which attacks are computed fastest, and the watch that no model answers nonsense."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from robustscape.attacks.base.gradients import Classifier, undecided
from robustscape.attacks.base.gradients import in_fp32 as form_in_fp32
from robustscape.attacks.base.gradients import rough as rough_form
from robustscape.attacks.precision.bfloat16 import Bfloat16
from robustscape.attacks.precision.nearby import Nearby, nearby
from robustscape.errors import AttackError

Precision = Literal["fp32", "bf16"]


def prepared(model: Classifier, *, train: bool = False, precision: Precision = "fp32") -> Classifier:
    """A frozen copy of ``model`` for attacks, so that nothing an attack does can reach the original.

    On a CPU convolutions run in channels-last layout: oneDNN otherwise reorders its inputs and outputs at every layer
    (docs/performance.md has the gain). Results change by float rounding only. What is not an ``nn.Module`` is returned as
    it is.

    Args:
        model: logits (B, C) from inputs (B, ...).
        train: batch normalisation uses the batch's statistics; the running ones it updates are the copy's.
        precision: "bf16" computes convolutions in bfloat16; see ``MixedPrecision``.
    """
    if not isinstance(model, nn.Module):
        return model
    model = copy.deepcopy(model).train(train).requires_grad_(False)
    if device_of(model, torch.empty(0)).type == "cpu":
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model if precision == "fp32" else MixedPrecision(Bfloat16(model), model)


class MixedPrecision(nn.Module):
    """A model in bfloat16 where a sample is far from a decision boundary, in fp32 where it is near one.

    The error of bfloat16 would not matter to a gradient, but an attack would release samples that only bfloat16
    misclassifies, and at a boundary it compares losses smaller than the error. So every sample whose two highest logits
    are close is passed again in fp32, and its logits and gradient are those of the fp32 model; and before a sample is
    given up as broken, ``in_fp32`` is asked (``gradients.confirmed``). An attack that needs no more than the rough
    answer takes it (``gradients.rough``).

    Args:
        rough: the bfloat16 form.
        in_fp32: the fp32 form.
    """

    def __init__(self, rough: nn.Module, in_fp32: nn.Module) -> None:
        super().__init__()
        self.rough, self.in_fp32 = rough, in_fp32
        self.training = rough.training

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.rough(x)
        close = undecided(logits.detach()).nonzero().squeeze(1)
        return logits.index_copy(0, close, self.in_fp32(x[close])) if len(close) else logits


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
        forms = {"in_fp32": form_in_fp32(model), "rough": rough_form(model)}
        self._forms = {name: Watched(form) for name, form in forms.items() if form is not model}

    @property
    def in_fp32(self) -> Classifier:
        """See ``gradients.in_fp32``."""
        return self._forms.get("in_fp32", self)

    @property
    def rough(self) -> Classifier:
        """See ``gradients.rough``."""
        return self._forms.get("rough", self)

    def nearby(self) -> Nearby:
        """See ``_nearby``."""
        return nearby(self.model).then(self._seen)

    def forward(self, x: Tensor) -> Tensor:
        return self._seen(x, self.model(x))

    def _seen(self, x: Tensor, logits: Tensor) -> Tensor:
        finite = torch.isfinite(logits.detach()).all()
        self._finite = finite if self._finite is None else self._finite & finite
        return logits

    def refuse(self, attack: str) -> None:
        """Raise if any answer was NaN or infinite: every robust accuracy computed from it would be a lie.

        Raises:
            AttackError: naming the attack.
        """
        for watched in (self, *self._forms.values()):
            if watched._finite is not None and not watched._finite:
                raise AttackError(
                    f"the model returns NaN or infinite logits under attack '{attack}', so it cannot be attacked or "
                    "evaluated."
                )


def device_of(model: Classifier, x: Tensor) -> torch.device:
    """Where the model computes; where ``x`` is if that cannot be told."""
    parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return x.device if parameter is None else parameter.device
