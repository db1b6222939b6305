"""Sharpness-aware minimisation with one or several ascent steps: SAM and SAM-N.

Foret et al. (2021); kim2023 equations 4.5, 4.6, 5.4 to 5.6:

    w^0 = w,   w^n = w^{n-1} + (rho / N) g(w^{n-1}) / |g(w^{n-1})|,   n = 1..N        (normalised radius)
               w^n = w^{n-1} + (rho / N) g(w^{n-1})                                   (constant radius)
    w <- SGD step from w with the gradient g(w^N)

|.| is the L2 norm over all weights together. The perturbation is a constant: nothing is differentiated twice. Weight decay
and momentum belong to the SGD step; the ascent sees the gradient of the loss alone.

Near a saddle the two radii behave differently: the constant one makes a saddle attract once rho > -1 / lambda, the normalised
one, whose effective radius grows without bound as g vanishes, always does.

Cost: N + 1 forward and backward passes on the same batch, and one more set of weights in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.training.optimizers import _perturb as perturb


class SAM(perturb.PerturbedSGD):
    """PyTorch's SGD with the gradient at the perturbed weights."""

    def gradient(
        self, closure: perturb.Closure, *, rho: float = 0.05, steps: int = 1, radius: perturb.Radius = "normalised"
    ) -> Tensor:
        """The gradient at the end of the ascent."""
        loss = perturb.run(closure)
        weights = perturb.reached(self)
        with perturb.elsewhere(weights):
            for _ in range(steps):
                perturb.move(weights, perturb.ascent(perturb.take(weights), rho / steps, radius))
                perturb.run(closure)
        return loss


def sam(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)],
    rho: Annotated[float, Field(ge=0)] = 0.05,
    steps: Annotated[int, Field(ge=1)] = 1,
    radius: Literal["normalised", "constant"] = "normalised",
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
) -> torch.optim.Optimizer:
    """SAM, or SAM-N with several ascent steps: SGD with the gradient at w + rho g/|g|; N + 1 passes a step.

    Args:
        parameters: the weights.
        lr: learning rate.
        rho: radius of the whole ascent.
        steps: N, ascent steps of length rho / N.
        radius: "normalised": rho g / |g| (the thesis's figures and tables); "constant": rho g (its theorems).
        momentum: of the SGD step.
        weight_decay: of the SGD step, coupled.
    """
    return SAM(parameters, lr, rho=rho, steps=steps, radius=radius, momentum=momentum, weight_decay=weight_decay)
