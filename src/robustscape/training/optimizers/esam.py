"""Efficient SAM: the ascent moves some of the weights, the descent uses some of the samples.

Du et al. (2022), algorithm 1; a baseline of kim2023 table 5.2.

1. Stochastic weight perturbation: each tensor of weights takes part in the ascent with probability beta; the others need no
   gradient in the first pass: w^p = w + (rho / beta) g / |g| over the tensors that take part.
2. Sharpness-sensitive data selection: the gradient at w^p is taken over the fraction gamma of the batch whose loss rose most,
   s_i = loss_i(w^p) - loss_i(w). With rho = 0 nothing rises, and all samples are taken.

Cost: a first pass with a fraction beta of the weight gradients, a forward pass without gradients at w^p, and a forward and
backward pass on a fraction gamma of the batch: about 1.5 passes and a forward pass at beta = gamma = 0.5.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from robustscape.training.optimizers import _perturb as perturb


class SampleClosure(Protocol):
    """The closure that ``ESAM.step`` needs."""

    def per_sample(self, index: Tensor | None = None) -> Tensor:
        """Return the losses (n,) of the batch, or of its samples ``index``; no ``backward``."""
        ...


class ESAM(perturb.PerturbedSGD):
    """PyTorch's SGD with ESAM's gradient; ``step`` needs a closure with ``per_sample``.

    Which tensors take part is a function of ``seed`` and of the number of steps done, both in ``state_dict``.

    Args:
        params: as in ``torch.optim.SGD``.
        lr: learning rate.
        seed: of the choice of tensors; None: the one torch was seeded with.
        settings: those of ``gradient``, and SGD's.
    """

    def __init__(self, params: Any, lr: float = 1e-3, *, seed: int | None = None, **settings: Any) -> None:
        super().__init__(params, lr, **settings)
        self.register(seed=torch.initial_seed() % 2**63 if seed is None else seed, steps_done=0)

    def gradient(self, closure: SampleClosure, *, rho: float = 0.05, beta: float = 0.5, gamma: float = 0.5) -> Tensor:
        """Leave the gradient at w^p of the samples chosen in ``.grad``; return the mean loss at w."""
        if not hasattr(closure, "per_sample"):
            raise TypeError("ESAM chooses among the samples of a batch: its closure must offer per_sample(index).")
        before = self._first_pass(closure, beta)
        perturbed = perturb.weights_with_gradients(self)
        offsets = perturb.ascent_offsets(perturb.take_gradients(perturbed), rho / beta, "normalised")
        with perturb.restored_afterwards(perturbed):
            perturb.displace(perturbed, offsets)
            index = None
            count = max(1, round(gamma * len(before)))
            if rho > 0 and count < len(before):
                rise = closure.per_sample() - before
                index = rise.topk(count).indices.sort().values
            with torch.enable_grad():
                self.zero_grad()
                closure.per_sample(index).mean().backward()
        return before.mean()

    def _first_pass(self, closure: SampleClosure, beta: float) -> Tensor:
        """Return the losses (n,) at w; the tensors drawn for the ascent have their gradients afterwards."""
        group = self.param_groups[0]
        weights = [p for g in self.param_groups for p in g["params"] if p.requires_grad]
        # PCG64's raw stream is guaranteed not to change; the upper 53 bits make a uniform number.
        raw = np.random.PCG64([group["seed"], group["steps_done"]]).random_raw(len(weights))
        group["steps_done"] += 1
        fixed = [w for w, drawn in zip(weights, (raw >> 11) / 2.0**53 < beta, strict=True) if not drawn]
        try:
            for weight in fixed:
                weight.requires_grad_(False)
            self.zero_grad()
            with torch.enable_grad():
                losses = closure.per_sample()
                if losses.requires_grad:  # none of the tensors drawn may be one that the loss uses
                    losses.mean().backward()
        finally:
            for weight in fixed:
                weight.requires_grad_(True)
        return losses.detach()


def esam(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)],
    rho: Annotated[float, Field(ge=0)] = 0.05,
    beta: Annotated[float, Field(gt=0, le=1)] = 0.5,
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.5,
    seed: Annotated[int, Field(ge=0)] | None = None,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
) -> torch.optim.Optimizer:
    """Return efficient SAM: a random part of the weights is perturbed, the most sensitive samples give the gradient.

    About 1.5 passes per step.

    Args:
        parameters: the weights.
        lr: learning rate.
        rho: length of the perturbation, before the division by beta.
        beta: probability of a tensor to take part in the ascent.
        gamma: fraction of the batch that gives the gradient.
        seed: of the choice of tensors; None: the run's.
        momentum: of the SGD step.
        weight_decay: of the SGD step, coupled.
    """
    return ESAM(
        parameters, lr, rho=rho, beta=beta, gamma=gamma, seed=seed, momentum=momentum, weight_decay=weight_decay
    )
