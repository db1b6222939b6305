"""A Bezier curve of low adversarial loss between two minima (liu2020 section 5; Garipov et al. 2018; no figure in the slides).

    theta(t) = sum_k B_k(t) P_k,    B_k(t) = binom(n, k) t^k (1 - t)^(n - k),    P_0 and P_n the two trained nets

The inner points are trained adversarially: at each update t ~ U[0, 1], and the gradient of P_k is B_k(t) times the gradient at
theta(t). BatchNorm uses the batch while training; wherever the curve is evaluated, its statistics are estimated anew over the
training inputs. Cost of an update: that of an update of adversarial training.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape import devices
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.config.attacks import AttackSpec
from robustscape.data.batches import epoch_order
from robustscape.errors import ConfigError
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns
from robustscape.landscape.directions import flatten, parameters_of, unflatten
from robustscape.landscape.surface import BATCH, losses_and_correctness
from robustscape.models import copy_model
from robustscape.models.batchnorm import recalibrate_batchnorm

#: When the learning rate falls to a tenth: 100 and 150 of the work's 200 epochs.
DROPS = (0.5, 0.75)


def bernstein(degree: int, t: float) -> list[float]:
    """Return B_0(t), ..., B_n(t); they sum to 1.

    >>> bernstein(2, 0.5)
    [0.25, 0.5, 0.25]
    """
    return [math.comb(degree, k) * t**k * (1 - t) ** (degree - k) for k in range(degree + 1)]


def move_to_curve(model: nn.Module, points: list[Tensor], t: float) -> None:
    """Give ``model`` the weights theta(t) of the curve with control points ``points``, each flat (P,)."""
    weights = torch.stack([weight * point for weight, point in zip(bernstein(len(points) - 1, t), points, strict=True)])
    like = parameters_of(model)
    for name, tensor in unflatten(weights.sum(0), like).items():
        like[name].copy_(tensor)


@devices.exact_fp32()
def bezier(
    runs: list[TrainedRun],
    *,
    attack: AttackSpec,
    inner: Annotated[int, Field(ge=0)] = 3,
    draws: Annotated[int, Field(ge=1)] = 93_800,
    batch_size: Annotated[int, Field(ge=1)] = 128,
    lr: Annotated[float, Field(gt=0)] = 0.1,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    weight_decay: Annotated[float, Field(ge=0)] = 1e-6,
    points: Annotated[int, Field(ge=3)] = 21,
    eps: float | Literal["run"] = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "test",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return rows adversarial_loss (nats) and robust_error (percent) at t along the curves "straight" and "bezier".

    One more row per curve is its barrier (nats): the largest loss along it minus the larger loss of the two ends.

    Args:
        runs: two, of one architecture and data set.
        attack: of the training of the curve and of its evaluation.
        inner: control points between the ends.
        draws: number of updates, each at its own t; the work's 200 epochs of 60,000 images are 93,800.
        batch_size: samples of an update.
        lr: of SGD on the inner points; a tenth after half and again after three quarters of the updates.
        momentum: of SGD, as in the authors' code.
        weight_decay: of every inner point, as in the authors' code.
        points: number of values of t that are evaluated.
        eps: perturbation budget; "run" for the first run's own.
        samples: first samples of the evaluated split; None for all.
        split: where the curve is evaluated.
        seed: of t, batches and attacks.

    Raises:
        ConfigError: not two runs, or nets of different sizes.
    """
    if len(runs) != 2:
        raise ConfigError(f"bezier: a curve has two ends, got {len(runs)} runs.")
    ends = [flatten(parameters_of(run.model)).clone() for run in runs]
    if ends[0].shape != ends[1].shape:
        raise ConfigError("bezier: the two nets have different sizes; give it two runs of one architecture.")
    attack_eps = runs[0].attack_eps(eps)
    model = copy_model(runs[0].model).eval()
    straight = [torch.lerp(ends[0], ends[1], k / (inner + 1)) for k in range(inner + 2)]
    bent = [point.clone() for point in straight]
    if inner:
        optimizer = torch.optim.SGD(bent[1:-1], lr=lr, momentum=momentum, weight_decay=weight_decay)
        _train_curve(model, runs[0], bent, optimizer, attack, eps=attack_eps, draws=draws, size=batch_size, seed=seed)

    train_x, _ = runs[0].subset("train", None)
    x, y = runs[0].subset(split, samples)
    ticks = torch.linspace(0, 1, points, dtype=torch.float64).tolist()
    entries: list[dict[str, Any]] = []
    for name, control in (("straight", straight), ("bezier", bent)):
        losses, errors = [], []
        for t in ticks:
            move_to_curve(model, control, t)
            recalibrate_batchnorm(model, [partial(model, part) for part in train_x.split(BATCH)])
            loss, correct = losses_and_correctness(model, craft(model, x, y, attack, attack_eps, seed=seed), y)
            losses.append(loss.double().mean().item())
            errors.append(percent_true(~correct))
        entries += _curve_rows(name, ticks, losses, errors)
    shared = {
        **protocol_columns(attack, attack_eps, split, len(y)),
        "inner_points": inner,
        "updates": draws,
        "ends": "; ".join(r.name for r in runs),
    }
    return [shared | entry for entry in entries]


def _curve_rows(name: str, ticks: list[float], losses: list[float], errors: list[float]) -> list[dict[str, Any]]:
    """The rows of one curve: loss and error at every t, and the barrier."""
    rows: list[dict[str, Any]] = []
    for t, loss, error in zip(ticks, losses, errors, strict=True):
        rows.append({"curve": name, "t": t, "metric": "adversarial_loss", "value": loss, "unit": "nats"})
        rows.append({"curve": name, "t": t, "metric": "robust_error", "value": error, "unit": "percent"})
    barrier = max(losses) - max(losses[0], losses[-1])
    return [*rows, {"curve": name, "t": None, "metric": "barrier", "value": barrier, "unit": "nats"}]


def _train_curve(
    model: nn.Module,
    run: TrainedRun,
    points: list[Tensor],
    optimizer: torch.optim.Optimizer,
    attack: AttackSpec,
    *,
    eps: float,
    draws: int,
    size: int,
    seed: int,
) -> None:
    """Train the control points that ``optimizer`` holds, the inner ones ``points[1:-1]``, each flat (P,), in place."""
    lr = optimizer.param_groups[0]["lr"]
    places = SampleGenerator.seeded(seed, torch.arange(draws)).uniform(())
    steps = math.ceil(len(run.train.y) / size)
    order = torch.empty(0)
    for update in range(draws):
        epoch, step = divmod(update, steps)
        if step == 0:
            order = epoch_order(len(run.train.y), seed, epoch, run.train.y.device)
        index = order[step * size :][:size]
        x, y = run.train.inputs(index), run.train.y[index]
        t = places[update].item()
        move_to_curve(model, points, t)
        found = craft(model, x, y, attack, eps, seed=seed + 1 + epoch, index=index)
        model.train()
        parameters = list(model.parameters())
        gradient = torch.autograd.grad(F.cross_entropy(model(found), y), parameters, materialize_grads=True)
        model.eval()
        optimizer.param_groups[0]["lr"] = lr * 0.1 ** sum(update >= drop * draws for drop in DROPS)
        flat = torch.cat([piece.reshape(-1) for piece in gradient])
        for weight, point in list(zip(bernstein(len(points) - 1, t), points, strict=True))[1:-1]:
            point.grad = weight * flat
        optimizer.step()
