"""The training loop: one for all methods, optimizers and attacks.

Reproducible by construction: every random stream is derived from (seed, purpose, epoch), and the attack's from the sample's
number too, so a run that resumes after an epoch needs no generator states and gives the same bits (contract 5). Nothing in
the inner loop waits for the device.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from robustscape import catalog, devices
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Augmentation, Recipe
from robustscape.data import Split
from robustscape.data.batches import augment, epoch_order
from robustscape.errors import ConfigError, UserError
from robustscape.models import copy_model, standardised_zero
from robustscape.models.batchnorm import frozen_statistics, recalibrate_batchnorm, tracking_norms
from robustscape.storage import atomic, checkpoints
from robustscape.storage.provenance import config_hash
from robustscape.storage.run_files import AS_TRAINED
from robustscape.training.attack import TrainingAttack
from robustscape.training.closure import Closure, LoggedObjective, Objective
from robustscape.training.observers import Row, epoch_observers
from robustscape.training.optimizers import EpochFinisher, InnerLooper
from robustscape.training.phases import Phases
from robustscape.training.recorder import Recorder
from robustscape.training.schedules import schedule_factor
from robustscape.training.state import Log, Training, Weights, copy_buffers, copy_weights, load_state


@dataclass(frozen=True)
class Trained:
    """The result of a training: the chosen weights, the last ones, and the logs."""

    selected: Weights
    last: Weights
    history: pd.DataFrame
    """One row per epoch."""
    epoch: int
    """The epoch of ``selected``, counted from 1."""
    seconds: list[float]
    """Wall time of each epoch, probes aside: not in the history, which is the same bits on every repetition."""
    updates: pd.DataFrame
    """One row per recorded update."""
    kept: dict[str, Weights]
    """File name -> the weights that the recipe's ``keep`` asks for."""
    diverged: int | None
    """The epoch, counted from 1, that left a loss or weights that are not finite; the weights above are then those at its
    start."""


UpdateObserver = Callable[[int, int, nn.Module, Tensor, Tensor], None]


def derive_seed(seed: int, *purpose: int | str) -> int:
    """A seed for one purpose, independent of those for every other purpose."""
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
    observe: UpdateObserver | None = None,
) -> Trained:
    """Train ``model`` in place by ``recipe``.

    Args:
        model: initialised.
        train_split: images and labels trained on; the model moves to their device.
        test_split: images and labels that probes may look at.
        recipe: method, optimizer, schedules, probes.
        attacks: the attack specifications the recipe names.
        eps: perturbation budget of training, in input units.
        seed: of batch order, augmentation and attacks; initialisation is the caller's.
        state: file that holds the state after each epoch; if it exists, training goes on from there.
        fingerprint: identifies the run; a state with another fingerprint is refused.
        progress: show epochs done and time left, on a terminal; a log holds no bar.
        label: name in front of the progress bar.
        until: stop after this epoch, counted from 1, as if killed there.
        observe: called after every update with (epoch, step, model in eval mode, x, y).

    Raises:
        UserError: the loss or a weight is not finite, and the recipe does not say to record that.
        CorruptFile: the state file is damaged, or belongs to another run.
    """
    training = _start_training(model, train_split, test_split, recipe, attacks, eps, seed, state, fingerprint)
    model, observers, diverged = training.model, epoch_observers(training, state), None
    start = len(training.log.rows)
    bar = tqdm(
        range(start, until or recipe.epochs),
        initial=start,
        total=recipe.epochs,
        desc=label,
        disable=None if progress else True,
        unit="epoch",
    )
    for epoch in bar:
        before_epoch = copy_weights(model) if recipe.if_diverged == "record" else {}
        row = train_epoch(training, epoch, observe)
        if not (math.isfinite(row["train_loss"]) and _is_finite(model)):
            if recipe.if_diverged == "record":
                model.load_state_dict(before_epoch)
                diverged = epoch + 1
                break
            raise UserError(
                f"{label}: epoch {epoch + 1} diverged (training loss {row['train_loss']}); lower the learning rate, or say "
                "'if_diverged: record' in the recipe."
            )
        model.eval()
        for observer in observers:
            observer(training, row)
        bar.set_postfix(loss=f"{row['train_loss']:.4f}")
    return _trained_result(training, diverged)


