"""The columns that tell the methods of adversarial training of a study apart."""

from __future__ import annotations

from typing import Any

from robustscape.evaluation.trained_run import TrainedRun


def method_columns(run: TrainedRun) -> dict[str, Any]:
    """Return ``method`` as kim2023's tables name it (fast_at, pgd7_at, trades, ...), and beta, m, checkpoints and reg_weight.

    Parameters that a method does not have are None.
    """
    recipe = run.config["recipe"]
    parameters = recipe.get("parameters", {})
    named = {"method": recipe.get("method"), "beta": None, "m": None, "checkpoints": None, "reg_weight": None}
    match recipe.get("method"):
        case "adversarial":
            named["method"] = _adversarial_training_name(run.config.get("attacks", {}).get(recipe["attack"], {}))
        case "single_step_checkpoints":
            named["checkpoints"] = parameters["checkpoints"]
        case "gradalign":
            named["reg_weight"] = parameters["beta"]
        case "bat":
            named |= {"beta": parameters["beta"], "m": parameters["bridges"]}
        case "trades" | "mart":
            named["beta"] = parameters["beta"]
    return named


def _adversarial_training_name(attack: dict[str, Any]) -> str:
    """The name of adversarial training with an attack of run.json."""
    if attack.get("attack") == "fgsm":
        return "fast_at" if attack["parameters"]["random_start"] else "fgsm_at"
    return f"pgd{attack['parameters']['steps']}_at" if attack.get("attack") == "pgd" else "at"
