"""The general form of optimizers with memory, ma2025 equation 4.2, for the toy of figure 4.7.

    m <- b1 g + (1 - b1) m,    v <- b2 g^2 + (1 - b2) v,    w <- w - rate m / (sqrt(v) + eps)

Here b1 and b2 weigh the NEW gradient: b1 = 1 - beta_1 of PyTorch. The form has no bias correction, PyTorch's Adam has;
trained nets use PyTorch's optimizers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Memory(NamedTuple):
    """What an optimizer remembers: both means, of the weights' shape, and the number of steps made."""

    mean: Array
    square: Array
    steps: int


@dataclass(frozen=True)
class GenericOptimizer:
    """Equation 4.2; the numbers may be arrays that broadcast over the weights, for several optimizers at once."""

    b1: float | Array
    """Weight of the new gradient in m, in (0, 1]."""
    b2: float | Array
    """Weight of its square in v, in (0, 1]."""
    eps: float | Array
    """Added to the root of v."""
    corrected: bool = False
    """Divide m by 1 - (1 - b1)^t and v by 1 - (1 - b2)^t after t steps, as PyTorch's Adam does."""

    def start(self, weights: Array) -> Memory:
        """Return the memory before the first step: m = v = 0."""
        return Memory(np.zeros_like(weights), np.zeros_like(weights), 0)

    def step(self, memory: Memory, gradient: Array) -> tuple[Array, Memory]:
        """Return what is taken from the weights, over the learning rate, and the memory after the step.

        Where numerator and denominator are 0 so is the step: with eps = 0 and b1 = b2 = 1 that is sign(0) = 0.
        """
        mean = self.b1 * gradient + (1 - self.b1) * memory.mean
        square = self.b2 * gradient**2 + (1 - self.b2) * memory.square
        steps = memory.steps + 1
        above, below = mean, square
        if self.corrected:
            above = mean / (1 - (1 - self.b1) ** steps)
            below = square / (1 - (1 - self.b2) ** steps)
        root = np.sqrt(below) + self.eps
        step = np.divide(above, root, out=np.zeros_like(above), where=root > 0)
        return step, Memory(mean, square, steps)


#: signGD, and RMSProp and Adam with PyTorch's defaults.
SIGN_DESCENT = GenericOptimizer(b1=1.0, b2=1.0, eps=0.0)
RMSPROP = GenericOptimizer(b1=1.0, b2=1 - 0.99, eps=1e-8)
ADAM = GenericOptimizer(b1=1 - 0.9, b2=1 - 0.999, eps=1e-8, corrected=True)
