"""Entropy-SGD with adversarial weight perturbation, kanai2022 appendix D: the inner gradients are taken at t + v.

Per inner step, with the inputs attacked at t: v is found there as ``awp`` finds it, g is the gradient at t + v, the weights
return to t, and Entropy-SGD goes on with g; its pull, noise, weight decay and averages see t, not t + v. Cost: two closure
calls a step. Batch statistics are updated by the second.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field

from robustscape.training.optimizers.awp import gradient_at_worst_weights
from robustscape.training.optimizers.entropy_sgd import EntropySGD


def awp_entropy_sgd(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)],
    awp_gamma: Annotated[float, Field(ge=0)] = 0.005,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
    inner_steps: Annotated[int, Field(ge=1)] = 20,
    inner_lr: Annotated[float, Field(gt=0)] = 0.1,
    gamma: Annotated[float, Field(ge=0)] = 0.03,
    noise: Annotated[float, Field(ge=0)] = 1e-4,
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.75,
    order: Literal["first", "second"] = "first",
    protocol: Literal["algorithm", "release"] = "release",
) -> torch.optim.Optimizer:
    """Entropy-SGD at adversarially perturbed weights.

    Args:
        parameters: what is trained.
        lr: of the outer update.
        awp_gamma: length of the perturbation of a layer, relative to the layer's norm.
        momentum: Nesterov momentum of inner and outer steps ("release" only).
        weight_decay: coupled L2 penalty.
        inner_steps: L, batches of an outer update.
        inner_lr: eta', constant.
        gamma: strength of the pull towards theta.
        noise: eps of the SGLD noise.
        averaging: weight of the past in mu.
        order: "second" scales the outer step by a diagonal estimate of the inverse Hessian.
        protocol: see ``entropy_sgd``.
    """
    return EntropySGD(
        parameters,
        gradient=partial(gradient_at_worst_weights, gamma=awp_gamma),
        statistics_pass=1,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        inner_steps=inner_steps,
        inner_lr=inner_lr,
        gamma=gamma,
        noise=noise,
        averaging=averaging,
        order=order,
        protocol=protocol,
    )
