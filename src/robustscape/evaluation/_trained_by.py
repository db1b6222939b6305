"""The columns that tell the runs of a study of optimizers apart."""

from __future__ import annotations

from typing import Any

from robustscape.evaluation.trained_run import TrainedRun


def trained_by(run: TrainedRun) -> dict[str, Any]:
    """Method, radius, ascent steps, momentum and batch size; a run of two phases has the method "SAM->MSAM"."""
    recipe = run.config["recipe"]
    stages = [recipe["optimizer"], *(p["optimizer"] for p in recipe.get("phases", []) if p["optimizer"])]
    parameters = stages[0]["parameters"]
    return {
        "method": "->".join(dict.fromkeys(stage["name"].upper() for stage in stages)),
        "rho": parameters.get("rho"),
        "n_ascent_train": parameters.get("steps"),
        "momentum": parameters.get("momentum"),
        "batch_size": recipe["batch_size"],
    }
