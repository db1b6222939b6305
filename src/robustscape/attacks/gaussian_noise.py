"""White Gaussian noise of a given variance.

ma2025 section 4.3, whose tables head their columns by the variance, not the standard deviation:

    x' = clip( x + sqrt(variance) * N(0, I) )

Gaussian noise has no largest size: use it with ``eps: .inf``. A finite eps is honoured by projecting on the ball, which
shortens the noise. Cost: no pass of the model.
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
    """Noisy inputs, shape and range of ``x``.

    Args:
        model: unused.
        x: inputs (B, ...) inside ``threat.bounds``.
        y: unused.
        threat: range, and a radius that is infinite for plain Gaussian noise.
        generator: the samples' random streams.
        variance: of each coordinate, in squared input units.
    """
    return threat.project(x + variance**0.5 * generator.normal(x.shape[1:]), x)
