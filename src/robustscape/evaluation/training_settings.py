"""What a run was trained with, read from its record: ma2025 table 4.2. No pass of the model."""

from __future__ import annotations

from typing import Any

from robustscape.evaluation.trained_run import TrainedRun


def training_settings(run: TrainedRun) -> list[dict[str, Any]]:
    """Return rows initial_learning_rate, epochs, batch_size and parameters (trainable, of the net that was built).

    The learning rate is the one that was used; where the scale multiplied the recipe's, the column ``lr_factor`` says by what.

    Args:
        run: the trained model and its record.
    """
    recipe = run.config["recipe"]
    values = {
        "initial_learning_rate": float(recipe["optimizer"]["parameters"]["lr"]),
        "epochs": recipe["epochs"],
        "batch_size": recipe["batch_size"],
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
    }
    return [{"metric": metric, "value": value, "unit": "1"} for metric, value in values.items()]
