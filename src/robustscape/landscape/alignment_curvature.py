"""Gradient and curvature of the loss around an image, before and after alignment: ma2025 table 6.2 (section 6.4.3).

||grad_x l(x + dx)||_2 and the largest eigenvalue of the Hessian of l in x, means over images, at dx = 0, at Gaussian noise of
variance 0.01 (not clipped), and at the perturbation of PGD, made on the net that is evaluated (the work does not say on which).
BatchNorm is in eval mode. The Hessian of transformers is left out, as in the work. Cost: an attack on original and aligned run,
up to 50 double backward passes for each Hessian, and the choice of learning rates.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape import devices
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen_copy, input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.alignments import (
    base_runs,
    chosen_alignments,
    evaluated_images,
    find_base,
    row_names,
)
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.trained_run import TrainedRun, attack_settings
from robustscape.landscape.input_hessian import top_input_eigenvalues

#: Images whose Hessians are kept at once.
BATCH = 50


@devices.exact_fp32()
def alignment_curvature(
    runs: list[TrainedRun],
    *,
    attack: AttackSpec,
    eps: Annotated[float, Field(gt=0)],
    by_eps: Annotated[float, Field(gt=0)],
    variance: Annotated[float, Field(gt=0)] = 0.01,
    samples: Annotated[int, Field(ge=1)] | None = None,
    hessian_samples: Annotated[int, Field(ge=1)] | None = None,
    hessian_of: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    target_seed: int = 1,
    held_out: str = "res34",
) -> list[dict[str, Any]]:
    """Return rows input_gradient_l2_norm and input_hessian_top_eigenvalue.

    Columns: source, witness, input_perturbation ("clean", "gaussian" or "pgd"), model ("original" or "aligned") and draw, the
    repetition's seed.

    Args:
        runs: base nets and aligned ones, of one data set.
        attack: the attack, which also chooses the learning rates.
        eps: its perturbation budget.
        by_eps: budget of the examples by which learning rates are chosen, one for all measurements.
        variance: of the noise.
        samples: first test images; the last ones are kept for the choice.
        hessian_samples: the first of them whose Hessians count; None: all.
        hessian_of: names of the sources whose Hessians are computed, nets of ReLUs.
        target_seed: seed of the held-out net.
        held_out: the net that chooses learning rates.
    """
    base = base_runs(runs)
    x, y = evaluated_images(runs[0], samples)
    index = torch.arange(len(y), device=x.device)
    rows: list[dict[str, Any]] = []
    for alignment in chosen_alignments(runs, find_base(base, held_out, target_seed), attack, by_eps):
        for run in alignment.repetitions:
            noise = variance**0.5 * SampleGenerator.seeded(run.seed, index, x.device).normal(x.shape[1:]).to(x)
            for model, one in (("original", alignment.original), ("aligned", run)):
                places = {"clean": x, "gaussian": x + noise, "pgd": craft(one.model, x, y, attack, eps, seed=run.seed)}
                for place, points in places.items():
                    net = frozen_copy(one.model, x)
                    values = {"input_gradient_l2_norm": _gradient_norms(net, points, y)}
                    if alignment.source in hessian_of:
                        count = slice(hessian_samples)
                        values["input_hessian_top_eigenvalue"] = torch.cat(
                            [
                                top_input_eigenvalues(net, a, b, numbers, run.seed)
                                for a, b, numbers in zip(
                                    points[count].split(BATCH),
                                    y[count].split(BATCH),
                                    index[count].split(BATCH),
                                    strict=True,
                                )
                            ]
                        )
                    rows += [
                        {
                            **row_names(one),
                            "source": alignment.source,
                            "witness": alignment.witness,
                            "input_perturbation": place,
                            "model": model,
                            "draw": run.seed,
                            "metric": metric,
                            "value": found.double().mean().item(),
                            "unit": "1",
                            "samples": len(found),
                            "attack": attack.attack,
                            "norm": attack.norm,
                            "attack_eps": eps,
                            "model_mode": attack.model_mode,
                            **attack_settings(attack),
                        }
                        for metric, found in values.items()
                    ]
    return rows


def _gradient_norms(net: Any, points: Tensor, y: Tensor) -> Tensor:
    parts = [
        input_gradient(net, a, b, cross_entropy)[2].flatten(1).norm(dim=1)
        for a, b in zip(points.split(BATCH), y.split(BATCH), strict=True)
    ]
    return torch.cat(parts)
