"""The nets of ma2025 chapter 3: sizes, what they compute, and that those without normalisation begin tame and learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustscape.models import build_classifier

NETS: dict[str, dict[str, Any]] = {"resnet10": {"width": 8}, "cnn6": {"width": 8}, "cnn8": {"width": 8}}


def count(architecture: str, classes: int, **parameters: Any) -> int:
    return sum(p.numel() for p in build_classifier(architecture, parameters, (3, 32, 32), classes).parameters())


@pytest.mark.parametrize(
    ("architecture", "parameters", "expected"),
    [
        ("resnet10", {"norm": "batch"}, 4_903_242),
        # without normalisation: 2,880 biases in place of as many weights and biases of it, and four factors
        ("resnet10", {"norm": "none"}, 4_903_242 - 2_880 + 4),
        ("cnn6", {}, 1_637_730),
        ("cnn8", {}, 1_942_370),
    ],
)
def test_parameter_counts(architecture: str, parameters: dict[str, Any], expected: int) -> None:
    assert count(architecture, 10, **parameters) == expected


def test_three_resnet10_are_the_har_of_cifar10() -> None:
    """Appendix of the specification of chapter 5: a meta classifier of 2 and leaf classifiers of 6 and 4."""
    assert sum(count("resnet10", classes, norm="batch") for classes in (2, 6, 4)) == 14_700_492


@pytest.mark.parametrize("architecture", NETS)
@pytest.mark.parametrize("shape", [(1, 7, 7), (1, 8, 8), (3, 32, 32)])
def test_shapes_and_independent_samples(architecture: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = build_classifier(architecture, NETS[architecture], shape, 5)
    x = torch.rand(3, *shape)
    logits = model(x)
    assert logits.shape == (3, 5) and 0.02 < logits.std() < 5
    torch.testing.assert_close(model(x[1:2]), logits[1:2], rtol=1e-4, atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


@pytest.mark.parametrize(("architecture", "convolutions"), [("cnn6", 6), ("cnn8", 8)])
def test_the_number_of_convolutions_is_in_the_name(architecture: str, convolutions: int) -> None:
    model = build_classifier(architecture, {}, (3, 32, 32), 10)
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == convolutions
    assert [m.out_features for m in model.modules() if isinstance(m, nn.Linear)] == [256, 10]


def test_resnet10_without_normalisation_begins_as_its_shortcuts() -> None:
    torch.manual_seed(0)
    net = build_classifier("resnet10", {"width": 4}, (1, 8, 8), 5).net
    x = torch.rand(4, 1, 8, 8)
    z = F.relu(net.conv1(x))
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        z = F.relu(stage.shortcut(z))
    torch.testing.assert_close(net(x), net.linear(z.mean((2, 3))))
    with torch.no_grad():
        net.layer3.scale.fill_(1.0)
    assert not torch.allclose(net(x), net.linear(z.mean((2, 3))))


@pytest.mark.parametrize("architecture", NETS)
def test_they_learn_at_the_rate_of_the_work(architecture: str) -> None:
    torch.manual_seed(0)
    model = build_classifier(architecture, NETS[architecture], (1, 8, 8), 4)
    y = torch.arange(64) % 4
    x = 0.4 * torch.rand(64, 1, 8, 8) + 0.6 * F.one_hot(y, 4).repeat_interleave(2, 1)[:, None, :, None]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]
