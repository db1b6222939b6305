"""Traces against their definitions, at an update worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustscape import catalog
from robustscape.training.recorder import TraceContext

#: Trace -> its value at the update below.
EXPECTED = {
    "distance": 13.0,  # the weights moved by (3, 4) and the bias by 12
    "gradient_norm": 3.0,  # gradients (1, 2) and 2
    "normalised_gradient_norm": 6.0,  # over a loss of 0.5
    "error": 75.0,  # three of four samples
}


def context() -> TraceContext:
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1, affine=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[4.0, 6.0]]))
        model[0].bias.fill_(11.0)
    model[0].weight.grad, model[0].bias.grad = torch.tensor([[1.0, 2.0]]), torch.tensor([2.0])
    model[1].running_mean.fill_(99.0)  # type: ignore[union-attr, operator]
    initial = {"0.weight": torch.tensor([[1.0, 2.0]]), "0.bias": torch.tensor([-1.0])}
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0], [0.0, 5.0]])
    y = torch.tensor([0, 0, 1, 0])
    return TraceContext(model, initial, logits, torch.zeros(4, 2), y, torch.tensor(0.5))


def test_every_trace_is_here() -> None:
    assert set(EXPECTED) == set(catalog.catalog_entries("trace"))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_trace_is_what_it_says(name: str) -> None:
    assert catalog.load_function("trace", name)(context()).item() == pytest.approx(EXPECTED[name])
