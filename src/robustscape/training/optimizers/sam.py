"""Sharpness-aware minimisation with one or several ascent steps: SAM and SAM-N.

Foret et al. (2021); kim2023 equations 4.5, 4.6, 5.4 to 5.6:

    w^0 = w,   w^n = w^{n-1} + (rho / N) g(w^{n-1}) / |g(w^{n-1})|,   n = 1..N        (normalised)
               w^n = w^{n-1} + (rho / N) g(w^{n-1})                                   (constant)
    w <- SGD step from w with the gradient g(w^N)

With N > 1 the thesis has two points: the end of the chain w^N (equation 5.5 and the chain of algorithm 3), and w + rho v_N
(equations 5.2 and 5.6), which is as far from w as rho in the direction of that end. Here g is taken at the end of the chain,
whose distance is below rho where the gradient turns; for N = 1 they are the same.

|.| is the L2 norm over all weights together. The perturbation is a constant: nothing is differentiated twice. Weight decay
and momentum belong to the SGD step; the ascent sees the gradient of the loss alone.

Near a saddle the two perturbations behave differently: with the constant one a saddle attracts if rho > -1 / lambda for its
negative eigenvalues lambda; with the normalised one, whose length does not vanish with g, it always does.

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
        self,
        closure: perturb.Closure,
        *,
        rho: float = 0.05,
        steps: int = 1,
        perturbation: perturb.Perturbation = "normalised",
    ) -> Tensor:
        """Leave the gradient at the end of the ascent in ``.grad``; return the loss at w."""
        loss = perturb.forward_backward(closure)
        weights = perturb.weights_with_gradients(self)
        with perturb.restored_afterwards(weights):
            for _ in range(steps):
                perturb.displace(
                    weights, perturb.ascent_offsets(perturb.take_gradients(weights), rho / steps, perturbation)
                )
                perturb.forward_backward(closure)
        return loss


def sam(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)],
    rho: Annotated[float, Field(ge=0)] = 0.05,
    steps: Annotated[int, Field(ge=1)] = 1,
    perturbation: Literal["normalised", "constant"] = "normalised",
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
) -> torch.optim.Optimizer:
    """Return SAM, or SAM-N with several ascent steps: SGD with the gradient at w + rho g/|g|; N + 1 passes per step.

    Args:
        parameters: the weights.
        lr: learning rate.
        rho: length of the whole ascent.
        steps: N, ascent steps of length rho / N.
        perturbation: "normalised": rho g / |g| (the thesis's figures and tables); "constant": rho g (its theorems).
        momentum: of the SGD step.
        weight_decay: of the SGD step, coupled.
    """
    return SAM(
        parameters, lr, rho=rho, steps=steps, perturbation=perturbation, momentum=momentum, weight_decay=weight_decay
    )
