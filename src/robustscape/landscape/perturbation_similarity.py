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

from robustscape import devices
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns
from robustscape.landscape.directions import Direction, movable, unit_random
from robustscape.landscape.hessian import top_directions
from robustscape.landscape.surface import losses_and_correctness


def perturbation_cosines(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosine (n,) of each pair of perturbations (n, ...), and whether both are nonzero, bool (n,); 0 if one is 0."""
    a, b = first.flatten(1).double(), second.flatten(1).double()
    lengths = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    return (a * b).sum(1) / lengths.clamp_min(torch.finfo(torch.float64).tiny), lengths > 0


@devices.exact_fp32()
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
    entries: list[dict[str, Any]] = []
    with movable(run.model) as move:
        for name, number, vector in named:
            for distance in distances:
                # Seeds of the two signs differ, those of the displacements do not: only the weights change along a row.
                sides, wrong = [], []
                for start, sign in enumerate((1.0, -1.0)):
                    move([vector], [sign * distance])
                    attack_seed = 2 * seed + start
                    sides.append(craft(run.model, x, y, attack, attack_eps, seed=attack_seed) - x)
                    x_adv = craft(run.model, inputs, labels, attack, attack_eps, seed=attack_seed)
                    wrong.append(percent_true(~losses_and_correctness(run.model, x_adv, labels)[1]))
                place = {"direction": name, "draw": number, "a": distance}
                entries += [place | row for row in _similarity_rows(sides[0], sides[1])]
                error = {"metric": "robust_test_error", "value": sum(wrong) / 2, "unit": "percent"}
                entries.append({**place, **error, "zero_perturbations": entries[-1]["zero_perturbations"]})
    shared = {**protocol_columns(attack, attack_eps, "train", len(y)), "hessian_samples": len(points[1])}
    return [shared | entry for entry in entries]


def _similarity_rows(first: Tensor, second: Tensor) -> list[dict[str, Any]]:
    """The mean cosine of perturbations (n, ...) and that of their signs, over the pairs in which neither is zero."""
    cosine, both_nonzero = perturbation_cosines(first, second)
    sign_cosine, _ = perturbation_cosines(first.sign(), second.sign())
    zero = percent_true(~both_nonzero)
    return [
        {"metric": metric, "value": values[both_nonzero].mean().item(), "unit": "cosine", "zero_perturbations": zero}
        for metric, values in (("perturbation_cosine", cosine), ("sign_cosine", sign_cosine))
    ]
