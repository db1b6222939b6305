"""The loss around one image at the end of the epoch of a collapse, and when the distortion has gone (kim2023 figure 2.11).

On Tiny ImageNet GradAlign with a small weight collapses, and some epochs later its boundary is no longer distorted, although
no robustness has come back. The epochs are those that the detector found while training (the recipe's key ``keep_collapse``
with a ``distortion``). The image is the same: the first training image that is distorted at the collapse, else the first. v1 is
the single-step perturbation of each model, v2 the same random direction; see ``landscape.input_surface``.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from robustscape.errors import UserError
from robustscape.evaluation.harness.distorted import FGSM, distorted
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape.input_surface import input_directions, surface_rows
from robustscape.models import copy_model
from robustscape.storage import checkpoints
from robustscape.storage.run_files import COLLAPSE_FILES, VANISHED_FILE

#: File -> the moment that it is from.
MOMENTS = {COLLAPSE_FILES[1]: "collapse", VANISHED_FILE: "distortion gone"}


def collapse_surfaces(
    run: TrainedRun,
    *,
    points: Annotated[int, Field(ge=2)] = 41,
    samples: Annotated[int, Field(ge=1)] = 500,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the rows of ``input_surface`` with the columns ``moment`` (of ``MOMENTS``) and ``epoch``.

    Args:
        run: the trained run; its recipe has ``keep_collapse`` with a ``distortion``.
        points: grid points per side.
        samples: first training samples to choose the image from.
        seed: of v2.

    Raises:
        UserError: the run kept no such weights.
    """
    missing = [file for file in MOMENTS if not (run.path / file).exists()]
    if missing:
        raise UserError(
            f"{run.path} has no {' and '.join(missing)}; give the recipe the key 'keep_collapse' with 'distortion'."
        )
    x, y = run.subset("train", samples)
    rows: list[dict[str, Any]] = []
    index: Tensor | None = None
    for file, moment in MOMENTS.items():
        tensors, metadata = checkpoints.load_checkpoint(run.path / file, run.device)
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
