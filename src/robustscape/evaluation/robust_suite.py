"""Accuracy under a suite of attacks, worst case per sample: one row per attack, and one for all of them together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape.config.attacks import Suite
from robustscape.evaluation.harness.craft import correctly_classified
from robustscape.evaluation.harness.suite import run_suite
from robustscape.evaluation.percentages import percent_true_fp32
from robustscape.evaluation.trained_run import TrainedRun


def robust_suite(
    run: TrainedRun,
    *,
    suite: Suite,
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    attacked_samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "test",
    precision: Literal["fp32", "bf16"] = "fp32",
) -> list[dict[str, Any]]:
    """Return rows robust_accuracy (percent): "clean", after each attack of the suite in its order, and the "worst case" of all.

    The column ``samples`` says of how many samples a row is. Further rows have the passes per sample that each attack cost;
    columns ``flag_...`` are signs of gradient masking. Times are left out: a measurement gives the same bits on every repetition.

    Args:
        run: the trained model and its data.
        suite: attacks in their order.
        eps: perturbation budget; "run" for the run's own.
        samples: first samples of the split; None for all.
        attacked_samples: the first of them that attacks see; None for all. Clean accuracy is of all.
        split: which split.
        precision: of the search; whether a sample is broken is always decided in fp32.
    """
    x, y = run.subset(split, samples)
    result = run_suite(
        run.model,
        x[:attacked_samples],
        y[:attacked_samples],
        suite,
        run.attack_eps(eps),
        seed=run.seed,
        precision=precision,
        state_dir=run.state,
    )
    rows = [row for row in result.rows() if row["metric"] not in ("seconds", "attempted", "broken")]
    clean = percent_true_fp32(correctly_classified(run.model, x, y))
    # Clean accuracy is the accuracy under the attack "clean", so that a table can have a column for it.
    changes = {"clean_accuracy": {"metric": "robust_accuracy", "value": clean, "samples": len(y)}}
    return [row | changes.get(row["metric"], {}) | _worst_case_name(row, suite) for row in rows]


def _worst_case_name(row: dict[str, Any], suite: Suite) -> dict[str, str]:
    """The rows of the whole suite have the same name at every scale; the column ``suite`` says which suite it was."""
    return {"attack": "worst case"} if row["attack"] == suite.name else {}
