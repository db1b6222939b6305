"""The cost of an update of a recipe, attack included: passes counted, seconds of the device (kanai2022 figure 3 b, section 5.3).

Wall time of whole runs measures the other jobs of a machine. Cost: eight times ``updates`` updates, half of them with SGD.
"""

from __future__ import annotations

import copy
import functools
import statistics
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Optimizer, Recipe
from robustscape.data import Split
from robustscape.evaluation.optimizer_cost import device_seconds
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.training import loop

#: How often updates are timed, in turns with those of SGD.
TURNS = 3


def update_cost(run: TrainedRun, *, updates: Annotated[int, Field(ge=1)] = 20) -> list[dict[str, Any]]:
    """Return forward_passes and backward_passes of an update, in batches, its time_per_update (s; CPU or GPU time) and overhead.

    The updates are those of the recipe's last epoch (method, optimizer) on the first batches of the training set, from the run's
    weights; probes and the estimate of batch statistics are left out. The first round counts, the others are timed.
    training_time_overhead (percent) is the time over that of the same updates by SGD, less 1; both are medians over rounds that
    take turns with those of SGD, so that a slow minute affects both.

    Args:
        run: the trained run.
        updates: updates of a round.
    """
    recipe, part = _part_of_training(run, updates)
    attacks = {name: AttackSpec.model_validate(spec) for name, spec in run.config["attacks"].items()}
    model = copy.deepcopy(run.model).requires_grad_(True)
    counts = {"forward_passes": 0, "backward_passes": 0}

    def count(name: str, samples: int) -> None:
        counts[name] += samples

    def forward_hook(module: Any, inputs: Any, output: Tensor) -> None:
        count("forward_passes", len(output))
        if output.requires_grad:
            output.register_hook(lambda gradient: count("backward_passes", len(gradient)))

    def train(recipe: Recipe) -> None:
        loop.train(model, part, run.test, recipe, attacks, run.eps, run.seed, progress=False)

    with_sgd = recipe.model_copy(update={"optimizer": _sgd_in_place_of(recipe.optimizer)})
    handle = model.register_forward_hook(forward_hook)
    train(recipe)
    handle.remove()
    train(with_sgd)
    turns = [
        [device_seconds(functools.partial(train, one), run.device) / updates for one in (recipe, with_sgd)]
        for _ in range(TURNS)
    ]
    seconds = statistics.median(own for own, _ in turns)
    overhead = 100 * (statistics.median(own / plain for own, plain in turns) - 1)
    passes = {name: (samples / len(part.y), "1") for name, samples in counts.items()}
    values = {**passes, "time_per_update": (seconds, "s"), "training_time_overhead": (overhead, "percent")}
    clock = "GPU time" if run.device.type == "cuda" else "CPU time"
    shared = {"samples": len(part.y) // updates, "clock": clock}
    return [{**shared, "metric": metric, "value": value, "unit": unit} for metric, (value, unit) in values.items()]


def _sgd_in_place_of(optimizer: Optimizer) -> Optimizer:
    """Return SGD with an optimizer's learning rate, momentum and weight decay."""
    kept = {k: v for k, v in optimizer.parameters.items() if k in ("lr", "momentum", "weight_decay")}
    return Optimizer(name="sgd", parameters=kept)


def _part_of_training(run: TrainedRun, updates: int) -> tuple[Recipe, Split]:
    """Return an epoch of the recipe's last phase without anything that is no update, and the samples for whole batches."""
    recipe = Recipe.model_validate({key: value for key, value in run.config["recipe"].items() if key != "name"})
    last = recipe.in_force(recipe.epochs - 1)
    size = recipe.batch_size or len(run.train.y)
    index = torch.arange(updates * size, device=run.train.y.device) % len(run.train.y)
    part = Split(run.train.x[index], run.train.y[index], run.train.scale)
    changes = {
        "method": last.method,
        "parameters": last.parameters,
        "optimizer": last.optimizer,
        "phases": [],
        "epochs": 1,
        "batch_size": size,
        "recalibrate": 0,
        "probes": {},
        "traces": {},
        "keep": [],
        "keep_collapse": None,
        "select": "last",
    }
    return recipe.model_copy(update=changes), part
