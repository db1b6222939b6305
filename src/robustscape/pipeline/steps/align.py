"""The step ``train`` of runs that start from another run's weights and read those of witnesses (ma2025 chapter 6)."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch

from robustscape.config.experiment import Run
from robustscape.config.recipes import Recipe
from robustscape.data import load_dataset
from robustscape.evaluation.trained_run import load_run
from robustscape.pipeline import fingerprints
from robustscape.pipeline.plan import Plan
from robustscape.pipeline.stale import selected_weights
from robustscape.pipeline.steps._runs import state_path, train_from_state, write_health, write_record
from robustscape.storage import checkpoints
from robustscape.storage.records import run_is_current
from robustscape.storage.run_files import WEIGHTS
from robustscape.training import loop
from robustscape.training.aligning import AligningNet
from robustscape.training.distances import EMBEDDING_DISTANCES


def align_runs(plan: Plan, keys: Sequence[str], device: torch.device) -> None:
    """Align runs, one after the other; the states of interrupted runs are kept until all of them are done.

    Raises:
        MissingData: a run that one of them reads is not there.
    """
    runs = plan.find_runs(keys)
    for run in runs:
        _align_run(plan, run, device)
    for run in runs:
        state_path(plan, run).unlink(missing_ok=True)


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
    started = time.perf_counter()
    result = train_from_state(plan, run, model, (train_split, test_split), recipe, {}, fingerprint)
    weights = {
        file: checkpoints.save_checkpoint(folder / file, model.own_tensors(tensors), {"epoch": epoch})
        for file, tensors, epoch in (
            (WEIGHTS["selected"], result.selected, result.epoch),
            (WEIGHTS["last"], result.last, recipe.epochs),
        )
    }
    loop.write_history(folder / "history.csv", result.history)
    source.load_state_dict(model.own_tensors(result.selected))
    write_health(plan, run, source, (train_split, test_split), recipe, {}, result, card["num_classes"])
    aligned = {one.key: origin for one, origin in zip(read, origins, strict=True)}
    write_record(plan, run, card, fingerprint, weights, result, started, device, aligned=aligned)


def _recipe_of(plan: Plan, run: Run, samples: int) -> Recipe:
    """Return the run's recipe; an optimizer that warms up gets the number of updates of the whole training."""
    recipe = plan.experiment.recipes[run.recipe]
    if "updates" not in recipe.optimizer.parameters:
        return recipe
    updates = recipe.epochs * math.ceil(samples / (recipe.batch_size or samples))
    optimizer = recipe.optimizer.model_copy(update={"parameters": {**recipe.optimizer.parameters, "updates": updates}})
    return recipe.model_copy(update={"optimizer": optimizer})
