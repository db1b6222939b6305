"""The training loop: one for all methods, optimizers and attacks.

Reproducible by construction: every random stream is derived from (seed, purpose, epoch), and the attack's from the sample's
number too, so a run that resumes after an epoch needs no generator states and gives the same bits (contract 5). Nothing in
the inner loop waits for the device.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from robustscape import atomic, catalog, checkpoints, devices
from robustscape.attacks.generator import SampleGenerator
from robustscape.attacks.threat import Threat
from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.data.batches import augment, epoch_order
from robustscape.errors import CorruptFile, UserError
from robustscape.provenance import config_hash
from robustscape.training.attack import TrainingAttack
from robustscape.training.schedules import factor


@dataclass(frozen=True)
class ProbeContext:
    """What a probe may look at: the model in eval mode after an epoch, and the data."""

    model: nn.Module
    train: Split
    test: Split
    eps: float
    seed: int
    epoch: int


@dataclass(frozen=True)
class Trained:
    """What training leaves: the chosen weights, the last ones, and a row an epoch."""

    selected: dict[str, Tensor]
    last: dict[str, Tensor]
    history: pd.DataFrame
    epoch: int
    """The epoch of ``selected``, counted from 1."""
    seconds: list[float]
    """Wall time of each epoch, probes aside: not in the history, which is the same bits on every repetition."""


def derive(seed: int, *purpose: int | str) -> int:
    """A seed for one purpose, independent of every other's."""
    return int(config_hash([seed, *purpose])[:15], 16)


def train(
    model: nn.Module,
    train_split: Split,
    test_split: Split,
    recipe: Recipe,
    attacks: dict[str, AttackSpec],
    eps: float,
    seed: int,
    *,
    state: Path | None = None,
    fingerprint: str = "",
    progress: bool = True,
    label: str = "training",
) -> Trained:
    """Train ``model`` in place by ``recipe``.

    Args:
        model: initialised, on the device of the data.
        train_split: images and labels trained on.
        test_split: images and labels that probes may look at.
        recipe: method, optimizer, schedules, probes.
        attacks: the attack specifications the recipe names.
        eps: training radius, in input units.
        seed: of batch order, augmentation and attacks; initialisation is the caller's.
        state: file that holds the state after each epoch; if it exists, training goes on from there.
        fingerprint: what the state must belong to; a state of something else is refused.
        progress: show epochs done and time left.
        label: name in front of the progress bar.

    Raises:
        UserError: the loss is not finite.
        CorruptFile: the state file is damaged.
    """
    device = train_split.y.device
    model = model.to(device)
    layout = devices.memory_format(recipe.memory_format)
    model = model.to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = catalog.load("optimizer", recipe.optimizer.name)(
        [p for p in model.parameters() if p.requires_grad], **recipe.optimizer.parameters
    )
    base_rates = [group["lr"] for group in optimizer.param_groups]
    method = partial(catalog.load("method", recipe.method), **recipe.parameters)
    make_attack = _attack_maker(recipe, attacks, eps, seed)
    probes = {name: _probe(probe.name, probe.parameters, attacks) for name, probe in recipe.probes.items()}

    start = 0
    rows: list[dict[str, Any]] = []
    seconds: list[float] = []
    best: Best | None = None
    if state is not None and state.exists():
        rows, seconds, best = _resume(state, fingerprint, model, optimizer, device)
        start = len(rows)

    size = recipe.batch_size or len(train_split.y)
    steps = math.ceil(len(train_split.y) / size)
    total = recipe.epochs * steps
    bar = tqdm(
        range(start, recipe.epochs), initial=start, total=recipe.epochs, desc=label, disable=not progress, unit="epoch"
    )
    for epoch in bar:
        began = time.perf_counter()
        torch.manual_seed(derive(seed, "layers", epoch))  # dropout and the like
        order = epoch_order(len(train_split.y), derive(seed, "order"), epoch, device)
        losses = torch.zeros((), device=device)
        model.train()
        for step, index in enumerate(order.split(size)):
            done = (epoch * steps + step) / total
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * factor(recipe.lr_schedule, done)
            x, y = train_split.inputs(index), train_split.y[index]
            if recipe.augmentation.crop or recipe.augmentation.flip:
                draws = SampleGenerator.seeded(derive(seed, "augmentation", epoch), index, device)
                x = augment(x, draws, crop=recipe.augmentation.crop, flip=recipe.augmentation.flip)
            if x.dim() == 4:
                x = x.contiguous(memory_format=layout)
            with devices.autocast(device, recipe.precision):
                loss = _update(model, optimizer, method(model, x, y, make_attack(epoch, index, done)))
            losses += loss.detach() * len(y)
        row: dict[str, Any] = {
            "epoch": epoch + 1,
            "lr": base_rates[0] * factor(recipe.lr_schedule, epoch * steps / total),
            "eps": eps * factor(recipe.eps_schedule, epoch * steps / total),
            "train_loss": losses.item() / len(train_split.y),  # the one point where an epoch waits for the device
        }
        seconds.append(time.perf_counter() - began)
        if not math.isfinite(row["train_loss"]):
            raise UserError(
                f"{label}: the training loss of epoch {epoch + 1} is {row['train_loss']}; lower the learning rate."
            )
        model.eval()
        context = ProbeContext(model, train_split, test_split, eps, seed, epoch + 1)
        for name, probe in probes.items():
            due = (epoch + 1) % recipe.probes[name].every == 0 or epoch + 1 == recipe.epochs
            row[name] = probe(context) if due else None
        rows.append(row)
        best = _better(recipe, row, best, model)
        bar.set_postfix(loss=f"{row['train_loss']:.4f}")
        if state is not None:
            _save(state, fingerprint, model, optimizer, {"rows": rows, "seconds": seconds}, best)
    last = _weights(model)
    selected, epoch = (last, recipe.epochs) if best is None else (best[1], int(best[0]["epoch"]))
    history = pd.DataFrame(rows, columns=["epoch", "lr", "eps", "train_loss", *recipe.probes])
    return Trained(selected, last, history, epoch, seconds)


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> Tensor:
    """One optimizer step; the loss before it."""

    def closure() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        return value

    model.train()
    result: Tensor = optimizer.step(closure)  # type: ignore[assignment, arg-type]
    return result


