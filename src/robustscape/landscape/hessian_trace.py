"""The trace of the adversarial loss's Hessian: the sum of all eigenvalues, by Hutchinson's estimator."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape import devices
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns
from robustscape.landscape import hessian
from robustscape.landscape.directions import flatten, parameters_of
from robustscape.landscape.lanczos import hutchinson


@devices.exact_fp32()
def hessian_trace(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    eps: float | Literal["run"] = "run",
    draws: Annotated[int, Field(ge=2)] = 32,
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "train",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return one row hessian_trace (perturbation held fixed) with the ``standard_error`` of the estimate.

    Cost: ``draws`` products with the Hessian.

    Args:
        run: the trained model and its data.
        attack: the perturbation.
        eps: its perturbation budget; "run" for the run's own.
        draws: number of vectors of random signs.
        samples: first samples of the split; None for all of it.
        split: which split.
        seed: of attack and vectors.
    """
    eps = run.attack_eps(eps)
    x, y = run.subset(split, samples)
    operator, how = hessian.adversarial_operator(run.model, x, y, attack, eps, convention="fixed", seed=seed)
    estimates = hutchinson(operator, hessian.parameter_count(run.model), draws, flatten(parameters_of(run.model)), seed)
    error = (estimates.std() / draws**0.5).item()
    shared = {**protocol_columns(attack, eps, split, len(y)), **how, "solver": "hutchinson", "draws": draws}
    value = estimates.mean().item()
    return [shared | {"metric": "hessian_trace", "value": value, "unit": "1", "standard_error": error}]
