"""The epoch in which a run collapsed, trained again from its saved start and watched at every batch (kim2023 figure 2.2).

The recipe's key ``keep_collapse`` makes training keep the state at the start of that epoch and the weights at its end. Random
streams belong to (seed, purpose, epoch), so the repeated epoch has the same weights, bit for bit, watched or not; a row says
whether it had. As in the work, what is watched is each training batch itself, augmented as it is trained on, at the weights
before its update. Cost: the epoch, and the measurements of ``evaluation.monitor`` for every batch.
"""

from __future__ import annotations

import math
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
from robustscape.evaluation.collapse_rule import collapse_onsets
from robustscape.evaluation.monitor import UNITS, overfitting_signs
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.models import copy_model
from robustscape.storage import checkpoints
from robustscape.storage.atomic import write_bytes
from robustscape.storage.run_files import COLLAPSE_FILES
from robustscape.training import loop

#: Share of the highest robust accuracy so far at or above which a batch's weights have not begun to collapse.
STILL_ROBUST = 0.9

#: Called with the number of a batch, from 1, the model in eval mode at the weights before its update, its inputs and labels.
Look = Callable[[int, nn.Module, Tensor, Tensor], None]


def replay(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    points: Annotated[int, Field(ge=1)] = 100,
    smooth: Annotated[int, Field(ge=1)] = 1,
) -> list[dict[str, Any]]:
    """Return the rows of the monitor by ``batch``, from 1, and a summary of the collapse.

    The summary: catastrophic_overfitting_epoch; catastrophic_overfitting_batch_in_epoch (see ``collapse_start``) and
    collapsed_inside (1 if training collapses after that batch, 0 if accuracy only falls to its lowest);
    gradient_norm_peak_over_before_ratio (the largest input-gradient norm after that batch, divided by the median up to it)
    and gradient_norm_squared_peak_over_before_ratio (that of the mean squared norms); the means up to that batch, and after it,
    of both accuracies, of |PGD's perturbation| per pixel and of the distortion, the last over the batches in which it is
    defined (NaN without any); and replay_identical (1 or 0).

    Args:
        run: the trained run; its recipe has ``keep_collapse``.
        attack: the multi-step attack, at the run's eps.
        points: interior points of the distortion's segment.
        smooth: batches of the running means of both accuracies by which the start of the collapse is found; 1: none.
    """
    found: list[dict[str, float]] = []

    def look(batch: int, model: nn.Module, x: Tensor, y: Tensor) -> None:
        found.append(overfitting_signs(model, x, y, attack, run.eps, points, run.seed))

    epoch, identical = replay_epoch(run, look)
    series = {name: [entry[name] for entry in found] for name in UNITS}
    robust, single = (running_means(series[name], smooth) for name in ("pgd_accuracy", "fgsm_accuracy"))
    start, is_collapse = collapse_start(robust, single)
    summary = {
        "catastrophic_overfitting_epoch": (epoch, "epoch"),
        "catastrophic_overfitting_batch_in_epoch": (start, "batch"),
        "collapsed_inside": (float(is_collapse), "1"),
        "gradient_norm_peak_over_before_ratio": (peak_over_before(series["input_grad_norm_l2"], start), "ratio"),
        "gradient_norm_squared_peak_over_before_ratio": (
            peak_over_before(series["input_grad_norm_l2_squared"], start),
            "ratio",
        ),
        "replay_identical": (float(identical), "1"),
    }
    for name in ("pgd_accuracy", "fgsm_accuracy", "mean_abs_delta_pgd", "distortion"):
        summary[f"{name}_before"] = (mean_of_defined(series[name][:start]), UNITS[name])
        summary[f"{name}_after"] = (mean_of_defined(series[name][start:]), UNITS[name])
    shared = {"steps": attack.parameters.get("steps"), "points": points, "smooth": smooth, "split": "train"}
    return [
        *(
            {"batch": batch, "metric": name, "value": value, "unit": UNITS[name], **shared}
            for batch, entry in enumerate(found, 1)
            for name, value in entry.items()
        ),
        *({"metric": name, "value": value, "unit": unit, **shared} for name, (value, unit) in summary.items()),
    ]


