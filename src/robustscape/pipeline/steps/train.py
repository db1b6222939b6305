"""The step ``train``: runs, each with its weights, its history and its record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from robustscape.config.experiment import Run
from robustscape.config.recipes import Recipe
from robustscape.data import load_dataset
from robustscape.errors import ConfigError, MissingData, unknown_name
from robustscape.evaluation.trained_run import build_model
from robustscape.pipeline import fingerprints
from robustscape.pipeline.plan import Plan
from robustscape.pipeline.steps._runs import state_path, train_from_state, write_health, write_record
from robustscape.storage import atomic, checkpoints
from robustscape.storage.records import check_recorded, run_is_current
from robustscape.storage.run_files import COLLAPSE_FILES, collapse_files
from robustscape.training import loop


def train_runs(plan: Plan, keys: Sequence[str], device: torch.device) -> None:
    """Train runs, one after the other; the states of interrupted runs are kept until all of them are done."""
    runs = plan.find_runs(keys)
    for run in runs:
        _train_run(plan, run, device)
    for run in runs:
        for path in _state_files(plan, run):
            path.unlink(missing_ok=True)


def _train_run(plan: Plan, run: Run, device: torch.device) -> None:
    """Train a run unless it is there and right; go on from its last epoch if it was interrupted."""
    train_split, test_split, card = load_dataset(plan.data_folder(run.dataset), device)
    fingerprint = fingerprints.trained_fingerprint(plan.experiment, run, card["sha256"])
    if run_is_current(plan.run_folder(run), fingerprint):
        return
    config = plan.experiment.run_config(run)
    torch.manual_seed(loop.derive_seed(run.seed, "weights"))
    model = build_model(config, card)
    recipe, splits = _recipe_of(plan, run), (train_split, test_split)
    attacks = {name: plan.experiment.attack(name) for name in config["attacks"]}
    started = time.perf_counter()
    result = train_from_state(plan, run, model, splits, recipe, attacks, fingerprint)
    weights = _write_results(plan.run_folder(run), recipe, result, state_path(plan, run))
    model.load_state_dict(result.selected)
    write_health(plan, run, model, splits, recipe, attacks, result, card["num_classes"])
    write_record(plan, run, card, fingerprint, weights, result, started, device)


# -- what a run reads and keeps ----------------------------------------------------------------------------------------


def _state_files(plan: Plan, run: Run) -> list[Path]:
    """Return all files that a run may keep while it trains."""
    state = state_path(plan, run)
    return [state, *(_kept_state(state, file) for file in collapse_files(plan.experiment.recipes[run.recipe]))]


def _kept_state(state: Path, file: str) -> Path:
    """Return where the loop keeps the state that becomes ``file``, one of ``collapse_files``."""
    return state.with_suffix(f".{file.removesuffix('.safetensors')}")


def _recipe_of(plan: Plan, run: Run) -> Recipe:
    """Return the run's recipe; an eps schedule that another run recorded gets its values.

    Raises:
        MissingData: that run has no history yet.
        ConfigError: its history has no column of that name.
    """
    recipe, source = plan.experiment.recipes[run.recipe], plan.experiment.recorded_run(run)
    if source is None:
        return recipe
    path, column = plan.run_folder(source) / "history.csv", str(recipe.eps_schedule.column)
    if not path.exists():
        raise MissingData(f"{path} is not there; train that run first, because run {run.key} reads it.")
    history = pd.read_csv(check_recorded(path))
    if column not in history:
        raise ConfigError(
            f"recipe {run.recipe}: {unknown_name('column of eps_schedule', column, list(history.columns))}"
        )
    values = [value / run.eps for value in history[column]]
    schedule = recipe.eps_schedule.model_copy(update={"values": values})
    return recipe.model_copy(update={"eps_schedule": schedule})


# -- what a run leaves -------------------------------------------------------------------------------------------------


def _write_results(folder: Path, recipe: Recipe, result: loop.Trained, state: Path) -> dict[str, str]:
    """Write weights and histories; return the content hash of each file of weights."""
    weights = {
        "model.safetensors": checkpoints.save_checkpoint(
            folder / "model.safetensors", result.selected, {"epoch": result.epoch}
        ),
        "last.safetensors": checkpoints.save_checkpoint(
            folder / "last.safetensors", result.last, {"epoch": recipe.epochs}
        ),
    }
    for file, tensors in result.kept.items():
        weights[file] = checkpoints.save_checkpoint(folder / file, tensors, {})
    if recipe.traces:
        loop.write_history(folder / "updates.csv", result.updates)
    _copy_collapse(state, folder, recipe)
    loop.write_history(folder / "history.csv", result.history)
    return weights


def _copy_collapse(state: Path, folder: Path, recipe: Recipe) -> None:
    """Copy what ``keep_collapse`` kept beside the weights.

    A run of one epoch has no epoch of a collapse: its only state stands for the start of it. The last weights stand for those
    at its end, and for those without distortion where it has not vanished.
    """
    for file in collapse_files(recipe):
        kept, instead = _kept_state(state, file), state if file == COLLAPSE_FILES[0] else folder / "last.safetensors"
        atomic.write_bytes(folder / file, (kept if kept.exists() else instead).read_bytes())
