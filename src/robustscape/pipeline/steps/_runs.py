"""What the steps that train and that align runs share: the state of an interrupted run, its health, and its record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustscape.config.attacks import AttackSpec
from robustscape.config.experiment import Run
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.pipeline import fingerprints
from robustscape.pipeline.plan import Plan
from robustscape.storage import atomic, checkpoints
from robustscape.storage.provenance import environment, file_hash
from robustscape.storage.run_files import HEALTH
from robustscape.training import loop
from robustscape.training.health import measure_health


def state_path(plan: Plan, run: Run) -> Path:
    """Return where a run keeps its last epoch: outside the declared outputs, which Snakemake deletes when a job fails."""
    return plan.root / "states" / f"{run.key}.safetensors"


def train_from_state(
    plan: Plan,
    run: Run,
    model: nn.Module,
    splits: tuple[Split, Split],
    recipe: Recipe,
    attacks: dict[str, AttackSpec],
    fingerprint: str,
) -> loop.Trained:
    """Train ``model``, from the last epoch of an interrupted run of this fingerprint if there is one."""
    state = state_path(plan, run)
    if state.exists() and checkpoints.load_checkpoint(state, "cpu")[1]["fingerprint"] != fingerprint:
        state.unlink()
    return loop.train(
        model, *splits, recipe, attacks, run.eps, run.seed, state=state, fingerprint=fingerprint, label=run.key
    )


def write_health(
    plan: Plan,
    run: Run,
    net: nn.Module,
    splits: tuple[Split, Split],
    recipe: Recipe,
    attacks: dict[str, AttackSpec],
    result: loop.Trained,
    classes: int,
) -> None:
    """Write the health of ``net``, which has the weights that were selected."""
    health = measure_health(net, *splits, recipe, attacks, run.eps, run.seed, result.history, classes)
    atomic.write_json(
        plan.run_folder(run) / HEALTH, {"run": run.key, **health, "diverged": result.diverged is not None}
    )


def write_record(
    plan: Plan,
    run: Run,
    card: Mapping[str, Any],
    fingerprint: str,
    weights: Mapping[str, str],
    result: loop.Trained,
    started: float,
    device: torch.device,
    **read: Any,
) -> None:
    """Write run.json, the last file of a run: all others are there and have the hashes that it states.

    Args:
        plan: the plan.
        run: the run.
        card: card of its data.
        fingerprint: of all that it was made of.
        weights: content hash of each file of weights.
        result: what training returned.
        started: ``time.perf_counter()`` before it.
        device: where it ran.
        read: further entries, of what else the run read.
    """
    folder = plan.run_folder(run)
    asked = plan.experiment.recipes[run.recipe].precision or "fp32"
    record = {
        "command": plan.command("train", run.key),
        "run": run.key,
        "config": plan.experiment.run_config(run),
        "code": fingerprints.training_code(plan.experiment, run),
        "data": card["sha256"],
        "data_card": str(plan.data_folder(run.dataset) / "card.json"),
        **read,
        "fingerprint": fingerprint,
        "checkpoints": weights,
        "selected_epoch": result.epoch,
        "diverged": result.diverged,
        "files": {name: file_hash(folder / name) for name in plan.run_files(run) if name != "run.json"},
        "epoch_seconds": [round(seconds, 4) for seconds in result.seconds],
        "seconds": round(time.perf_counter() - started, 3),
        "device": device.type,
        "precision": "fp32" if asked == "tf32" and device.type == "cpu" else asked,  # a CPU has no TF32
        "environment": environment(),
    }
    atomic.write_json(folder / "run.json", record)
