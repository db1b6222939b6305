"""The loss around one image at the end of the epoch of a collapse, and when the distortion has gone (kim2023 figure 2.11).

On Tiny ImageNet GradAlign with a small weight collapses, and some epochs later its boundary is no longer distorted, although
no robustness has come back. The epochs are those of the last collapse that the detector found while training (the recipe's key
``keep_collapse`` with a ``distortion``), as the history tells them. Training keeps other weights where there is no such epoch: a
run that never collapsed has those of its largest fall of robust accuracy, one whose distortion stays those of its end. The
former are drawn under another name, the latter not at all. The image is the same: the first training image that is distorted at
the first of the moments, else the first. v1 is the single-step perturbation of each model, v2 the same random direction; see
``landscape.input_surface``.
"""

from __future__ import annotations

from typing import Annotated, Any

import pandas as pd
from pydantic import Field
from torch import Tensor, nn

from robustscape.config.recipes import KeepCollapse
from robustscape.errors import UserError
from robustscape.evaluation.harness.distorted import FGSM, distorted
from robustscape.evaluation.logs.collapse import last_collapse
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape.input_surface import input_directions, surface_rows
from robustscape.models import copy_model
from robustscape.storage import checkpoints
from robustscape.storage.records import check_recorded
from robustscape.storage.run_files import COLLAPSE_FILES, VANISHED_FILE
from robustscape.training.observers import VISIBLE

#: The moments of the two pictures, in their order, and what stands for the first in a run that never collapsed.
MOMENTS, NO_COLLAPSE = ("collapse", "distortion gone"), "largest fall, no collapse"


def collapse_surfaces(
    run: TrainedRun,
    *,
    points: Annotated[int, Field(ge=2)] = 41,
    samples: Annotated[int, Field(ge=1)] = 500,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the rows of ``input_surface`` with the columns ``moment`` and ``epoch``, and two rows that say what happened.

    These are collapsed and distortion_vanished (1 or 0): whether training collapsed, and whether an epoch since then had a
    distortion below 1 %. ``moment`` is one of ``MOMENTS``, or ``NO_COLLAPSE``.

    Args:
        run: the trained run; its recipe has ``keep_collapse`` with a ``distortion``.
        points: grid points per side.
        samples: first training samples to choose the image from.
        seed: of v2.

    Raises:
        UserError: the run kept no such weights, or they are not of the epochs that its history tells.
    """
    missing = [file for file in (COLLAPSE_FILES[1], VANISHED_FILE) if not (run.path / file).exists()]
    if missing:
        raise UserError(
            f"{run.path} has no {' and '.join(missing)}; give the recipe the key 'keep_collapse' with 'distortion'."
        )
    collapse_epoch, vanished_epoch = kept_epochs(run)
    kept = {COLLAPSE_FILES[1]: (NO_COLLAPSE, None) if collapse_epoch is None else (MOMENTS[0], collapse_epoch)}
    if vanished_epoch is not None:
        kept[VANISHED_FILE] = (MOMENTS[1], vanished_epoch)
    x, y = run.subset("train", samples)
    rows: list[dict[str, Any]] = [
        {"metric": "collapsed", "value": float(collapse_epoch is not None), "unit": "1", "split": "train"},
        {"metric": "distortion_vanished", "value": float(vanished_epoch is not None), "unit": "1", "split": "train"},
    ]
    index: Tensor | None = None
    for file, (moment, epoch) in kept.items():
        tensors, metadata = checkpoints.load_checkpoint(run.path / file, run.device)
        if epoch is not None and metadata.get("epoch") != epoch:
            raise UserError(
                f"{run.path / file} is of epoch {metadata.get('epoch')}; by the run's history it should be {epoch}."
            )
        model: nn.Module = copy_model(run.model)
        model.load_state_dict(tensors)
        if index is None:
            index = distorted(model, x, y, run.eps, max(1, points - 2))[0].int().argmax().view(1).cpu()
        image, label = x[index], y[index]
        directions = input_directions(model, image, label, index, FGSM, run.eps, seed)
        shared = {
            "moment": moment,
            "epoch": metadata.get("epoch"),
            "attack": "fgsm",
            "attack_eps": run.eps,
            "split": "train",
        }
        rows += surface_rows(model, image, label, *directions, points, index, shared)
    return rows


def kept_epochs(run: TrainedRun) -> tuple[int | None, int | None]:
    """Return the epochs of the last collapse and of the first without distortion since, by the history; None of none."""
    rule = KeepCollapse.model_validate(run.config["recipe"]["keep_collapse"])
    history = pd.read_csv(check_recorded(run.path / "history.csv"))
    robust, single, distortions = (history[name].tolist() for name in (rule.probe, rule.single, str(rule.distortion)))
    places = last_collapse(robust, single, distortions, rule.share, VISIBLE)
    collapse_epoch, vanished_epoch = (None if place is None else int(history["epoch"].iloc[place]) for place in places)
    return collapse_epoch, vanished_epoch
