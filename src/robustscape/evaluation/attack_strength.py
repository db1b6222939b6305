"""Robust accuracy against growing eps or number of steps: a rise is a sign of gradient masking (contract 8).

Each point is an attack of its own, unlike ``harness.curve``, whose result cannot rise by construction. Cost: the sum of the
attacks; samples whose clean input is misclassified are not attacked.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from robustscape.config.attacks import AttackSpec
from robustscape.errors import ConfigError
from robustscape.evaluation.harness import flags
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns


def attack_strength(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    eps: list[float] | None = None,
    steps: list[int] | None = None,
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return one row robust_accuracy (percent) per point; the column ``flag_non_monotone`` is about the whole curve.

    Args:
        run: the trained model and its test split.
        attack: the attack; its steps should be relative to eps (``rel_step_size``).
        eps: perturbation budgets, rising; give these or ``steps``.
        steps: numbers of steps, rising, at the run's own eps; the attack must have the parameter ``steps``.
        samples: first samples of the test split; None for all.

    Raises:
        ConfigError: both or neither of ``eps`` and ``steps``, or steps for an attack that has none.
    """
    if (eps is None) == (steps is None):
        raise ConfigError("attack_strength: give either eps or steps.")
    if steps and "steps" not in attack.parameters:
        raise ConfigError(f"attack_strength: attack '{attack.attack}' has no parameter 'steps'.")
    x, y = run.subset("test", samples)
    right = correctly_classified(run.model, x, y).nonzero().squeeze(1)
    points = [(float(budget), attack) for budget in eps or ()]
    for count in steps or ():
        points.append((run.eps, attack.model_copy(update={"parameters": {**attack.parameters, "steps": count}})))
    accuracies = []
    for attack_eps, spec in points:
        robust = len(right)
        if attack_eps > 0 and len(right):
            x_adv = craft(run.model, x[right], y[right], spec, attack_eps, seed=run.seed, index=right.cpu())
            robust = int(correctly_classified(run.model, x_adv, y[right]).sum())
        accuracies.append(100 * robust / max(len(y), 1))
    masked = flags.non_monotone(accuracies)
    return [
        {
            **protocol_columns(spec, attack_eps, "test", len(y)),
            "flag_non_monotone": masked,
            "metric": "robust_accuracy",
            "value": accuracy,
            "unit": "percent",
        }
        for (attack_eps, spec), accuracy in zip(points, accuracies, strict=True)
    ]
