"""The step ``train`` of runs whose weights come from outside: nothing is trained, the weights are taken over and judged."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from robustscape.config.experiment import Run
from robustscape.data import load_dataset
from robustscape.errors import UserError
from robustscape.evaluation.own_model.weights import load_weights
from robustscape.evaluation.trained_run import build_model
from robustscape.models import Classifier
from robustscape.pipeline import fingerprints
from robustscape.pipeline.plan import Plan
from robustscape.storage import atomic, checkpoints
from robustscape.storage.provenance import environment, file_hash
from robustscape.storage.records import run_is_current
from robustscape.storage.run_files import HEALTH, WEIGHTS
from robustscape.training.health import measure_health


def take_over_runs(plan: Plan, keys: Sequence[str], device: torch.device) -> None:
    """Write the folders of runs whose weights come from outside: weights, health and record.

    Raises:
        UserError: a file of weights does not fit the architecture and the data set, or is refused.
    """
    for run in plan.find_runs(keys):
        _take_over(plan, run, device)


def _take_over(plan: Plan, run: Run, device: torch.device) -> None:
    folder, source = plan.run_folder(run), plan.experiment.checkpoints[run.recipe]
    train_split, test_split, card = load_dataset(plan.data_folder(run.dataset), device)
    fingerprint = fingerprints.trained_fingerprint(plan.experiment, run, card["sha256"])
    if run_is_current(folder, fingerprint):
        return
    started, path = time.perf_counter(), Path(source.path)
    if file_hash(path) != source.sha256:
        raise UserError(f"'{path}' has changed since the command began; start it again.")
    config = plan.experiment.run_config(run)
    model = build_model(config, card)
    notes = _load(model, path)
    model.to(device).eval()
    weights = {
        file: checkpoints.save_checkpoint(folder / file, _tensors(model), {"source": path.name})
        for file in WEIGHTS.values()
    }
    recipe, nothing = plan.experiment.recipes[run.recipe], pd.DataFrame()
    health = measure_health(model, train_split, test_split, recipe, {}, run.eps, run.seed, nothing, card["num_classes"])
    health |= {"updates": None, "diverged": False, "trained_here": False}
    atomic.write_json(folder / HEALTH, {"run": run.key, **health})
    record: dict[str, Any] = {
        "command": plan.command("train", run.key),
        "run": run.key,
        "config": config,
        "code": fingerprints.training_code(plan.experiment, run),
        "source": f"weights from outside: {source.path}, SHA-256 {source.sha256}",
        "notes": notes,
        "data": card["sha256"],
        "data_card": str(plan.data_folder(run.dataset) / "card.json"),
        "fingerprint": fingerprint,
        "checkpoints": weights,
        "diverged": None,
        "files": {name: file_hash(folder / name) for name in plan.run_files(run) if name != "run.json"},
        "seconds": round(time.perf_counter() - started, 3),
        "device": device.type,
        "environment": environment(),
    }
    atomic.write_json(folder / "run.json", record)


def _load(model: nn.Module, path: Path) -> list[str]:
    """Load weights of the net, or of the net with the normalisation before it as runs of this project have it."""
    net = model.net if isinstance(model, Classifier) else model
    try:
        return load_weights(net, path)
    except UserError as error:
        try:
            return load_weights(model, path)
        except UserError:
            raise error from None


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
