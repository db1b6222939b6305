"""RMSProp: its formula, and the defaults of ma2025 appendix 4.A."""

from __future__ import annotations

import torch
from torch import nn

from robustscape.training.optimizers.rmsprop import rmsprop


def test_the_formula() -> None:
    """v <- a v + (1 - a) g^2 from v = 0; w <- w - lr g / (sqrt(v) + eps): no bias correction, eps outside the root."""
    w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = rmsprop([w], lr=0.1)
    value, v = w.detach().clone(), torch.zeros(2, dtype=torch.float64)
    for step in range(5):
        gradient = torch.tensor([0.3 + step, -1e-9], dtype=torch.float64)
        w.grad = gradient.clone()
        optimizer.step()
        v = 0.99 * v + 0.01 * gradient**2
        value = value - 0.1 * gradient / (v.sqrt() + 1e-8)
        torch.testing.assert_close(w.detach(), value)


def test_defaults_are_those_of_the_work() -> None:
    (group,) = rmsprop([nn.Parameter(torch.zeros(1))], lr=5e-4).param_groups
    assert {key: group[key] for key in ("lr", "alpha", "eps", "weight_decay", "momentum", "centered")} == {
        "lr": 5e-4,
        "alpha": 0.99,
        "eps": 1e-8,
        "weight_decay": 0,
        "momentum": 0,
        "centered": False,
    }
