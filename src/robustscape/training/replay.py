"""The epoch in which a run collapsed, trained again from its saved start and watched after every batch (kim2023 figure 2.2).

The recipe's key ``keep_collapse`` makes training keep the state at the start of that epoch and the weights at its end. Random
streams belong to (seed, purpose, epoch), so the repeated epoch has the same weights, bit for bit, watched or not; a row says
whether it had. Cost: the epoch, and the measurements of ``evaluation.monitor`` for every batch.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.errors import UserError
from robustscape.evaluation.collapse_rule import first_collapse
from robustscape.evaluation.monitor import UNITS, overfitting_signs
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.models import copy_model
from robustscape.storage import checkpoints
from robustscape.storage.atomic import write_bytes
from robustscape.storage.run_files import COLLAPSE_FILES
from robustscape.training import loop


def replay(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    points: Annotated[int, Field(ge=1)] = 100,
    samples: Annotated[int, Field(ge=1)] = 128,
) -> list[dict[str, Any]]:
    """Return the rows of the monitor by ``batch`` (0: before the first), and a summary of the collapse.

    The summary: catastrophic_overfitting_epoch, catastrophic_overfitting_batch_in_epoch (see ``collapse_batch``),
    gradient_norm_peak_over_before_ratio (the largest input-gradient norm divided by the median before that batch), the means of
    |PGD's perturbation| per pixel before and from that batch on, and replay_identical (1 or 0).

    Args:
        run: the trained run; its recipe has ``keep_collapse``.
        attack: the multi-step attack, at the run's eps.
        points: interior points of the distortion's segment.
        samples: the monitor measures on the first so many training samples.
    """
    x, y = run.subset("train", samples)
    found: list[dict[str, float]] = []

    def look(batch: int, model: nn.Module) -> None:
        found.append(overfitting_signs(model, x, y, attack, run.eps, points, run.seed))

    epoch, identical = replay_epoch(run, look)
    norms = [entry["input_grad_norm_l2"] for entry in found]
    deltas = [entry["mean_abs_delta_pgd"] for entry in found]
    turn = collapse_batch([entry["pgd_accuracy"] for entry in found])
    before = statistics.median(norms[:turn])
    summary = {
        "catastrophic_overfitting_epoch": (epoch, "epoch"),
        "catastrophic_overfitting_batch_in_epoch": (turn, "batch"),
        "gradient_norm_peak_over_before_ratio": (max(norms) / before if before else float("nan"), "ratio"),
        "mean_abs_delta_pgd_before": (statistics.fmean(deltas[:turn]), "1"),
        "mean_abs_delta_pgd_after": (statistics.fmean(deltas[turn:]), "1"),
        "replay_identical": (float(identical), "1"),
    }
    shared = {"steps": attack.parameters.get("steps"), "points": points, "samples": len(y), "split": "train"}
    return [
        *(
            {"batch": batch, "metric": name, "value": value, "unit": UNITS[name], **shared}
            for batch, entry in enumerate(found)
            for name, value in entry.items()
        ),
        *({"metric": name, "value": value, "unit": unit, **shared} for name, (value, unit) in summary.items()),
    ]


def collapse_batch(accuracy: list[float]) -> int:
    """Return the batch, from 1, after which robust accuracy has first collapsed; without one, that of the lowest accuracy.

    Args:
        accuracy: robust accuracy before the first batch and after each; see ``evaluation.collapse_rule``.
    """
    collapse = first_collapse(accuracy)
    return min(range(1, len(accuracy)), key=lambda batch: accuracy[batch]) if collapse is None else collapse


def replay_epoch(run: TrainedRun, look: Callable[[int, nn.Module], None]) -> tuple[int, bool]:
    """Train the kept epoch again.

    Args:
        run: the trained run; its recipe has ``keep_collapse``.
        look: called with (batch, model in eval mode) before the epoch (batch 0) and after each of its batches.

    Returns:
        The epoch, counted from 1, and whether the weights at its end are those of the run, bit for bit.

    Raises:
        UserError: the run kept no such epoch.
    """
    start, end = (run.path / file for file in COLLAPSE_FILES)
    if not start.exists() or not end.exists():
        raise UserError(f"{run.path} has no {' and '.join(COLLAPSE_FILES)}; give the recipe the key 'keep_collapse'.")
    wanted = {key: value for key, value in run.config["recipe"].items() if key != "name"}
    recipe = Recipe.model_validate(wanted).model_copy(
        update={"probes": {}, "select": "last", "keep_collapse": None, "keep": []}
    )
    attacks = {name: AttackSpec.model_validate(spec) for name, spec in run.config["attacks"].items()}
    tensors, metadata = checkpoints.load_checkpoint(start, run.device)
    epoch = min(
        len(metadata["rows"]) + 1, recipe.epochs
    )  # a run of one epoch kept only its end: nothing is left to train
    model = copy_model(run.model).requires_grad_(True)
    model.load_state_dict({name.partition("/")[2]: t for name, t in tensors.items() if name.startswith("model/")})
    model.eval()
    look(0, model)

    def observe(_: int, step: int, trained: nn.Module, x: Tensor, y: Tensor) -> None:
        look(step + 1, trained)

    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.safetensors"
        write_bytes(state, start.read_bytes())
        result = loop.train(
            model,
            run.train,
            run.test,
            recipe,
            attacks,
            run.eps,
            run.seed,
            state=state,
            fingerprint=metadata["fingerprint"],
            progress=False,
            until=epoch,
            observe=observe,
        )
    theirs = {name.removeprefix("model/"): t for name, t in checkpoints.load_checkpoint(end, run.device)[0].items()}
    return epoch, all(torch.equal(tensor, theirs[name]) for name, tensor in result.last.items())
