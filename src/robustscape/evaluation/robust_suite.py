"""Accuracy under a suite of attacks, worst case per sample: one row an attack, and one for all of them together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape.config.attacks import Suite
from robustscape.evaluation.harness.suite import run_suite
from robustscape.evaluation.trained_run import TrainedRun


def robust_suite(
    run: TrainedRun,
    *,
    suite: Suite,
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "test",
    precision: Literal["fp32", "bf16"] = "fp32",
) -> list[dict[str, Any]]:
    """Rows robust_accuracy (percent): "clean", after each attack of the suite in its order, and the "worst case" of all.

    Beside them the passes that each cost a sample, and the signs of gradient masking as columns ``flag_...``.

    Times are left out: a measurement is the same bits on every repetition.

    Args:
        run: the trained model and its data.
        suite: attacks in their order.
        eps: perturbation budget; "run" for the run's own.
        samples: first samples of the split; None for all.
        split: which split.
        precision: of the search; whether a sample is broken is always decided in fp32.
    """
    result = run_suite(
        run.model,
        *run.subset(split, samples),
        suite,
        run.attack_eps(eps),
        seed=run.seed,
        precision=precision,
        state_dir=run.state,
    )
    rows = [row for row in result.rows() if row["metric"] not in ("seconds", "attempted", "broken")]
    return [row | NAMES.get(row["metric"], {}) | _worst(row, suite) for row in rows]


#: The clean inputs are one more "attack" here, so that a table has them in a column beside the others.
NAMES = {"clean_accuracy": {"metric": "robust_accuracy"}}


def _worst(row: dict[str, Any], suite: Suite) -> dict[str, str]:
    """The rows of the whole suite are called the same at every scale; the column ``suite`` names it."""
    return {"attack": "worst case"} if row["attack"] == suite.name else {}
