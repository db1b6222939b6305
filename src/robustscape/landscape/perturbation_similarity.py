"""Similarity of adversarial perturbations at displaced weights: liu2020 tables 1 and 2.

    D+-(a) = attack(x; theta +- a v) - x,      mean over x of <D+, D-> / (||D+|| ||D-||)

along the top eigenvector v of the adversarial Hessian and along a random unit vector. The two attacks start from independent
random points, so even at a = 0 the cosine is below 1. Cost: for each direction and displacement two attacks on each split.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun, columns
from robustscape.landscape.directions import Direction, movable, unit_random
from robustscape.landscape.hessian import top_directions
from robustscape.landscape.surface import evaluate


def perturbation_cosines(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosine (n,) of each pair of perturbations (n, ...), and whether both are nonzero, bool (n,); 0 if one is 0."""
    a, b = first.flatten(1).double(), second.flatten(1).double()
    lengths = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    return (a * b).sum(1) / lengths.clamp_min(torch.finfo(torch.float64).tiny), lengths > 0


def perturbation_similarity(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    distances: list[float],
    eps: float | Literal["run"] = "run",
    directions: Annotated[int, Field(ge=1)] = 1,
    samples: Annotated[int, Field(ge=1)] | None = None,
    hessian_samples: Annotated[int, Field(ge=1)] | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return rows perturbation_cosine and sign_cosine (training set) and robust_test_error (percent), per direction and a.

    Means are over the pairs in which neither perturbation is zero; the column ``zero_perturbations`` is the percentage of the
    others. Errors are means of the model at +a and at -a.

    Args:
        run: the trained model and its data.
        attack: the perturbation.
        distances: values of a, the displacement along a unit vector of all parameters.
        eps: perturbation budget; "run" for the run's own.
        directions: number of random vectors, each with its own rows; there is one top eigenvector.
        samples: first samples of each split; None for all.
        hessian_samples: first training samples for the Hessian; None: as many as ``samples``.
        seed: of starts and directions.
    """
    attack_eps = run.attack_eps(eps)
    x, y = run.subset("train", samples)
    inputs, labels = run.subset("test", samples)
    points = run.subset("train", hessian_samples or samples)
    named: list[tuple[str, int, Direction]] = [
        ("eigenvector", 0, top_directions(run.model, *points, attack, attack_eps, 1, seed=seed)[0])
    ]
    named += [("random", number, unit_random(run.model, seed, number)) for number in range(directions)]
    entries = []
    with movable(run.model) as move:

        def attacked(clean: Tensor, truth: Tensor, vector: Direction, at: float, start: int) -> Tensor:
            move([vector], [at])
            return craft(run.model, clean, truth, attack, attack_eps, seed=start)

        for name, number, vector in named:
            for distance in distances:
                # Seeds of the two signs differ, those of the displacements do not: only the weights move along a row.
                sides = [
                    attacked(x, y, vector, sign * distance, 2 * seed + start) - x
                    for start, sign in enumerate((1.0, -1.0))
                ]
                cosine, both_nonzero = perturbation_cosines(*sides)
                signs, _ = perturbation_cosines(sides[0].sign(), sides[1].sign())
                wrong = []
                for start, sign in enumerate((1.0, -1.0)):
                    found = attacked(inputs, labels, vector, sign * distance, 2 * seed + start)
                    wrong.append(percent_true(~evaluate(run.model, found, labels)[1]))
                zero = percent_true(~both_nonzero)
                measured = (
                    ("perturbation_cosine", cosine[both_nonzero].mean().item(), "cosine"),
                    ("sign_cosine", signs[both_nonzero].mean().item(), "cosine"),
                    ("robust_test_error", sum(wrong) / 2, "percent"),
                )
                entries += [
                    {
                        "direction": name,
                        "draw": number,
                        "a": distance,
                        "metric": metric,
                        "value": value,
                        "unit": unit,
                        "zero_perturbations": zero,
                    }
                    for metric, value, unit in measured
                ]
    shared = {**columns(attack, attack_eps, "train", len(y)), "hessian_samples": len(points[1])}
    return [shared | entry for entry in entries]
