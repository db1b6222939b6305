"""The columns that tell the runs of a study of optimizers apart."""

from __future__ import annotations

from typing import Any

from robustscape.evaluation.trained_run import TrainedRun


def optimizer_columns(run: TrainedRun) -> dict[str, Any]:
    """Return method, rho, n_ascent_train, momentum and batch_size of a run; None for what its optimizer does not have.

    ``method`` is the optimizer in capitals; that of a run whose phases change the optimizer is "SAM->MSAM".
    """
    recipe = run.config["recipe"]
    optimizers = [recipe["optimizer"], *(p["optimizer"] for p in recipe.get("phases", []) if p["optimizer"])]
    parameters = optimizers[0]["parameters"]
    return {
        "method": "->".join(dict.fromkeys(optimizer["name"].upper() for optimizer in optimizers)),
        "rho": parameters.get("rho"),
        "n_ascent_train": parameters.get("steps"),
        "momentum": parameters.get("momentum"),
        "batch_size": recipe["batch_size"],
    }
