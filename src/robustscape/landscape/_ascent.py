"""The points at the ends of SAM's ascents: reached by one or several steps along the gradient.

    v_1 = g(w) / |g(w)|,  w^p1 = w + rho v_1;   w^0 = w,  w^n = w^{n-1} + (rho / N) g(w^{n-1}) / |g(w^{n-1})|,
    v_N = (w^N - w) / |w^N - w|                                              (kim2023 equations 5.4 and 5.5)

g is the gradient of the mean loss of a mini-batch, with BatchNorm in eval mode, and the loss is measured on the batch that
gave the direction; results are means over batches. The chain ends at a distance of at most rho from w, so wherever directions are
compared, v_N has norm 1 and the distance is given separately.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robustscape.attacks.base.scaling import magnitude
from robustscape.errors import ConfigError
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape import mean_loss as means
from robustscape.landscape.directions import Direction, Move, direction_norm, flatten, parameters_of
from robustscape.models import copy_model

#: Samples of a forward pass when a batch is larger.
CHUNK = 512


def eval_copy(model: nn.Module) -> nn.Module:
    """Return a copy of ``model`` in eval mode, to be moved in its place."""
    return copy_model(model).eval()


def weighted_batches(x: Tensor, y: Tensor, size: int | None) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Yield inputs, labels and the fraction of all samples, per batch; one batch if ``size`` is None."""
    size = size or len(y)
    for part, labels in zip(x.split(size), y.split(size), strict=True):
        yield part, labels, len(labels) / len(y)


def batch_loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the mean loss of a batch at the weights as they are, float64, 0-dim."""
    return means.mean_loss(model, x, y, batch_size=CHUNK)


def batch_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Direction:
    """Return the gradient of a batch's mean loss at the weights as they are."""
    return means.mean_loss_gradient(model, x, y, batch_size=CHUNK)


def scale_to(direction: Direction, length: float) -> Direction:
    """Return ``direction`` scaled to a norm of ``length``; 0 stays 0."""
    scale = magnitude(flatten(direction)[None]).squeeze()
    scaled = {name: tensor / scale for name, tensor in direction.items()}
    factor = length / direction_norm(scaled).clamp_min(1.0)
    return {name: tensor * factor for name, tensor in scaled.items()}


def cosine_between(a: Direction, b: Direction) -> float:
    """Return the cosine of the angle between two directions, in float64 because they may be nearly parallel; 0 if one is 0."""
    left, right = flatten(a).double(), flatten(b).double()
    return float(left @ right / (left.norm() * right.norm()).clamp_min(1e-300))


def ascend_weights(
    model: nn.Module, move: Move, x: Tensor, y: Tensor, rho: float, steps: int, start: Direction | None = None
) -> Direction:
    """Return w^N - w of an ascent of N = ``steps`` >= 1 steps; the model is left at w^N.

    Args:
        model: the copy that ``move`` moves.
        move: see ``directions.movable``.
        x: inputs of the batch (B, ...).
        y: labels (B,).
        rho: length of the whole ascent.
        steps: N.
        start: g(w), if known; saves one of the N gradients.
    """
    offset = {name: torch.zeros_like(tensor) for name, tensor in parameters_of(model).items()}
    for number in range(steps):
        move([offset], [1.0])
        slope = start if number == 0 and start is not None else batch_gradient(model, x, y)
        step = scale_to(slope, rho / steps)
        offset = {name: tensor + step[name] for name, tensor in offset.items()}
    move([offset], [1.0])
    return offset


def ascent_rho(run: TrainedRun, rho: float | Literal["run"]) -> float:
    """Return ``rho`` itself, or the rho that the run was trained with if it is "run".

    Raises:
        ConfigError: the run's optimizer has none.
    """
    if rho != "run":
        return float(rho)
    trained_with = run.config["recipe"]["optimizer"]["parameters"].get("rho")
    if trained_with is None:
        raise ConfigError(f"the optimizer of {run.path} has no 'rho'; give the measurement a number for 'rho'.")
    return float(trained_with)


def ascent_batch(run: TrainedRun, batch: int | Literal["run"] | None) -> int | None:
    """Return ``batch`` itself, or the run's batch size if it is "run"; None: all samples together.

    The gradient of SAM's ascent is that of a training batch, so a smaller or larger one ascends differently (m-sharpness).
    """
    size: int | None = run.config["recipe"]["batch_size"] if batch == "run" else batch
    return size


def ascent_columns(run: TrainedRun, rho: float, batch: int | None, split: str, samples: int) -> dict[str, Any]:
    """Return the protocol columns of a row: ascent steps of the run's training, and how its ascents are measured."""
    return {
        "n_ascent_train": run.config["recipe"]["optimizer"]["parameters"].get("steps"),
        "rho": rho,
        "batch": batch,
        "split": split,
        "samples": samples,
        "model_mode": "eval",
    }
