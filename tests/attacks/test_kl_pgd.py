"""PGD on the divergence: geometry, independence of batches, and why it must not start at x."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.attacks.kl_pgd import kl_divergence
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 5)).double()


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.rand(23, 3, 2, 2).double(), torch.randint(5, (23,))


def spec(**changes: Any) -> AttackSpec:
    fields = {"attack": "kl_pgd", "parameters": {"steps": 4}} | changes
    return AttackSpec.model_validate(fields)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("start", ["gaussian", "uniform"])
@pytest.mark.parametrize("eps", [2.0**-13, 0.125, 2.0])
def test_it_stays_in_the_ball_whatever_the_batches(norm: str, start: str, eps: float) -> None:
    """``craft`` refuses what leaves the ball or the range; a start of deviation 0.001 would leave a ball of 1/8192."""
    model, (x, y) = net(), batch()
    chosen = spec(norm=norm, parameters={"steps": 4, "start": start})
    whole = craft(model, x, y, chosen, eps, seed=3)
    order = torch.randperm(23)
    shuffled = craft(model, x[order], y[order], chosen, eps, seed=3, index=order, batch_size=4)
    torch.testing.assert_close(shuffled, whole[order], rtol=0, atol=1e-9)
    assert not torch.equal(whole, x) and torch.equal(whole, craft(model, x, 0 * y, chosen, eps, seed=3))
    mixed = craft(model, x, y, chosen, torch.tensor([0.0, eps]).double().repeat(12)[:23], seed=3)
    assert torch.equal(mixed[::2], x[::2])
    torch.testing.assert_close(mixed[1::2], whole[1::2], rtol=0, atol=1e-9)


def test_divergence_is_kullback_and_leiblers() -> None:
    torch.manual_seed(2)
    p, q = (
        torch.distributions.Categorical(logits=torch.randn(6, 4)),
        torch.distributions.Categorical(logits=torch.randn(6, 4)),
    )
    torch.testing.assert_close(kl_divergence(q.logits, p.logits), torch.distributions.kl_divergence(p, q))


def test_its_gradient_vanishes_at_the_clean_input() -> None:
    model, (x, _) = net(), batch()
    x = x.requires_grad_()
    (gradient,) = torch.autograd.grad(kl_divergence(model(x), model(x).detach()).sum(), x)
    assert gradient.abs().max() < 1e-12