def _attack_maker(
    recipe: Recipe, attacks: dict[str, AttackSpec], eps: float, seed: int
) -> Callable[[int, Tensor, float], TrainingAttack]:
    """A function (epoch, sample numbers, progress) -> the batch's attack."""
    spec = attacks[recipe.attack] if recipe.attack else None
    function = catalog.load("attack", spec.attack) if spec else None

    def make(epoch: int, index: Tensor, progress: float) -> TrainingAttack:
        radius = eps * factor(recipe.eps_schedule, progress)
        generator = SampleGenerator.seeded(derive(seed, "attack", epoch), index, index.device)
        if spec is None:
            return TrainingAttack(None, {}, Threat("Linf", radius), generator)
        threat = Threat(spec.norm, radius, spec.bounds)
        return TrainingAttack(function, spec.parameters, threat, generator, spec.model_mode == "train")

    return make


def _probe(name: str, parameters: dict[str, Any], attacks: dict[str, AttackSpec]) -> Callable[[ProbeContext], float]:
    """A probe with its arguments, names of attacks replaced by their specifications."""
    entry = catalog.find("probe", name)
    arguments = {
        key: attacks[value] if entry.references.get(key) == "AttackSpec" and value is not None else value
        for key, value in parameters.items()
    }
    return partial(entry.load(), **arguments)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


Best = tuple[dict[str, Any], dict[str, Tensor]]


def _better(recipe: Recipe, row: dict[str, Any], best: Best | None, model: nn.Module) -> Best | None:
    """The best epoch so far by the recipe's rule: the last epoch with the highest value (ties favour more training)."""
    if recipe.select == "last" or row[recipe.select] is None:
        return best
    if best is not None and best[0][recipe.select] > row[recipe.select]:
        return best
    return row, _weights(model)


def _save(
    path: Path,
    fingerprint: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    log: dict[str, list[Any]],
    best: Best | None,
) -> None:
    """Everything the next epoch needs, in one file that is either whole or not there."""
    tensors, groups = checkpoints.flatten_optimizer(optimizer)
    tensors = {f"optimizer.{name}": tensor for name, tensor in tensors.items()}
    tensors |= {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if best is not None:
        tensors |= {f"best.{name}": tensor for name, tensor in best[1].items()}
    metadata = {"fingerprint": fingerprint, **log, "best": best[0] if best else None, "optimizer": groups}
    checkpoints.save(path, tensors, metadata)


def _resume(
    path: Path, fingerprint: str, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> tuple[list[dict[str, Any]], list[float], Best | None]:
    """Put a saved state back; its history, its epochs' wall times and its best epoch."""
    tensors, metadata = checkpoints.load(path, device)
    if metadata["fingerprint"] != fingerprint:
        raise CorruptFile(f"{path} is the state of another run; delete it to start again.")
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "best": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    model.load_state_dict(parts["model"])
    checkpoints.restore_optimizer(optimizer, parts["optimizer"], metadata["optimizer"])
    best = (metadata["best"], parts["best"]) if metadata["best"] else None
    return metadata["rows"], metadata["seconds"], best


def write_history(path: Path, history: pd.DataFrame) -> None:
    """history.csv: a row an epoch."""
    buffer = io.StringIO()
    history.to_csv(buffer, index=False)
    atomic.write_text(path, buffer.getvalue())
