"""Clean accuracy, accuracy under each of several attacks alone, and under a suite together: a line of kim2023's tables.

Each column of the work's tables 2.1, 2.2 and 3.5 to 3.9 is the accuracy under one attack on all samples; in ``robust_suite`` an
attack sees only the samples that earlier ones left robust. All attacks see the same samples; where they are not all of those
that clean accuracy is of, accuracies under attack are to be compared with ``CLEAN_OF_ATTACKED``. Cost: that of the attacks.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape.config.attacks import Suite
from robustscape.evaluation._method_columns import method_columns
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.harness.suite import run_suite
from robustscape.evaluation.percentages import percent_true_fp32
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns

#: The column ``attack`` of clean accuracy on the samples that the attacks see.
CLEAN_OF_ATTACKED = "clean_of_attacked"

#: The metric's name in the printed numbers.
ATTACKED_ONLY_IF_CORRECT = "accuracy_on_correctly_classified_attack_only_if_correct"


def attack_accuracies(
    run: TrainedRun,
    *,
    attacks: Suite,
    suite: Suite | None = None,
    suite_name: str = "autoattack",
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    attacked_samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "test",
) -> list[dict[str, Any]]:
    """Return rows accuracy (percent) with the attack's name as ``attack``: clean, each of ``attacks`` alone, ``suite`` together.

    Beside ``clean``, which is of all samples, ``CLEAN_OF_ATTACKED`` is of those that the attacks see.
    If FGSM is among ``attacks``, one more row has the metric ``ATTACKED_ONLY_IF_CORRECT``: only samples classified correctly are
    attacked, and all others count as wrong. It is below the accuracy under FGSM if the single step corrects mistakes (kim2023
    section 2.4).

    Args:
        run: the trained model and its data.
        attacks: each evaluated by itself, on all samples.
        suite: evaluated together, worst case per sample; None: none.
        suite_name: the suite's name in the column ``attack``, the same at every scale; the column ``suite`` has its actual name.
        eps: perturbation budget; "run" for the run's own.
        samples: first samples of the split; None for all.
        attacked_samples: the first of them that attacks see; None for all. Clean accuracy is of all.
        split: which split.
    """
    attack_eps = run.attack_eps(eps)
    rows = accuracies_alone(run, attacks, attack_eps, samples, attacked_samples, split)
    if suite is None:
        return rows
    seen = samples if attacked_samples is None else min(attacked_samples, samples or attacked_samples)
    return [*rows, accuracy_together(run, suite, suite_name, attack_eps, seen, split)]


def accuracies_alone(
    run: TrainedRun,
    attacks: Suite,
    attack_eps: float,
    samples: int | None,
    attacked_samples: int | None,
    split: Literal["train", "test"],
) -> list[dict[str, Any]]:
    """Return the rows of ``attack_accuracies`` but that of the suite; the arguments are the same."""
    x, y = run.subset(split, samples)
    right = correctly_classified(run.model, x, y)
    clean = {"attack": "clean", "metric": "accuracy", "value": percent_true_fp32(right), "samples": len(y)}
    rows: list[dict[str, Any]] = [clean]
    x, y, right = x[:attacked_samples], y[:attacked_samples], right[:attacked_samples]
    rows.append({"attack": CLEAN_OF_ATTACKED, "metric": "accuracy", "value": percent_true_fp32(right)})
    for name, spec in attacks.attacks:
        robust = correctly_classified(run.model, craft(run.model, x, y, spec, attack_eps, seed=run.seed), y)
        protocol = protocol_columns(spec, attack_eps, split, len(y)) | {"attack": name}
        rows.append({**protocol, "metric": "accuracy", "value": percent_true_fp32(robust)})
        if spec.attack == "fgsm":
            rows.append({**protocol, "metric": ATTACKED_ONLY_IF_CORRECT, "value": percent_true_fp32(robust & right)})
    return [{**_shared_columns(run, attack_eps, split, len(y)), **row} for row in rows]


def accuracy_together(
    run: TrainedRun,
    suite: Suite,
    suite_name: str,
    attack_eps: float,
    samples: int | None,
    split: Literal["train", "test"],
) -> dict[str, Any]:
    """Return the row of the suite in ``attack_accuracies``, over the first ``samples``; the arguments are the same."""
    x, y = run.subset(split, samples)
    result = run_suite(run.model, x, y, suite, attack_eps, seed=run.seed, state_dir=run.state)
    together = {"attack": suite_name, "metric": "accuracy", "value": result.robust_accuracy, "suite": suite.name}
    return {**_shared_columns(run, attack_eps, split, len(y)), **together, **result.flags}


def _shared_columns(run: TrainedRun, attack_eps: float, split: str, samples: int) -> dict[str, Any]:
    protocol = {"attack_eps": attack_eps, "split": split, "samples": samples, "model_mode": "eval"}
    return {**method_columns(run), **protocol, "unit": "percent"}
