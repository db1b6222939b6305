"""The loss around one image before and after the batch that begins a collapse, and at the end of the epoch (kim2023 figure 2.3).

The epoch is trained again twice: once to find the batch (``replay.collapse_start``), once to keep the models. The model "before"
is the one that this batch is attacked and trained with, before the fall; the one "after the batch" has learnt the attacked image.
v1 is the single-step perturbation for the model before, v2 is random, and both are the same in the three pictures; see
``landscape.input_surface``. The image is the first of the batch that has no distorted interval along v1 before and has one
after; without one, the first that has one at the end of the epoch; without one, the first that the model before classifies
correctly.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.accuracy import accuracy_under_attack
from robustscape.evaluation.harness.craft import correctly_classified
from robustscape.evaluation.harness.distorted import FGSM, distorted_towards
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape.input_surface import input_directions, surface_rows
from robustscape.models import copy_model
from robustscape.training.replay import collapse_start, end_of_epoch, replay_epoch, running_means

#: The moments of the three pictures, in their order.
MOMENTS = ("before the batch", "after the batch", "end of the epoch")


def replay_surfaces(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    points: Annotated[int, Field(ge=2)] = 41,
    smooth: Annotated[int, Field(ge=1)] = 1,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the rows of ``input_surface`` with the columns ``moment`` (``MOMENTS``) and ``batch``, the image's batch.

    Args:
        run: the trained run; its recipe has ``keep_collapse``.
        attack: the multi-step attack by which the start of the collapse is found.
        points: grid points per side.
        smooth: batches of the running means by which it is found; see ``replay``.
        seed: of v2.
    """
    robust: list[float] = []
    single: list[float] = []

    def look(batch: int, model: nn.Module, x: Tensor, y: Tensor) -> None:
        robust.append(accuracy_under_attack(model, x, y, attack, run.eps, run.seed))
        single.append(accuracy_under_attack(model, x, y, FGSM, run.eps, run.seed))

    replay_epoch(run, look)
    start, _ = collapse_start(running_means(robust, smooth), running_means(single, smooth))
    kept = {len(robust) + 1: end_of_epoch(run)}
    trained: list[Tensor] = []

    def keep(batch: int, model: nn.Module, x: Tensor, y: Tensor) -> None:
        if batch == start:
            trained.extend((x, y))
        if batch in (start, start + 1):
            kept[batch] = copy_model(model)

    replay_epoch(run, keep)
    models = [kept[batch] for batch in (start, start + 1, len(robust) + 1)]
    x, y = trained
    index = _choose_image(models, x, y, run.eps, max(1, points - 2))
    image, label = x[index], y[index]
    v1, v2 = input_directions(models[0], image, label, index, FGSM, run.eps, seed)
    rows: list[dict[str, Any]] = []
    for moment, model in zip(MOMENTS, models, strict=True):
        shared = {"moment": moment, "batch": start, "attack": "fgsm", "attack_eps": run.eps, "split": "train"}
        rows += surface_rows(model, image, label, v1, v2, points, index, shared)
    return rows


def _choose_image(models: list[nn.Module], x: Tensor, y: Tensor, eps: float, points: int) -> Tensor:
    """Return the number of the image in the batch, (1,); see the module.

    Args:
        models: the nets of the three moments.
        x: the batch (N, ...).
        y: its labels (N,).
        eps: perturbation budget of the single step.
        points: interior points of the segment; those of the surface's edge, so that a picture shows what is chosen by.
    """
    everyone = torch.arange(len(y))
    full = x + input_directions(models[0], x, y, everyone, FGSM, eps, 0)[0]
    before, after, end = (distorted_towards(model, x, full, y, points)[0] for model in models)
    right = correctly_classified(models[0], x, y) & ~before
    rank = (right & after).int() * 4 + (right & end).int() * 2 + right.int()
    return rank.argmax().view(1).cpu()
