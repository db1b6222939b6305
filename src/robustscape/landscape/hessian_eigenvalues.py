"""The largest eigenvalues of the adversarial loss's Hessian: yamada2021 figure 3, liu2020 figures 7 and 9."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape import devices
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns
from robustscape.landscape import hessian
from robustscape.landscape.directions import flatten, parameters_of
from robustscape.landscape.lanczos import dense_eigenpairs, top_eigenpairs

#: Up to this number of parameters the eigenvalues come from the full matrix, exactly.
DENSE = 1024


@devices.exact_fp32()
def hessian_eigenvalues(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    eps: float | Literal["run"] = "run",
    top: Annotated[int, Field(ge=1)] = 3,
    convention: Literal["fixed", "total"] = "fixed",
    which: Literal["value", "magnitude"] = "value",
    tolerance: Annotated[float, Field(gt=0)] = 1e-3,
    max_steps: Annotated[int, Field(ge=1)] = 200,
    difference_step: Annotated[float, Field(gt=0)] = 1e-2,
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "train",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the top eigenvalues of the Hessian with respect to all parameters, without filter normalisation.

    Rows hessian_eigenvalue, one per rank, with the residual ||H u - lambda u|| / max |lambda| that was reached and
    whether it is within the tolerance. The attack's ``bounds`` decide whether inputs are clipped to the legal range.

    Args:
        run: the trained model and its data.
        attack: the perturbation; rows carry its settings.
        eps: its perturbation budget; "run" for the run's own.
        top: number of eigenvalues.
        convention: "fixed": the perturbation is held where the attack put it; "total": it follows the weights (exact
            for logistic regression under PGD, else a central difference of the re-attacked gradient).
        which: "value" for the largest eigenvalues, "magnitude" for the largest in absolute value.
        tolerance: residual at which an eigenpair counts as converged.
        max_steps: largest number of Lanczos steps (nets with more than 1,024 parameters).
        difference_step: distance of a central difference, relative to the norm of the weights.
        samples: first samples of the split; None for all of it.
        split: which split.
        seed: of attack and start vector.
    """
    eps = run.attack_eps(eps)
    x, y = run.subset(split, samples)
    operator, how = hessian.adversarial_operator(
        run.model, x, y, attack, eps, convention=convention, seed=seed, step=difference_step
    )
    size, like = hessian.parameter_count(run.model), flatten(parameters_of(run.model))
    if size <= DENSE:
        solver = "dense"
        pairs = dense_eigenpairs(operator, size, top, like, which=which, tolerance=tolerance)
    else:
        solver = "lanczos"
        pairs = top_eigenpairs(
            operator, size, top, like, which=which, tolerance=tolerance, max_steps=max_steps, seed=seed
        )
    shared = {
        **protocol_columns(attack, eps, split, len(y)),
        **how,
        "solver": solver,
        "which": which,
        "tolerance": tolerance,
    }
    found = zip(pairs.values.tolist(), pairs.residuals.tolist(), pairs.converged.tolist(), strict=True)
    return [
        shared
        | {
            "rank": rank,
            "residual": residual,
            "converged": converged,
            "products": pairs.products,
            "metric": "hessian_eigenvalue",
            "value": value,
            "unit": "1",
        }
        for rank, (value, residual, converged) in enumerate(found, start=1)
    ]
