"""Uniform noise in the ball: the baseline that shows how much of a model's error the size of a perturbation explains.

yamada2021 sections 3.2 and 5.1 (RANDOM). Linf: U(-eps, eps) per coordinate; L2: a Gaussian direction times eps u^(1/d), u uniform
in [0, 1], which is uniform in the ball. Then clipped to the legal range. Cost: no pass of the model.
"""

from __future__ import annotations

from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def random_noise(model: Classifier, x: Tensor, y: Tensor, threat: ThreatModel, generator: SampleGenerator) -> Tensor:
    """Return noisy inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: not used.
        x: inputs (B, ...) inside ``threat.bounds``.
        y: not used.
        threat: norm, eps (a number, or one per sample) and range.
        generator: random streams, one per sample.
    """
    return threat.random_point(x, generator)
