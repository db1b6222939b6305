"""The loss around one image before, at and after the batch of a collapse, in the same two directions (kim2023 figure 2.3).

The epoch is trained again twice: once to find the batch, once to keep the models. v1 is the single-step perturbation for the
model before the epoch, v2 is random; see ``landscape.input_surface``. The image is the first of the training split that the model
before classifies correctly and for which the last model has a distorted interval; without one, the first that the model before
classifies correctly.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.accuracy import accuracy_under_attack
from robustscape.evaluation.harness.craft import correctly_classified
from robustscape.evaluation.harness.distorted import FGSM, distorted
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape.input_surface import input_directions, surface_rows
from robustscape.models import copy_model
from robustscape.training.replay import collapse_batch, replay_epoch


def replay_surfaces(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    points: Annotated[int, Field(ge=2)] = 41,
    samples: Annotated[int, Field(ge=1)] = 128,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the rows of ``input_surface`` with the column ``moment``: before, at the collapse, end of the epoch.

    Args:
        run: the trained run; its recipe has ``keep_collapse``.
        attack: the multi-step attack by which the batch of the collapse is found.
        points: grid points per side.
        samples: first training samples, on which the batch of the collapse is found; the image is one of them.
        seed: of v2.
    """
    x, y = run.subset("train", samples)
    robust: list[float] = []

    def look(batch: int, model: nn.Module) -> None:
        robust.append(accuracy_under_attack(model, x, y, attack, run.eps, run.seed))

    replay_epoch(run, look)
    turn = collapse_batch(robust)
    moments = {0: "before", turn: "at the collapse", len(robust) - 1: "end of the epoch"}
    kept: dict[str, nn.Module] = {}

    def keep(batch: int, model: nn.Module) -> None:
        if batch in moments:
            kept[moments[batch]] = copy_model(model)

    replay_epoch(run, keep)
    before, last = kept["before"], kept[moments[len(robust) - 1]]
    inside, _ = distorted(last, x, y, run.eps, 20)
    right = correctly_classified(before, x, y)
    first = (inside & right).int() * 2 + right.int()
    index = first.argmax().view(1).cpu()
    image, label = x[index], y[index]
    v1, v2 = input_directions(before, image, label, index, FGSM, run.eps, seed)
    rows: list[dict[str, Any]] = []
    for batch, moment in moments.items():
        shared = {"moment": moment, "batch": batch, "attack": "fgsm", "attack_eps": run.eps, "split": "train"}
        rows += surface_rows(kept[moment], image, label, v1, v2, points, torch.as_tensor(index), shared)
    return rows
