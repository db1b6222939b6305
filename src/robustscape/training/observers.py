"""Observers of a training: functions of the run and of an epoch's row, called in order after each epoch.

The model is in eval mode. An observer may add columns to the row, and keep things in ``training.log`` and
``training.weights``; none of them changes the weights or the random streams of what follows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from robustscape import catalog
from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import KeepCollapse
from robustscape.evaluation.collapse_rule import collapse_onsets
from robustscape.evaluation.trained_run import ModelWithData
from robustscape.models import copy_model
from robustscape.storage import atomic, checkpoints
from robustscape.storage.run_files import AS_TRAINED
from robustscape.training import state
from robustscape.training.state import Training, copy_weights

#: Distortion in percent from which it counts.
VISIBLE = 1.0

Row = dict[str, Any]
EpochObserver = Callable[[Training, Row], None]


@dataclass(frozen=True)
class ProbeContext(ModelWithData):
    """The argument of a probe: the model in eval mode after an epoch, and the data."""

    epoch: int
    """Counted from 1."""


def epoch_observers(training: Training, state_path: Path | None) -> list[EpochObserver]:
    """Return the observers that a run needs, in their order; without a path for its state nothing is written."""
    observers: list[EpochObserver] = [
        probe_observer(training),
        log_row,
        keep_best_weights,
        keep_trained_statistics,
        keep_wanted_weights,
    ]
    if state_path is not None:
        if training.recipe.keep_collapse:
            observers.append(collapse_observer(training.recipe.keep_collapse, state_path))
        observers.append(state_observer(state_path))
    return observers


def probe_observer(training: Training) -> EpochObserver:
    """The observer that calls the recipe's probes when they are due, and after the last epoch."""
    probes = {
        column: _bind_probe(probe.name, probe.parameters, training.attacks)
        for column, probe in training.recipe.probes.items()
    }

    def measure_probes(training: Training, row: Row) -> None:
        epoch, recipe = row["epoch"], training.recipe
        context = ProbeContext(training.model, training.train, training.test, training.eps, training.seed, epoch)
        for column, probe in probes.items():
            settings = recipe.probes[column]
            due = epoch % settings.every == 0 or epoch == recipe.epochs
            seen = replace(context, model=_model_as_trained(training)) if due and settings.as_trained else context
            row[column] = probe(seen) if due else None

    return measure_probes


def _model_as_trained(training: Training) -> nn.Module:
    """A copy of the model with the batch statistics that training left."""
    model = copy_model(training.model)
    model.load_state_dict(training.weights["buffers"], strict=False)
    return model.eval()


def _bind_probe(
    name: str, parameters: dict[str, Any], attacks: dict[str, AttackSpec]
) -> Callable[[ProbeContext], float]:
    """A probe with its arguments, names of attacks replaced by their specifications."""
    entry = catalog.find_entry("probe", name)
    arguments = {
        key: attacks[value] if entry.references.get(key) == "AttackSpec" and value is not None else value
        for key, value in parameters.items()
    }
    return partial(entry.load(), **arguments)


def log_row(training: Training, row: Row) -> None:
    """Add the row to the log."""
    training.log.rows.append(row)


def keep_best_weights(training: Training, row: Row) -> None:
    """Copy the weights if the probe that the recipe selects by is above all before; of equal epochs the first one stays.

    So in the code of Rice 2020 (``train_cifar.py``), whose early stopping yamada2021 names, and of Wu 2020 after it.
    """
    probe, best = training.recipe.select, training.log.best
    if probe == "last" or row[probe] is None:
        return
    if best is None or best[probe] < row[probe]:
        training.log.best, training.weights["best"] = row, copy_weights(training.model)


def keep_trained_statistics(training: Training, row: Row) -> None:
    """Copy the weights with the batch statistics that training left, where they were estimated anew and the epoch is selected."""
    recipe = training.recipe
    if recipe.recalibrate and (recipe.select == "last" or training.log.best is row):
        training.weights[AS_TRAINED] = {**copy_weights(training.model), **training.weights["buffers"]}


def keep_wanted_weights(training: Training, row: Row) -> None:
    """Copy the weights if the recipe's ``keep`` names this epoch."""
    recipe = training.recipe
    training.weights |= {
        file: copy_weights(training.model)
        for fraction, file in zip(recipe.keep, recipe.kept_files, strict=True)
        if recipe.epoch(fraction) == row["epoch"]
    }


def collapse_observer(rule: KeepCollapse, path: Path) -> EpochObserver:
    """The observer that keeps the start and the end of the epoch of the last collapse, so that it can be trained again.

    It comes before the ``state_observer``: the state file, ``path``, still holds the state at the start of this epoch. Its copy
    has the suffix ``.collapse_start``, the weights at the end of the epoch ``.collapse_end``; those of an earlier epoch are
    overwritten. The weights of the first epoch after it without distortion have the suffix ``.distortion_vanished``.
    """
    start, end, vanished = (
        path.with_suffix(f".{name}") for name in ("collapse_start", "collapse_end", "distortion_vanished")
    )

    def keep_collapse(training: Training, row: Row) -> None:
        robust, single = ([logged[column] for logged in training.log.rows] for column in (rule.probe, rule.single))
        if is_collapse_epoch(robust, single, rule.share):
            atomic.write_bytes(start, path.read_bytes())
            checkpoints.save_checkpoint(end, copy_weights(training.model), {"epoch": row["epoch"]})
            vanished.unlink(missing_ok=True)
        elif rule.distortion and end.exists() and not vanished.exists() and not row[rule.distortion] >= VISIBLE:
            checkpoints.save_checkpoint(vanished, copy_weights(training.model), {"epoch": row["epoch"]})

    return keep_collapse


def state_observer(path: Path) -> EpochObserver:
    """The observer that saves the state from which the run resumes."""
    return lambda training, row: state.save_state(training, path)


def is_collapse_epoch(robust: Sequence[float], single: Sequence[float], share: float) -> bool:
    """Return whether to keep the state from the start of the newest epoch, the last one of both series.

    True for every epoch in which training collapses anew (see ``evaluation.collapse_rule``), so that the last one stays; until
    there is one, for an epoch whose drop of the robust accuracy from the one before is larger than every earlier drop. False for
    the first epoch: no state precedes it.
    """
    onsets = collapse_onsets(robust, single, share)
    if onsets:
        return onsets[-1] == len(robust) - 1
    drops = [before - after for before, after in itertools.pairwise(robust)]
    return bool(drops) and drops[-1] > max(drops[:-1], default=-math.inf)
