"""The training loop: one for all methods, optimizers and attacks.

Reproducible by construction: every random stream is derived from (seed, purpose, epoch), and the attack's from the sample's
number too, so a run that resumes after an epoch needs no generator states and gives the same bits (contract 5). Nothing in
the inner loop waits for the device.
"""

from __future__ import annotations

import io
import itertools
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from robustscape import catalog, devices
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Augmentation, Recipe
from robustscape.config.recipes import Optimizer as OptimizerSpec
from robustscape.data import Split
from robustscape.data.batches import augment, epoch_order
from robustscape.errors import CorruptFile, UserError
from robustscape.storage import atomic, checkpoints
from robustscape.storage.provenance import config_hash
from robustscape.training.attack import TrainingAttack
from robustscape.training.batchnorm import recalibrate
from robustscape.training.closure import Closure
from robustscape.training.recorder import Recorder
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

    def subset(self, split: Literal["train", "test"], samples: int | None) -> tuple[Tensor, Tensor]:
        """Inputs (n, ...) and labels (n,) of the first ``samples`` of a split, or of all of it."""
        return (self.train if split == "train" else self.test).first(samples)


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
    updates: pd.DataFrame
    """A row a recorded update."""
    kept: dict[str, dict[str, Tensor]]
    """File name -> the weights that the recipe's ``keep`` asks for."""
    diverged: int | None
    """The epoch, counted from 1, that left no finite loss and weights; the others are then those at its start."""


