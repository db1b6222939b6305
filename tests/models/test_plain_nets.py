"""Nets without batch normalisation: what they are made of, and that they begin tame."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustscape.models import build_classifier


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (7,)])
def test_mlp_is_its_definition(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = build_classifier("mlp", {"hidden": [5, 4]}, shape, 3)
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linear] == [5, 4, 3] and linear[0].in_features == torch.Size(shape).numel()
    x = torch.rand(6, *shape)
    hidden = torch.relu(linear[1](torch.relu(linear[0](x.flatten(1)))))
    torch.testing.assert_close(model(x), linear[2](hidden))


def test_resnet18_without_normalisation_has_biases_instead() -> None:
    plain = build_classifier("resnet18", {"width": 4, "norm": "none"}, (3, 16, 16), 10)
    usual = build_classifier("resnet18", {"width": 4}, (3, 16, 16), 10)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in plain.modules())
    convolutions = [m for m in plain.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 20 and all(m.bias is not None for m in convolutions)
    assert all(m.bias is None for m in usual.modules() if isinstance(m, nn.Conv2d))
    assert sum(isinstance(m, nn.BatchNorm2d) for m in usual.modules()) == 20


def test_resnet18_without_normalisation_begins_with_logits_of_ordinary_size_and_learns() -> None:
    torch.manual_seed(0)
    model = build_classifier("resnet18", {"width": 8, "norm": "none"}, (3, 16, 16), 10, [0.5] * 3, [0.25] * 3)
    x, y = torch.rand(64, 3, 16, 16), torch.arange(64) % 10
    assert 0.05 < model(x).std() < 5
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1 and all(
        p.grad.abs().sum() > 0 for p in model.parameters() if p.grad is not None
    )
