"""Accuracy on clean data, and the training loss: what studies of optimizers report."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from robustscape.evaluation._trained_by import trained_by
from robustscape.evaluation.harness.craft import correctly_classified, percent
from robustscape.evaluation.trained_run import SPLITS, TrainedRun


def standard_accuracy(run: TrainedRun, *, samples: Annotated[int, Field(ge=1)] | None = None) -> list[dict[str, Any]]:
    """Rows train_accuracy and test_accuracy, percent, with the columns method, rho, n_ascent_train, momentum, batch_size.

    Args:
        run: the trained model and its data.
        samples: first samples of each split; None for all.
    """
    rows = []
    for split in SPLITS:
        x, y = run.subset(split, samples)
        measured = {
            "metric": f"{split}_accuracy",
            "value": percent(correctly_classified(run.model, x, y)),
            "unit": "percent",
        }
        rows.append({**trained_by(run), "samples": len(y), **measured})
    return rows
