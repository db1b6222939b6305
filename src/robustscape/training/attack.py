"""The attack of a training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, frozen
from robustscape.attacks.base.threat import ThreatModel


@dataclass(frozen=True)
class TrainingAttack:
    """An attack bound to the threat model, the samples and the random streams of one batch.

    Methods that draw points of the ball themselves (GradAlign, single-step checkpoints) use ``threat`` and ``generator``; all
    others call the attack.

    Args:
        function: the attack; None: the recipe names none, and inputs stay clean.
        parameters: its keyword arguments.
        threat: norm, eps as scheduled, legal range.
        generator: a random stream per sample of the batch.
        train_mode: attack the model in training mode (batch statistics) instead of eval mode.
    """

    function: Callable[..., Tensor] | None
    parameters: dict[str, Any]
    threat: ThreatModel
    generator: SampleGenerator
    train_mode: bool = False

    def __call__(self, model: Classifier, x: Tensor, y: Tensor) -> Tensor:
        """Return adversarial inputs, detached; ``x`` itself when eps is 0. Parameters take no gradients meanwhile."""
        if self.function is None or self.threat.eps == 0:
            return x
        with frozen(model, train=self.train_mode):
            return self.function(model, x, y, self.threat, self.generator, **self.parameters)
