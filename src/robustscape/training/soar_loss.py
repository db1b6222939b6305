"""The loss of SOAR with several numbers of directions, where SOAR starts and where it ends: ma2025 table 3.6.

Cost: for n directions 2 n forward and 2 n input-backward passes, and PGD1.
"""

from __future__ import annotations

import copy
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen
from robustscape.attacks.base.threat import ThreatModel
from robustscape.errors import UserError
from robustscape.evaluation.method_names import trained_method, trained_method_columns
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.training.attack import TrainingAttack
from robustscape.training.loop import derive_seed
from robustscape.training.methods.soar import SoarObjective, loss_and_regulariser, soar

#: Samples of a pass.
_BATCH = 50


def soar_loss(
    run: TrainedRun,
    *,
    begin: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    n_z: list[Annotated[int, Field(ge=1)]] = [1, 10, 100],  # noqa: B006  (read from the syntax tree as a schema)
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return rows soar_regularized_loss (nats), a mean over training samples without augmentation.

    Columns: ``stage`` (beginning, end), ``n_z``. All numbers of directions share their first ones, and both stages all;
    h, clip and start are the recipe's. Rows clipped_share have the percentage of samples whose regulariser is at the clip, rows
    direction_spread (n_z 1) the standard deviation over directions of the mean loss of a batch of 50, in percent of the loss.

    Args:
        run: trained by a recipe that ends with SOAR and keeps the weights where it begins.
        begin: that fraction of training, one of the recipe's ``keep``.
        n_z: numbers of directions.
        samples: first training samples; None for all.

    Raises:
        UserError: the recipe does not end with SOAR.
    """
    method, parameters = trained_method(run)
    if method != "soar":
        raise UserError(
            f"soar_loss: the recipe '{run.config['recipe']['name']}' ends with '{method}', not with 'soar'."
        )
    start = copy.deepcopy(run.model)
    start.load_state_dict(run.kept(begin))
    rows: list[dict[str, Any]] = []
    x, y = run.subset("train", samples)
    shared = {**trained_method_columns(run), "split": "train", "samples": len(y)}
    for stage, model in (("beginning", start), ("end", run.model)):
        losses, r, clip = regularised_losses(model, x, y, run.eps, run.seed, parameters, max(n_z))
        place = {**shared, "stage": stage, "n_z": 1}
        if len(r) > 1:
            spread = direction_spread(losses, r if clip is None else r.clamp(max=clip))
            rows.append({**place, "metric": "direction_spread", "value": spread, "unit": "percent"})
        for count in n_z:
            # Each direction is clipped, as with the one draw of training: the clip of a mean would depend on their number.
            some = r[:count]
            kept = (some if clip is None else some.clamp(max=clip)).mean(0)
            clipped = torch.zeros_like(some) if clip is None else (some > clip).double()
            place = {**shared, "stage": stage, "n_z": count}
            value = (losses + kept).mean().item()
            rows += [
                {**place, "metric": "soar_regularized_loss", "value": value, "unit": "nats"},
                {**place, "metric": "clipped_share", "value": 100 * clipped.mean().item(), "unit": "percent"},
            ]
    return rows


def direction_spread(losses: Tensor, r: Tensor) -> float:
    """Return by how much a batch's loss depends on its one direction: standard deviation over mean, in percent, over batches.

    Args:
        losses: cross-entropies (N,).
        r: regularisers (directions, N), two directions or more.
    """
    batches = [(losses[i] + r[:, i]).mean(1) for i in torch.arange(len(losses)).split(_BATCH)]
    return 100 * sum((batch.std() / batch.mean()).item() for batch in batches) / len(batches)


def regularised_losses(
    model: nn.Module, x: Tensor, y: Tensor, eps: float, seed: int, parameters: dict[str, Any], count: int
) -> tuple[Tensor, Tensor, float | None]:
    """Return cross-entropies (N,), regularisers (count, N) before the clip, in double precision, and the clip.

    Args:
        model: the net, measured in eval mode.
        x: inputs (N, ...).
        y: labels (N,).
        eps: perturbation budget, in Linf.
        seed: of starts and directions.
        parameters: of the method ``soar``; ``draws`` is ``count``.
        count: number of directions.
    """
    losses: list[Tensor] = []
    regularisers: list[Tensor] = []
    clip: float | None = None
    numbers = torch.arange(len(y), device=y.device)
    for index in numbers.split(_BATCH):
        streams = SampleGenerator.seeded(derive_seed(seed, "soar_loss"), index, index.device)
        attack = TrainingAttack(None, {}, ThreatModel("Linf", eps), streams)
        with frozen(model):
            objective: SoarObjective = soar(model, x[index], y[index], attack, **{**parameters, "draws": count})
            clip = objective.clip
            parts: list[Tensor] = []
            for z in objective.z.split(1):  # one by one: their graphs would fill the memory
                loss, r = loss_and_regulariser(model, objective.x, objective.y, z, objective.factor, h=objective.h)
                parts.append(r.detach().double())
        losses.append(loss.detach().double())
        regularisers.append(torch.stack(parts))
    return torch.cat(losses), torch.cat(regularisers, 1), clip
