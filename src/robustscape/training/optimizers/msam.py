"""Multi-ascent SAM: the mean of the gradients along the ascent (not Momentum-SAM, which shares the abbreviation).

kim2023 algorithm 3, equation 5.7, with the chain w^1 .. w^N of SAM-N (``sam.py``):

    w <- SGD step from w with the gradient (1 / N) sum_{n=1..N} g(w^n)

The gradient g(w^0) at the weights themselves starts the ascent and is not in the mean. With N = 1 this is SAM.

Cost: N + 1 forward and backward passes, as SAM-N; one more set of weights and, for N > 1, of gradients in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.training.optimizers import _perturb as perturb


class MSAM(perturb.PerturbedSGD):
    """PyTorch's SGD with the mean gradient at the perturbed weights."""

    def gradient(
        self, closure: perturb.Closure, *, rho: float = 0.05, steps: int = 2, radius: perturb.Radius = "normalised"
    ) -> Tensor:
        """The mean of the gradients along the ascent."""
        loss = perturb.run(closure)
        weights = perturb.reached(self)
        mean: list[Tensor] = []
        with perturb.elsewhere(weights):
            gradients = perturb.take(weights)
            for number in range(1, steps + 1):
                perturb.move(weights, perturb.ascent(gradients, rho / steps, radius))
                perturb.run(closure)
                gradients = perturb.take(weights)
                if number == 1:
                    mean = gradients
                elif weights:
                    torch._foreach_lerp_(mean, gradients, 1 / number)  # exact where all gradients are equal (rho = 0)
        perturb.give(weights, mean)
        return loss


def msam(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)],
    rho: Annotated[float, Field(ge=0)] = 0.05,
    steps: Annotated[int, Field(ge=1)] = 2,
    radius: Literal["normalised", "constant"] = "normalised",
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
) -> torch.optim.Optimizer:
    """Multi-ascent SAM: SGD with the mean of the gradients at the N ascent points; N + 1 passes a step.

    Args:
        parameters: the weights.
        lr: learning rate.
        rho: radius of the whole ascent.
        steps: N, ascent steps of length rho / N.
        radius: "normalised": rho g / |g|; "constant": rho g.
        momentum: of the SGD step.
        weight_decay: of the SGD step, coupled.
    """
    return MSAM(parameters, lr, rho=rho, steps=steps, radius=radius, momentum=momentum, weight_decay=weight_decay)
