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
        self,
        closure: perturb.Closure,
        *,
        rho: float = 0.05,
        steps: int = 2,
        perturbation: perturb.Perturbation = "normalised",
    ) -> Tensor:
        """Leave the mean of the gradients along the ascent in ``.grad``; return the loss at w."""
        loss = perturb.forward_backward(closure)
        weights = perturb.weights_with_gradients(self)
        mean: list[Tensor] = []
        with perturb.restored_afterwards(weights):
            gradients = perturb.take_gradients(weights)
            for number in range(1, steps + 1):
                perturb.displace(weights, perturb.ascent_offsets(gradients, rho / steps, perturbation))
                perturb.forward_backward(closure)
                gradients = perturb.take_gradients(weights)
                if number == 1:
                    mean = gradients
                elif weights:
                    torch._foreach_lerp_(mean, gradients, 1 / number)  # exact where all gradients are equal (rho = 0)
        perturb.put_gradients(weights, mean)
        return loss


def msam(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)],
    rho: Annotated[float, Field(ge=0)] = 0.05,
    steps: Annotated[int, Field(ge=1)] = 2,
    perturbation: Literal["normalised", "constant"] = "normalised",
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
) -> torch.optim.Optimizer:
    """Return multi-ascent SAM: SGD with the mean of the gradients at the N ascent points; N + 1 passes per step.

    Args:
        parameters: the weights.
        lr: learning rate.
        rho: length of the whole ascent.
        steps: N, ascent steps of length rho / N.
        perturbation: "normalised": rho g / |g|; "constant": rho g.
        momentum: of the SGD step.
        weight_decay: of the SGD step, coupled.
    """
    return MSAM(
        parameters, lr, rho=rho, steps=steps, perturbation=perturbation, momentum=momentum, weight_decay=weight_decay
    )
