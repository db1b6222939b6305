"""White Gaussian noise of a given variance.

ma2025 section 4.3, where the columns of the tables are headed by the variance, not by the standard deviation:

    x' = clip( x + sqrt(variance) * N(0, I) )

Gaussian noise is unbounded: use it with ``eps: .inf``. With a finite eps the noise is projected on the ball, which reduces
its variance. Cost: no pass of the model.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel


def gaussian_noise(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    variance: Annotated[float, Field(gt=0)],
) -> Tensor:
    """Return noisy inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: not used.
        x: inputs (B, ...) inside ``threat.bounds``.
        y: not used.
        threat: norm, range and eps, infinite for plain Gaussian noise.
        generator: random streams, one per sample.
        variance: variance of each coordinate, in squared input units.
    """
    return threat.project(x + variance**0.5 * generator.normal(x.shape[1:]), x)
