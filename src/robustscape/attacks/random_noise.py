"""Uniform noise in the ball: how much of a model's error the size of the perturbation alone explains.

yamada2021 section 2.2 (RANDOM); Linf: U(-eps, eps) per coordinate; L2: a Gaussian direction times eps u^(1/d), which
is uniform in the ball. Then cut to the legal range. Cost: no pass of the model.
"""

from __future__ import annotations

from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def random_noise(model: Classifier, x: Tensor, y: Tensor, threat: ThreatModel, generator: SampleGenerator) -> Tensor:
    """Noisy inputs, shape and range of ``x``.

    Args:
        model: unused.
        x: inputs (B, ...) inside ``threat.bounds``.
        y: unused.
        threat: norm, eps (a number, or one per sample) and range.
        generator: the samples' random streams.
    """
    return threat.random_point(x, generator)