Observer = Callable[[int, int, nn.Module, Tensor, Tensor], None]


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
    until: int | None = None,
    observe: Observer | None = None,
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
        until: stop after this epoch, counted from 1, as if killed there.
        observe: called after every update with (epoch, step, model in eval mode, x, y).

    Raises:
        UserError: the loss or a weight is not finite, and the recipe does not say to record that.
        CorruptFile: the state file is damaged.
    """
    device = train_split.y.device
    model = model.to(device)
    layout = devices.memory_format(recipe.memory_format)
    model = model.to(memory_format=layout)  # type: ignore[call-overload]
    parameters = [p for p in model.parameters() if p.requires_grad]
    make_attack = _attack_maker(recipe, attacks, eps, seed)
    probes = {name: _probe(probe.name, probe.parameters, attacks) for name, probe in recipe.probes.items()}

    size = recipe.batch_size or len(train_split.y)
    steps = math.ceil(len(train_split.y) / size)
    total = recipe.epochs * steps

    log, diverged = Log(), None
    weights: dict[str, dict[str, Tensor]] = {}
    saved = checkpoints.load_checkpoint(state, device) if state is not None and state.exists() else None
    if saved is not None:
        log, weights = _parts(*saved, fingerprint, str(state))
        model.load_state_dict(weights.pop("model"))
    start = len(log.rows)
    now = recipe.in_force(max(start - 1, 0))
    optimizer = _optimizer(now.optimizer, parameters)
    base_rates = [group["lr"] for group in optimizer.param_groups]
    if saved is not None:
        checkpoints.restore_optimizer(optimizer, weights.pop("optimizer"), saved[1]["optimizer"])
    if recipe.traces and "initial" not in weights:
        weights["initial"] = {name: p.detach().clone() for name, p in model.named_parameters()}
    method = partial(catalog.load_function("method", now.method), **now.parameters)
    closure, recorder = Closure(model), Recorder(recipe, model, weights.get("initial", {}), total)

    bar = tqdm(
        range(start, until or recipe.epochs),
        initial=start,
        total=recipe.epochs,
        desc=label,
        disable=not progress,
        unit="epoch",
    )
    for epoch in bar:
        began = time.perf_counter()
        before_epoch = _weights(model) if recipe.if_diverged == "record" else {}
        if recipe.in_force(epoch).phase != now.phase:
            before, now = now, recipe.in_force(epoch)
            method = partial(catalog.load_function("method", now.method), **now.parameters)
            if now.optimizer is not before.optimizer:
                old, optimizer = optimizer, _optimizer(now.optimizer, parameters)
                base_rates = [group["lr"] for group in optimizer.param_groups]
                if now.keep_state:
                    _take_over(optimizer, old)
        torch.manual_seed(derive(seed, "layers", epoch))  # dropout and the like
        order = epoch_order(len(train_split.y), derive(seed, "order"), epoch, device)
        sums = {"train_loss": torch.zeros((), device=device)}
        model.train()
        for step, index in enumerate(order.split(size)):
            update = epoch * steps + step
            done = update / total
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * factor(recipe.lr_schedule, done, recipe.epochs)
            x, y = train_split.inputs(index), train_split.y[index]
            if recipe.augmentation != Augmentation():
                draws = SampleGenerator.seeded(derive(seed, "augmentation", epoch), index, device)
                x = augment(x, draws, **recipe.augmentation.model_dump())
            if x.dim() == 4:
                x = x.contiguous(memory_format=layout)
            recorded = recorder.wants(update)
            with devices.autocast(device, recipe.precision), recorder.watch() if recorded else nullcontext():
                objective = method(model, x, y, make_attack(epoch, index, done))
                model.train()
                loss: Tensor = optimizer.step(closure.begin(optimizer, objective))  # type: ignore[assignment, arg-type]
            for column, value in {"train_loss": loss, **getattr(objective, "logged", {})}.items():
                sums[column] = sums.get(column, torch.zeros((), device=device)) + value.detach() * len(y)
            if recorded:
                recorder.record(update, x, y, loss)
            if observe is not None:
                model.eval()
                observe(epoch + 1, step, model, x, y)
                model.train()
        if hasattr(optimizer, "finish_epoch"):
            optimizer.finish_epoch()
        if recipe.recalibrate:
            parts = itertools.islice(order.split(size), recipe.recalibrate)
            recalibrate(model, (train_split.inputs(index) for index in parts))
        progressed = epoch * steps / total
        row: dict[str, Any] = {
            "epoch": epoch + 1,
            "lr": base_rates[0] * factor(recipe.lr_schedule, progressed, recipe.epochs),
            "eps": eps * factor(recipe.eps_schedule, progressed, recipe.epochs),
            # the one point where an epoch waits for the device
            **{column: value.item() / len(train_split.y) for column, value in sums.items()},
        }
        log.updates += recorder.rows(epoch + 1)
        log.seconds.append(time.perf_counter() - began)
        if not (math.isfinite(row["train_loss"]) and _finite(parameters)):
            if recipe.if_diverged == "record":
                model.load_state_dict(before_epoch)
                diverged = epoch + 1
                break
            raise UserError(
                f"{label}: epoch {epoch + 1} diverged (training loss {row['train_loss']}); lower the learning rate, or say "
                "'if_diverged: record' in the recipe."
            )
        model.eval()
        context = ProbeContext(model, train_split, test_split, eps, seed, epoch + 1)
        for name, probe in probes.items():
            due = (epoch + 1) % recipe.probes[name].every == 0 or epoch + 1 == recipe.epochs
            row[name] = probe(context) if due else None
        log.rows.append(row)
        if _is_best(recipe, row, log.best):
            log.best, weights["best"] = row, _weights(model)
        weights |= {
            file: _weights(model)
            for fraction, file in zip(recipe.keep, recipe.kept_files, strict=True)
            if recipe.epoch(fraction) == epoch + 1
        }
        bar.set_postfix(loss=f"{row['train_loss']:.4f}")
        if state is not None:
            if recipe.fall and fell([r[recipe.fall.probe] for r in log.rows], recipe.fall.share):
                # What is on the disk still is the state at the start of this epoch.
                atomic.write_bytes(state.with_suffix(".fall"), state.read_bytes())
                checkpoints.save_checkpoint(state.with_suffix(".fall_end"), _weights(model), {"epoch": epoch + 1})
            _save(state, fingerprint, model, optimizer, log, weights)
    last = _weights(model)
    if diverged:
        weights |= {file: last for file in recipe.kept_files if file not in weights}
    selected, chosen = (last, len(log.rows)) if log.best is None else (weights["best"], int(log.best["epoch"]))
    return Trained(
        selected=selected,
        last=last,
        history=_table(log.rows, ["epoch", "lr", "eps", "train_loss"], list(recipe.probes)),
        epoch=chosen,
        seconds=log.seconds,
        updates=_table(log.updates, ["update", "epoch"], list(recipe.traces)),
        kept={name: tensors for name, tensors in weights.items() if name.endswith(".safetensors")},
        diverged=diverged,
    )


def _table(rows: list[dict[str, Any]], first: list[str], last: list[str]) -> pd.DataFrame:
    """Rows as a table; what methods log comes between the columns that are always there and the recipe's."""
    logged = sorted({column for row in rows for column in row} - {*first, *last})
    return pd.DataFrame(rows, columns=[*first, *logged, *last])