def _start_training(
    model: nn.Module,
    train_split: Split,
    test_split: Split,
    recipe: Recipe,
    attacks: dict[str, AttackSpec],
    eps: float,
    seed: int,
    state_path: Path | None,
    fingerprint: str,
) -> Training:
    """A training before its first epoch, or as the state file left it."""
    device = train_split.y.device
    model = model.to(device).to(memory_format=devices.memory_format(recipe.memory_format))  # type: ignore[call-overload]
    saved = load_state(state_path, device, fingerprint) if state_path is not None and state_path.exists() else None
    log, weights = (saved.log, saved.weights) if saved else (Log(), {})
    if saved:
        model.load_state_dict(saved.model)
    phases = Phases(recipe, _trained_parameters(model), max(len(log.rows) - 1, 0))
    if saved:
        checkpoints.restore_optimizer(phases.optimizer, saved.optimizer, saved.optimizer_description)
    if recipe.traces and "initial" not in weights:
        weights["initial"] = {name: p.detach().clone() for name, p in model.named_parameters()}
    batch_size = recipe.batch_size or len(train_split.y)
    if len(train_split.y) % batch_size == 1 and len(train_split.y) > 1:
        _check_batch_of_one(model, train_split, batch_size)
    steps = math.ceil(len(train_split.y) / batch_size)
    return Training(
        model=model,
        train=train_split,
        test=test_split,
        recipe=recipe,
        attacks=attacks,
        eps=eps,
        seed=seed,
        make_attack=attack_maker(recipe, attacks, eps, seed),
        phases=phases,
        closure=Closure(model),
        recorder=Recorder(recipe, model, weights.get("initial", {}), recipe.epochs * steps),
        log=log,
        weights=weights,
        fingerprint=fingerprint,
        batch_size=batch_size,
        steps=steps,
        cutout_fill=standardised_zero(model) if recipe.augmentation.cutout else 0.0,
    )


def _check_batch_of_one(model: nn.Module, split: Split, batch_size: int) -> None:
    """Refuse, before training starts, a last batch of one sample that the model cannot be trained on.

    Raises:
        ConfigError: naming the number of samples and the batch size.
    """
    trial = copy_model(model).train()
    try:
        with torch.random.fork_rng([split.y.device] if split.y.is_cuda else []), torch.no_grad():
            trial(split.inputs(slice(1)).to(split.y.device))
    except ValueError as error:  # batch normalisation refuses a batch with one value per channel
        raise ConfigError(
            f"the last batch of an epoch has 1 sample ({len(split.y)} samples in batches of {batch_size}), which this "
            f"architecture cannot be trained on ({error}); choose another batch_size or number of samples."
        ) from None


def attack_maker(
    recipe: Recipe, attacks: dict[str, AttackSpec], eps: float, seed: int
) -> Callable[[int, Tensor, float], TrainingAttack]:
    """Return a function (epoch, sample numbers, progress) -> the attack of a batch.

    Raises:
        ConfigError: the recipe's attack is targeted.
    """
    spec = attacks[recipe.attack] if recipe.attack else None
    if spec is not None and spec.targets is not None:
        raise ConfigError(
            f"attack '{recipe.attack}' has 'targets', but a recipe's attack must be untargeted: its labels are the true ones."
        )
    function = catalog.load_function("attack", spec.attack) if spec else None

    def make_attack(epoch: int, index: Tensor, progress: float) -> TrainingAttack:
        scheduled_eps = eps * schedule_factor(recipe.eps_schedule, progress, recipe.epochs)
        generator = SampleGenerator.seeded(derive_seed(seed, "attack", epoch), index, index.device)
        if spec is None:
            return TrainingAttack(None, {}, ThreatModel("Linf", scheduled_eps), generator)
        threat = ThreatModel(spec.norm, scheduled_eps, spec.bounds)
        return TrainingAttack(function, spec.parameters, threat, generator, spec.model_mode == "train")

    return make_attack


def train_epoch(training: Training, epoch: int, observe: UpdateObserver | None = None) -> Row:
    """Train one epoch, counted from 0, and return its row of the history: epoch, lr, eps, train_loss and logged columns."""
    began = time.perf_counter()
    model, recipe, phases, split = training.model, training.recipe, training.phases, training.train
    device = split.y.device
    phases.enter(epoch)
    torch.manual_seed(derive_seed(training.seed, "layers", epoch))  # dropout and the like
    order = epoch_order(len(split.y), derive_seed(training.seed, "order"), epoch, device)
    # Training goes on from the statistics that it left, so that estimating them anew changes evaluations alone.
    model.load_state_dict(training.weights.get("buffers", {}), strict=False)
    sums, samples = {"train_loss": torch.zeros((), device=device)}, {"train_loss": 0}
    model.train()
    for step, index in enumerate(order.split(training.batch_size)):
        x, y = _batch_inputs(training, epoch, index)
        for column, value in _update_weights(training, epoch, step, index, x, y).items():
            sums[column] = sums.get(column, torch.zeros((), device=device)) + value.detach() * len(y)
            samples[column] = samples.get(column, 0) + len(y)
        if observe is not None:
            model.eval()
            observe(epoch + 1, step, model, x, y)
            model.train()
    finished = phases.optimizer.finish_epoch() if isinstance(phases.optimizer, EpochFinisher) else {}
    if recipe.recalibrate:
        training.weights["buffers"] = copy_buffers(model)
        batches = order.split(training.batch_size)[: recipe.recalibrate]
        recalibrate_batchnorm(model, _attacked_passes(training, epoch, batches))
    updates = recipe.epochs * training.steps
    progress = epoch * training.steps / updates
    row: Row = {
        "epoch": epoch + 1,
        "lr": phases.learning_rate(schedule_factor(recipe.lr_schedule, progress, recipe.epochs, 1 / updates)),
        "eps": training.eps * schedule_factor(recipe.eps_schedule, progress, recipe.epochs),
        # the one point where an epoch waits for the device
        **{column: value.item() / samples[column] for column, value in sums.items()},
        **finished,
    }
    training.log.updates += training.recorder.rows(epoch + 1)
    training.log.seconds.append(time.perf_counter() - began)
    return row


