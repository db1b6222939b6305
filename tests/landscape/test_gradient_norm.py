"""The norm of the gradient at trained weights: that of the attacked loss, with kinks taken into account under Linf noise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape import logistic as closed
from robustscape.landscape.gradient_norm import gradient_norm

Net = tuple[nn.Module, Tensor, Tensor]
AsRun = Callable[..., TrainedRun]
PGD = AttackSpec(attack="pgd", parameters={"steps": 60, "step_size": 0.01})


def measured(run: TrainedRun, attack: AttackSpec, eps: float) -> tuple[float, float]:
    rows = gradient_norm(run, attack=attack, eps=eps)
    assert [row["metric"] for row in rows] == ["gradient_norm", "gradient_mapping_norm"]
    assert {row["samples"] for row in rows} == {len(run.train.y)} and {row["attack_eps"] for row in rows} == {eps}
    return rows[0]["value"], rows[1]["value"]


def test_without_an_attack_both_are_the_gradient_of_the_clean_loss(conv_net: Net, as_run: AsRun) -> None:
    model, x, y = conv_net
    loss = nn.functional.cross_entropy(model(x), y)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]).norm().item()
    assert measured(as_run(model, x, y), PGD, 0.0) == pytest.approx((expected, expected), rel=1e-4)


def test_under_linf_noise_the_mapping_is_that_of_the_worst_case(logistic: Net, as_run: AsRun) -> None:
    model, x, y = logistic
    with torch.no_grad():
        next(model.parameters())[:, ::2] = 1e-4
    weight, threat = next(model.parameters()).detach().flatten(), ThreatModel("Linf", 0.3)
    worst = closed.worst_case(weight, x.flatten(1), y, threat).float().view_as(x)
    loss = nn.functional.cross_entropy(model(worst), y)
    expected = torch.autograd.grad(loss, list(model.parameters()))[0].norm().item()
    mapping = closed.gradient_mapping(weight, x.flatten(1), y, threat).norm().item()
    assert measured(as_run(model, x, y), PGD, 0.3) == pytest.approx((expected, mapping), rel=1e-3)
    assert mapping < expected - 1e-3, "no weight is near a kink, so the test sees nothing"


def test_l2_noise_and_random_noise_have_no_kinks(
    logistic: Net, as_run: AsRun, pgd_l2: AttackSpec, noise: AttackSpec
) -> None:
    run = as_run(*logistic)
    for attack in (pgd_l2, noise):
        gradient, mapping = measured(run, attack, 0.1)
        assert gradient == mapping > 0


def test_an_attack_that_has_not_converged_has_no_mapping_of_the_worst_case(logistic: Net, as_run: AsRun) -> None:
    """Both rows are then of the loss under the attack; kinks of another loss are not its own."""
    model, x, y = logistic
    with torch.no_grad():
        next(model.parameters())[:, ::2] = 1e-4
    short = AttackSpec(attack="pgd", parameters={"steps": 3, "step_size": 0.01, "random_start": False})
    gradient, mapping = measured(as_run(model, x, y), short, 0.3)
    assert gradient == mapping > 0
