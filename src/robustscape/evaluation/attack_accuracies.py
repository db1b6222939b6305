"""Accuracy clean, under each of some attacks by itself, and under a suite taken together: a line of kim2023's tables.

Every column of the work's tables 2.1, 2.2 and 3.5 to 3.9 is the accuracy under one attack, which ``robust_suite``, whose attacks
see only what earlier ones left, does not give. All are measured on the same samples. Cost: those of the attacks.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape.config.attacks import Suite
from robustscape.evaluation._adversarial_method import method_columns
from robustscape.evaluation.harness.craft import correctly_classified, craft, percent
from robustscape.evaluation.harness.suite import run_suite
from robustscape.evaluation.trained_run import TrainedRun, columns

#: As the printed numbers call it.
ONLY_RIGHT = "accuracy_on_correctly_classified_attack_only_if_correct"


def attack_accuracies(
    run: TrainedRun,
    *,
    attacks: Suite,
    suite: Suite | None = None,
    suite_name: str = "autoattack",
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "test",
) -> list[dict[str, Any]]:
    """Rows accuracy (percent) with the attack's name as ``attack``: clean, each of ``attacks`` alone, ``suite`` together.

    One more row, of the metric ``ONLY_RIGHT``, if FGSM is among ``attacks``: the single step is made only for what is classified
    correctly, and everything else stays wrong; below the accuracy under the single step where that repairs mistakes (kim2023
    section 2.4).

    Args:
        run: the trained model and its data.
        attacks: each evaluated by itself, on all samples.
        suite: evaluated together, worst case a sample; None: not.
        suite_name: what its row is called; the column ``suite`` has its own name.
        eps: perturbation budget; "run" for the run's own.
        samples: first samples of the split; None for all.
        split: which split.
    """
    radius, (x, y) = run.attack_eps(eps), run.subset(split, samples)
    right = correctly_classified(run.model, x, y)
    shared = {**method_columns(run), "attack_eps": radius, "split": split, "samples": len(y), "model_mode": "eval"}
    rows: list[dict[str, Any]] = [{"attack": "clean", "metric": "accuracy", "value": percent(right)}]
    for name, spec in attacks.attacks:
        withstood = correctly_classified(run.model, craft(run.model, x, y, spec, radius, seed=run.seed), y)
        how = columns(spec, radius, split, len(y)) | {"attack": name}
        rows.append({**how, "metric": "accuracy", "value": percent(withstood)})
        if spec.attack == "fgsm":
            rows.append({**how, "metric": ONLY_RIGHT, "value": percent(withstood & right)})
    if suite is not None:
        result = run_suite(run.model, x, y, suite, radius, seed=run.seed, state_dir=run.state)
        whole = {"attack": suite_name, "metric": "accuracy", "value": result.robust_accuracy, "suite": suite.name}
        rows.append(whole | result.flags)
    return [{**shared, **row, "unit": "percent"} for row in rows]