def _batch_inputs(training: Training, epoch: int, index: Tensor) -> tuple[Tensor, Tensor]:
    """Augmented inputs (B, ...) and labels (B,) of the training samples ``index``."""
    recipe, split = training.recipe, training.train
    x, y = split.inputs(index), split.y[index]
    if recipe.augmentation != Augmentation():
        generator = SampleGenerator.seeded(derive_seed(training.seed, "augmentation", epoch), index, y.device)
        x = augment(x, generator, **recipe.augmentation.model_dump(), fill=training.cutout_fill)
    if x.dim() == 4:
        x = x.contiguous(memory_format=devices.memory_format(recipe.memory_format))
    return x, y


def _update_weights(
    training: Training, epoch: int, step: int, index: Tensor, x: Tensor, y: Tensor
) -> dict[str, Tensor]:
    """One update of the weights; return its loss as ``train_loss``, and what the method logs, each a mean over the batch.

    What the method logs is of the weights that an epoch leaves: updates within an inner loop have none.
    """
    model, recipe, phases, recorder = training.model, training.recipe, training.phases, training.recorder
    update = epoch * training.steps + step
    updates = recipe.epochs * training.steps
    progress = update / updates
    phases.set_learning_rate(schedule_factor(recipe.lr_schedule, progress, recipe.epochs, 1 / updates))
    is_recorded = recorder.wants(update)
    is_inner = isinstance(phases.optimizer, InnerLooper) and phases.optimizer.is_within_inner_loop
    with devices.arithmetic(y.device, recipe.precision or "fp32"), recorder.watch() if is_recorded else nullcontext():
        objective = phases.method(model, x, y, training.make_attack(epoch, index, progress))
        model.train()
        closure = training.closure.begin(phases.optimizer, objective)
        loss: Tensor = phases.optimizer.step(closure)  # type: ignore[assignment, arg-type]
    if is_recorded:
        recorder.record(update, x, y, loss)
    logged = objective.logged if isinstance(objective, LoggedObjective) and not is_inner else {}
    return {"train_loss": loss, **logged}


def _attacked_passes(training: Training, epoch: int, batches: Sequence[Tensor]) -> Iterator[Objective]:
    """The passes of a training update on each of ``batches`` (sample numbers), attacked at the weights as they are.

    Attacks see the batch's statistics, whatever the recipe says: the running ones are those that are being replaced. They change
    none, so that the statistics are those of attacked inputs alone, and of clean ones where the method's loss sees these too.
    """
    norms = tracking_norms(training.model)
    last_update = (epoch + 1) * training.steps - 1
    progress = last_update / (training.recipe.epochs * training.steps)
    for index in batches:
        x, y = _batch_inputs(training, epoch, index)
        attack = replace(training.make_attack(epoch, index, progress), train_mode=True)
        with frozen_statistics(norms):
            objective = training.phases.method(training.model, x, y, attack)
        yield objective


def _trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _is_finite(model: nn.Module) -> bool:
    """Return whether all trained weights are finite; waits for the device once."""
    return bool(torch.stack([parameter.isfinite().all() for parameter in _trained_parameters(model)]).all())


def _trained_result(training: Training, diverged: int | None) -> Trained:
    recipe, log, weights = training.recipe, training.log, training.weights
    last = copy_weights(training.model)
    if diverged:
        weights |= {file: last for file in recipe.kept_files if file not in weights}
    selected, epoch = (last, len(log.rows)) if log.best is None else (weights["best"], int(log.best["epoch"]))
    if diverged and recipe.recalibrate:
        weights.setdefault(AS_TRAINED, selected)  # no epoch ended
    return Trained(
        selected=selected,
        last=last,
        history=_log_table(log.rows, ["epoch", "lr", "eps", "train_loss"], list(recipe.probes)),
        epoch=epoch,
        seconds=log.seconds,
        updates=_log_table(log.updates, ["update", "epoch"], list(recipe.traces)),
        kept={name: tensors for name, tensors in weights.items() if name.endswith(".safetensors")},
        diverged=diverged,
    )


def _log_table(rows: list[dict[str, Any]], first: list[str], last: list[str]) -> pd.DataFrame:
    """Rows as a table; the columns that methods log come between the ``first`` ones and the recipe's, the ``last`` ones."""
    logged = sorted({column for row in rows for column in row} - {*first, *last})
    return pd.DataFrame(rows, columns=[*first, *logged, *last])


def write_history(path: Path, history: pd.DataFrame) -> None:
    """Write history.csv, one row per epoch, or updates.csv, one row per update; the file is whole or not there."""
    buffer = io.StringIO()
    history.to_csv(buffer, index=False)
    atomic.write_text(path, buffer.getvalue())
