"""The norm of the gradient of the loss that training minimised: how near the weights are to a minimum (yamada2021 theorem 1).

The theorem is about the minimum of the adversarial loss, and the work takes it for granted that training comes there. For
Linf noise the gradient itself cannot tell: the worst case of a linear model, eta = -s eps sign(w), gives the loss a kink at
w_i = 0 in every coordinate, as an L1 penalty would, and the minimum lies on hundreds of kinks, where the gradient of each side
stays away from 0. So there is a second norm, that of the gradient mapping: the gradient away from kinks, and 0 at a weight that
lies on a kink between a falling and a rising side.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from robustscape import devices
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns
from robustscape.landscape import hessian, logistic
from robustscape.landscape.directions import flatten, parameters_of
from robustscape.landscape.mean_loss import mean_loss_gradient


@devices.exact_fp32()
def gradient_norm(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    eps: float | Literal["run"] = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "train",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the norms of the gradient, and of the gradient mapping, of the mean attacked loss with respect to all weights.

    Rows gradient_norm and gradient_mapping_norm (nats per unit of a weight). The first is the gradient at the attacked inputs,
    which are held: by the envelope theorem that of the maximum, and what an update of adversarial training descends. The second
    differs from it for logistic regression without a bias under Linf PGD that finds the worst case only, whose kinks are known in
    closed form (``logistic.gradient_mapping``). Weight decay is no part of either.

    Args:
        run: the trained model and its data.
        attack: the perturbation; rows carry its settings.
        eps: its perturbation budget; "run" for the run's own.
        samples: first samples of the split; None for all of it.
        split: which split.
        seed: of the attack.
    """
    eps = run.attack_eps(eps)
    x, y = run.subset(split, samples)
    x_adv = x if eps == 0 else craft(run.model, x, y, attack, eps, seed=seed)
    gradient = flatten(mean_loss_gradient(run.model, x_adv, y, batch_size=hessian.BATCH)).double()
    mapping = gradient
    kinked = eps > 0 and attack.norm == "Linf" and hessian.has_closed_form(run.model, attack)
    if kinked and hessian.worst_case_reached(run.model, x, y, x_adv, attack, eps) >= hessian.LEAST_REACHED:
        weight = flatten(parameters_of(run.model))
        mapping = logistic.gradient_mapping(weight, x.flatten(1), y, ThreatModel("Linf", eps, attack.bounds))
    shared = protocol_columns(attack, eps, split, len(y))
    return [
        {**shared, "metric": metric, "value": torch.linalg.vector_norm(vector).item(), "unit": "nats"}
        for metric, vector in (("gradient_norm", gradient), ("gradient_mapping_norm", mapping))
    ]
