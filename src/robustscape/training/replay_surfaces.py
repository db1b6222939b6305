"""The loss around one image before, at and after the batch of a collapse, in the same two directions (kim2023 figure 2.3).

The epoch is trained again twice: once to find the batch, once to stop there. v1 is the single-step perturbation of the model
before, v2 random; see ``landscape.input_surface``. The image is the first of the training split that the model before and the
model after the batch classify correctly with a distorted interval between, else the first that is right before.
"""

from __future__ import annotations

import copy
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import correctly_classified, craft, percent
from robustscape.evaluation.harness.distorted import FGSM, distorted
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape.input_surface import directions, surface_rows
from robustscape.training.replay import again, collapse_batch


def replay_surfaces(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    points: Annotated[int, Field(ge=2)] = 41,
    samples: Annotated[int, Field(ge=1)] = 128,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows of ``input_surface`` with the column ``moment``: before, at the collapse, end of the epoch.

    Args:
        run: the trained run; its recipe has ``fall``.
        attack: the multi-step attack by which the batch of the collapse is found.
        points: grid points of a side.
        samples: the monitor looks at the first so many training samples; the image is one of them.
        seed: of v2.
    """
    x, y = run.subset("train", samples)
    robust: list[float] = []

    def look(batch: int, model: nn.Module) -> None:
        robust.append(percent(correctly_classified(model, craft(model, x, y, attack, run.eps, seed=run.seed), y)))

    again(run, look)
    turn = collapse_batch(robust)
    moments = {0: "before", turn: "at the collapse", len(robust) - 1: "end of the epoch"}
    kept: dict[str, nn.Module] = {}

    def keep(batch: int, model: nn.Module) -> None:
        if batch in moments:
            kept[moments[batch]] = copy.deepcopy(model)

    again(run, keep)
    before, last = kept["before"], kept[moments[len(robust) - 1]]
    inside, _ = distorted(last, x, y, run.eps, 20)
    right = correctly_classified(before, x, y)
    first = (inside & right).int() * 2 + right.int()
    index = first.argmax().view(1).cpu()
    image, label = x[index], y[index]
    v1, v2 = directions(before, image, label, index, FGSM, run.eps, seed)
    rows: list[dict[str, Any]] = []
    for batch, moment in moments.items():
        shared = {"moment": moment, "batch": batch, "attack": "fgsm", "attack_eps": run.eps, "split": "train"}
        rows += surface_rows(kept[moment], image, label, v1, v2, points, torch.as_tensor(index), shared)
    return rows
