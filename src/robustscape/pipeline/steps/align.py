"""The step ``train`` of runs that start from another run's weights and read those of witnesses (ma2025 chapter 6)."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from robustscape.config.experiment import Run
from robustscape.config.recipes import Recipe
from robustscape.data import Split, load_dataset
from robustscape.evaluation.trained_run import load_run
from robustscape.pipeline import fingerprints
from robustscape.pipeline.plan import Plan
from robustscape.pipeline.stale import selected_weights
from robustscape.storage import atomic, checkpoints
from robustscape.storage.provenance import environment, file_hash
from robustscape.storage.records import run_is_current
from robustscape.storage.run_files import HEALTH, WEIGHTS
from robustscape.training import loop
from robustscape.training.aligning import AligningNet
from robustscape.training.distances import EMBEDDING_DISTANCES
from robustscape.training.health import measure_health


def align_runs(plan: Plan, keys: Sequence[str], device: torch.device) -> None:
    """Align runs, one after the other; the states of interrupted runs are kept until all of them are done.

    Raises:
        MissingData: a run that one of them reads is not there.
    """
    runs = plan.find_runs(keys)
    for run in runs:
        _align_run(plan, run, device)
    for run in runs:
        _state_path(plan, run).unlink(missing_ok=True)


def _align_run(plan: Plan, run: Run, device: torch.device) -> None:
    """Align a run unless it is there and right; go on from its last epoch if it was interrupted."""
    folder, read = plan.run_folder(run), plan.experiment.aligned_runs(run)
    train_split, test_split, card = load_dataset(plan.data_folder(run.dataset), device)
    origins = [selected_weights(plan, one) for one in read]
    fingerprint = fingerprints.trained_fingerprint(plan.experiment, run, card["sha256"], origins)
    if all(origins) and run_is_current(folder, fingerprint):
        return
    source, *witnesses = (load_run(plan.run_folder(one), plan.data_folder(one.dataset), device).model for one in read)
    torch.manual_seed(loop.derive_seed(run.seed, "weights"))  # of the maps between embeddings
    recipe = _recipe_of(plan, run, len(train_split.y))
    model = AligningNet(source, witnesses, recipe.parameters["distance"] in EMBEDDING_DISTANCES)
    state = _state_path(plan, run)
    if state.exists() and checkpoints.load_checkpoint(state, "cpu")[1]["fingerprint"] != fingerprint:
        state.unlink()
    started = time.perf_counter()
    result = loop.train(
        model,
        train_split,
        test_split,
        recipe,
        {},
        run.eps,
        run.seed,
        state=state,
        fingerprint=fingerprint,
        label=run.key,
    )
    weights = {
        file: checkpoints.save_checkpoint(folder / file, model.own_tensors(tensors), {"epoch": epoch})
        for file, tensors, epoch in (
            (WEIGHTS["selected"], result.selected, result.epoch),
            (WEIGHTS["last"], result.last, recipe.epochs),
        )
    }
    loop.write_history(folder / "history.csv", result.history)
    source.load_state_dict(model.own_tensors(result.selected))
    _write_health(folder, run, source, (train_split, test_split), recipe, result, card["num_classes"])
    record = {
        "command": plan.command("train", run.key),
        "run": run.key,
        "config": plan.experiment.run_config(run),
        "code": fingerprints.training_code(plan.experiment, run),
        "data": card["sha256"],
        "data_card": str(plan.data_folder(run.dataset) / "card.json"),
        "aligned": {one.key: origin for one, origin in zip(read, origins, strict=True)},
        "fingerprint": fingerprint,
        "checkpoints": weights,
        "selected_epoch": result.epoch,
        "diverged": result.diverged,
        "files": {name: file_hash(folder / name) for name in plan.run_files(run) if name != "run.json"},
        "epoch_seconds": [round(seconds, 4) for seconds in result.seconds],
        "seconds": round(time.perf_counter() - started, 3),
        "device": device.type,
        "environment": environment(),
    }
    atomic.write_json(folder / "run.json", record)


def _recipe_of(plan: Plan, run: Run, samples: int) -> Recipe:
    """Return the run's recipe; an optimizer that warms up gets the number of updates of the whole training."""
    recipe = plan.experiment.recipes[run.recipe]
    if "updates" not in recipe.optimizer.parameters:
        return recipe
    updates = recipe.epochs * math.ceil(samples / (recipe.batch_size or samples))
    optimizer = recipe.optimizer.model_copy(update={"parameters": {**recipe.optimizer.parameters, "updates": updates}})
    return recipe.model_copy(update={"optimizer": optimizer})


def _write_health(
    folder: Path,
    run: Run,
    net: nn.Module,
    splits: tuple[Split, Split],
    recipe: Recipe,
    result: loop.Trained,
    classes: int,
) -> None:
    train, test = splits
    health = measure_health(net, train, test, recipe, {}, run.eps, run.seed, result.history, classes)
    atomic.write_json(folder / HEALTH, {"run": run.key, **health, "diverged": result.diverged is not None})


def _state_path(plan: Plan, run: Run) -> Path:
    """Return where a run keeps its last epoch: outside the declared outputs, which Snakemake deletes when a job fails."""
    return plan.root / "states" / f"{run.key}.safetensors"