def fell(values: list[float], share: float) -> bool:
    """Whether, of all epochs so far, the last is the one whose start is worth keeping.

    That is the first whose value is below ``share`` of the highest before it; until there is one, the largest fall. The first
    epoch never is: its start is not on the disk.
    """
    last = len(values) - 1
    collapse = next((i for i in range(1, len(values)) if values[i] < share * max(values[:i])), None)
    if collapse is not None:
        return collapse == last
    falls = [before - after for before, after in itertools.pairwise(values)]
    return bool(falls) and falls[-1] > max(falls[:-1], default=-math.inf)


def _optimizer(spec: OptimizerSpec, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = catalog.load_function("optimizer", spec.name)(parameters, **spec.parameters)
    return optimizer


def _take_over(optimizer: torch.optim.Optimizer, before: torch.optim.Optimizer) -> None:
    """The state of the parameters (momentum) from one optimizer to the next; the hyper-parameters are the new one's."""
    optimizer.load_state_dict({**optimizer.state_dict(), "state": before.state_dict()["state"]})


def _attack_maker(
    recipe: Recipe, attacks: dict[str, AttackSpec], eps: float, seed: int
) -> Callable[[int, Tensor, float], TrainingAttack]:
    """A function (epoch, sample numbers, progress) -> the batch's attack."""
    spec = attacks[recipe.attack] if recipe.attack else None
    function = catalog.load_function("attack", spec.attack) if spec else None

    def make(epoch: int, index: Tensor, progress: float) -> TrainingAttack:
        radius = eps * factor(recipe.eps_schedule, progress, recipe.epochs)
        generator = SampleGenerator.seeded(derive(seed, "attack", epoch), index, index.device)
        if spec is None:
            return TrainingAttack(None, {}, ThreatModel("Linf", radius), generator)
        threat = ThreatModel(spec.norm, radius, spec.bounds)
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


def _finite(tensors: list[nn.Parameter]) -> bool:
    """Whether no entry is NaN or infinite; waits for the device once."""
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@dataclass
class Log:
    """What training has to say so far; JSON."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    """The row of the best epoch."""


def _is_best(recipe: Recipe, row: dict[str, Any], best: dict[str, Any] | None) -> bool:
    """Whether the recipe's rule prefers this epoch to the best before: ties favour more training."""
    if recipe.select == "last" or row[recipe.select] is None:
        return False
    return best is None or bool(best[recipe.select] <= row[recipe.select])


def _save(
    path: Path,
    fingerprint: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    log: Log,
    weights: dict[str, dict[str, Tensor]],
) -> None:
    """Everything the next epoch needs, in one file that is either whole or not there."""
    tensors, groups = checkpoints.flatten_optimizer(optimizer)
    parts = {"optimizer": tensors, "model": model.state_dict(), **weights}
    flat = {f"{part}/{name}": tensor for part, content in parts.items() for name, tensor in content.items()}
    checkpoints.save_checkpoint(path, flat, {"fingerprint": fingerprint, **asdict(log), "optimizer": groups})


def _parts(
    tensors: dict[str, Tensor], metadata: dict[str, Any], fingerprint: str, path: str
) -> tuple[Log, dict[str, dict[str, Tensor]]]:
    """A saved state in its parts: the log, and the tensors of model, optimizer, best epoch and so on."""
    if metadata["fingerprint"] != fingerprint:
        raise CorruptFile(f"{path} is the state of another run; delete it to start again.")
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = tensor
    return Log(**{f.name: metadata[f.name] for f in fields(Log)}), parts


def write_history(path: Path, history: pd.DataFrame) -> None:
    """history.csv, a row an epoch, or updates.csv, a row an update."""
    buffer = io.StringIO()
    history.to_csv(buffer, index=False)
    atomic.write_text(path, buffer.getvalue())