def running_means(values: list[float], window: int) -> list[float]:
    """Return the mean of each value and of the ``window`` - 1 around it, fewer at both ends.

    Means of what came before alone would be late: a fall would begin in them when most of it is over.

    >>> running_means([1.0, 3.0, 5.0, 1.0], 3)
    [2.0, 3.0, 3.0, 3.0]
    """
    first = [i - window // 2 for i in range(len(values))]
    return [statistics.fmean(values[max(0, start) : start + window]) for start in first]


def mean_of_defined(values: list[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there is none.

    >>> mean_of_defined([1.0, math.nan, 3.0])
    2.0
    """
    defined = [value for value in values if not math.isnan(value)]
    return statistics.fmean(defined) if defined else math.nan


def peak_over_before(values: list[float], start: int) -> float:
    """Return the largest of ``values`` after batch ``start``, divided by the median up to it; NaN if that is 0.

    A peak before the collapse is not one of the collapse.

    >>> peak_over_before([1.0, 3.0, 2.0, 20.0, 4.0], 3)
    10.0
    >>> peak_over_before([1.0, 30.0, 1.0, 1.0, 1.0], 3)
    1.0
    """
    before = statistics.median(values[:start])
    return max(values[start:]) / before if before else math.nan


def collapse_start(robust: list[float], single: list[float]) -> tuple[int, bool]:
    """Return the batch, from 1, after which robust accuracy falls until training has collapsed, and whether it does.

    It is the last one before the collapse whose weights, before its update, still had ``STILL_ROBUST`` of the highest robust
    accuracy so far ("after 240 batches, robustness against PGD7 begins to decrease rapidly", section 2.3.1): at the batch at
    which training counts as collapsed most of the fall is over. If it collapses more than once, the last time counts; if it does
    not between two batches, the fall to the lowest accuracy. Accuracies of single batches are to be smoothed before: among
    hundreds of them the highest so far is one of chance, and the last within a tenth of it comes early.

    Args:
        robust: accuracy under the multi-step attack at each batch, at the weights before its update; at least two.
        single: the same under the single step; see ``evaluation.collapse_rule``.

    >>> collapse_start([50.0, 60.0, 58.0, 40.0, 17.0, 15.0], [60.0, 65.0, 66.0, 70.0, 80.0, 90.0])
    (3, True)
    """
    onsets = collapse_onsets(robust, single)
    end = onsets[-1] if onsets else min(range(1, len(robust)), key=lambda place: robust[place])
    start = max(place for place in range(end) if robust[place] >= STILL_ROBUST * max(robust[: place + 1]))
    return start + 1, bool(onsets)


def replay_epoch(run: TrainedRun, look: Look) -> tuple[int, bool]:
    """Train the kept epoch again.

    Args:
        run: the trained run; its recipe has ``keep_collapse``.
        look: called for each batch.

    Returns:
        The epoch, counted from 1, and whether the weights at its end are those of the run, bit for bit.

    Raises:
        UserError: the run kept no such epoch, or its epochs have fewer than two batches.
    """
    start, end = (run.path / file for file in COLLAPSE_FILES)
    if not start.exists() or not end.exists():
        raise UserError(f"{run.path} has no {' and '.join(COLLAPSE_FILES)}; give the recipe the key 'keep_collapse'.")
    wanted = {key: value for key, value in run.config["recipe"].items() if key != "name"}
    recipe = Recipe.model_validate(wanted).model_copy(
        update={"probes": {}, "select": "last", "keep_collapse": None, "keep": []}
    )
    if recipe.epochs < 2 or len(run.train.y) <= (recipe.batch_size or len(run.train.y)):
        raise UserError(f"{run.path}: a collapse inside an epoch needs two epochs and two batches.")
    attacks = {name: AttackSpec.model_validate(spec) for name, spec in run.config["attacks"].items()}
    tensors, metadata = checkpoints.load_checkpoint(start, run.device)
    epoch = len(metadata["rows"]) + 1
    model = copy_model(run.model).requires_grad_(True)
    model.load_state_dict({name.partition("/")[2]: t for name, t in tensors.items() if name.startswith("model/")})
    before = copy_model(model).eval()

    def observe(_: int, step: int, trained: nn.Module, x: Tensor, y: Tensor) -> None:
        look(step + 1, before, x, y)
        before.load_state_dict(trained.state_dict())

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
    theirs = end_of_epoch(run).state_dict()
    return epoch, all(torch.equal(tensor, theirs[name]) for name, tensor in result.last.items())


def end_of_epoch(run: TrainedRun) -> nn.Module:
    """Return the model, in eval mode, with the weights that the run had at the end of the kept epoch."""
    tensors, _ = checkpoints.load_checkpoint(run.path / COLLAPSE_FILES[1], run.device)
    model = copy_model(run.model)
    model.load_state_dict(tensors)
    return model.eval()
