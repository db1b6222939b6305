"""The points that SAM looks at: where one or several steps along the gradient lead, and what is measured there.

    v_1 = g(w) / |g(w)|,  w^p1 = w + rho v_1;   w^0 = w,  w^n = w^{n-1} + (rho / N) g(w^{n-1}) / |g(w^{n-1})|,
    v_N = (w^N - w) / |w^N - w|                                              (kim2023 equations 5.4 and 5.5)

g is the gradient of the mean loss of a mini-batch, batch normalisation in eval mode, and the loss is measured on the batch that
gave the direction; results are means over batches. The chain ends at a distance of at most rho, so v_N has norm 1 and the radius
is a number of its own wherever directions are compared.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robustscape.attacks.base.losses import cross_entropy
from robustscape.errors import ConfigError
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape.directions import Direction, Move, flatten, parameters_of

#: Samples of a forward pass when a batch is larger.
CHUNK = 512


def measurable(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose parameters have gradients; the model itself is never moved."""
    twin = copy.deepcopy(model).eval()
    for parameter in twin.parameters():
        parameter.requires_grad_(True)
    return twin


def batches(x: Tensor, y: Tensor, size: int | None) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Inputs, labels and share of the whole; one batch if ``size`` is None."""
    size = size or len(y)
    for part, labels in zip(x.split(size), y.split(size), strict=True):
        yield part, labels, len(labels) / len(y)


def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mean loss at the weights as they are, float64, 0-dim."""
    with torch.no_grad():
        total = sum(
            cross_entropy(model(part), labels).double().sum()
            for part, labels in zip(x.split(CHUNK), y.split(CHUNK), strict=True)
        )
    return torch.as_tensor(total) / len(y)


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> Direction:
    """Gradient of the mean loss at the weights as they are."""
    leaves = dict(model.named_parameters())
    sums: Direction = {}
    for part, labels in zip(x.split(CHUNK), y.split(CHUNK), strict=True):
        value = cross_entropy(model(part), labels).sum() / len(y)
        for name, piece in zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True):
            sums[name] = piece if name not in sums else sums[name] + piece
    return sums


def norm(direction: Direction) -> Tensor:
    """L2 norm over all parameters together, 0-dim."""
    return torch.linalg.vector_norm(flatten(direction))


def scaled(direction: Direction, length: float) -> Direction:
    """``direction`` at a norm of ``length``; 0 stays 0."""
    factor = length / (norm(direction) + 1e-12)
    return {name: tensor * factor for name, tensor in direction.items()}


def cosine(a: Direction, b: Direction) -> float:
    """Cosine of the angle between two directions, in float64: nearly parallel ones are what it is for."""
    left, right = flatten(a).double(), flatten(b).double()
    return float(left @ right / (left.norm() * right.norm()).clamp_min(1e-300))


def climb(
    model: nn.Module, move: Move, x: Tensor, y: Tensor, rho: float, steps: int, start: Direction | None = None
) -> Direction:
    """w^N - w of an N-step ascent, N >= 1; the model is left at w^N. Cost: N gradients, one less if ``start`` is g(w)."""
    offset = {name: torch.zeros_like(tensor) for name, tensor in parameters_of(model).items()}
    for number in range(steps):
        move([offset], [1.0])
        slope = start if number == 0 and start is not None else gradient(model, x, y)
        step = scaled(slope, rho / steps)
        offset = {name: tensor + step[name] for name, tensor in offset.items()}
    move([offset], [1.0])
    return offset


def radius(run: TrainedRun, rho: float | Literal["run"]) -> float:
    """The radius: a number, or the one the run was trained with.

    Raises:
        ConfigError: the run's optimizer has none.
    """
    if rho != "run":
        return float(rho)
    found = run.config["recipe"]["optimizer"]["parameters"].get("rho")
    if found is None:
        raise ConfigError(f"the optimizer of {run.path} has no radius; give the measurement a number for 'rho'.")
    return float(found)


def columns(run: TrainedRun, rho: float, batch: int | None, split: str, samples: int) -> dict[str, Any]:
    """The protocol columns of a row: how many steps the run was trained with, and how its ascents are measured."""
    return {
        "n_ascent_train": run.config["recipe"]["optimizer"]["parameters"].get("steps"),
        "rho": rho,
        "batch": batch,
        "split": split,
        "samples": samples,
        "model_mode": "eval",
    }
