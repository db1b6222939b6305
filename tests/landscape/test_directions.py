"""Directions in parameter space, and moving along them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustscape.landscape.directions import (
    filter_normalised,
    flatten,
    gaussian_direction,
    movable,
    parameters_of,
    unflatten,
    unit_random,
)
from robustscape.models import build_classifier


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    model = build_classifier("resnet18", {"width": 2}, (3, 8, 8), 4, (0.5,) * 3, (0.2,) * 3)
    return model.eval()


def test_every_filter_has_the_norm_of_the_models_filter(net: nn.Module) -> None:
    direction = filter_normalised(net, seed=3)
    weights = parameters_of(net)
    assert direction.keys() == weights.keys()
    kernels = 0
    for name, h in direction.items():
        w = weights[name]
        assert h.shape == w.shape
        if w.dim() < 2:
            assert not h.any(), f"{name} is a bias or a normalisation and must not move"
            continue
        kernels += 1
        for m in range(w.shape[0]):
            torch.testing.assert_close(h[m].norm(), w[m].norm(), rtol=1e-5, atol=0.0)
    assert abs(nn.functional.cosine_similarity(flatten(direction), flatten(weights), dim=0)) < 0.1
    assert kernels == 21  # 1 + 16 + 3 shortcuts + 1 linear


def test_logistic_regression_is_one_filter() -> None:
    model = build_classifier("logistic_regression", {"init_std": 0.3}, (1, 5, 5), 2)
    h = flatten(filter_normalised(model, seed=0))
    torch.testing.assert_close(h.norm(), flatten(parameters_of(model)).norm(), rtol=1e-6, atol=0.0)


def test_a_filter_that_is_zero_does_not_move() -> None:
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight[0] = 0
    direction = filter_normalised(model, seed=0)["weight"]
    assert not direction[0].any() and direction[1].any()


def test_a_seed_means_one_direction_whatever_the_weights_and_the_global_generator(net: nn.Module) -> None:
    first = flatten(gaussian_direction(net, 5, 1))
    torch.manual_seed(99)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3)
    assert torch.equal(first, flatten(gaussian_direction(net, 5, 1)))
    for other in (flatten(gaussian_direction(net, 5, 2)), flatten(gaussian_direction(net, 6, 1))):
        assert abs(nn.functional.cosine_similarity(first, other, dim=0)) < 0.05


def test_gaussian_directions_are_standard_normal_and_differ_between_parameters(net: nn.Module) -> None:
    direction = gaussian_direction(net, 0)
    values = flatten(direction)
    assert abs(values.mean()) < 0.05 and abs(values.std() - 1) < 0.05
    same_shape = [direction["net.layer1.0.conv1.weight"], direction["net.layer1.0.conv2.weight"]]
    assert not torch.equal(*same_shape)


def test_unit_directions_have_norm_one_over_all_parameters(net: nn.Module) -> None:
    direction = unit_random(net, seed=0)
    torch.testing.assert_close(flatten(direction).norm(), torch.tensor(1.0), rtol=1e-5, atol=0.0)
    assert all(tensor.any() for tensor in direction.values())


def test_unflatten_inverts_flatten(net: nn.Module) -> None:
    like = parameters_of(net)
    again = unflatten(flatten(like), like)
    assert all(torch.equal(again[name], tensor) for name, tensor in like.items())


def test_moving_reaches_the_point_and_comes_back_bit_for_bit(net: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    directions = [filter_normalised(net, 0, number) for number in range(2)]
    with movable(net) as move:
        for coordinates in ([0.3, -0.7], [1e4, 0.1], [0.3, -0.7]):
            move(directions, coordinates)
        for name, tensor in parameters_of(net).items():
            expected = before[name] + 0.3 * directions[0][name] - 0.7 * directions[1][name]
            torch.testing.assert_close(tensor, expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_weights_come_back_after_an_error(net: nn.Module) -> None:
    before = flatten(parameters_of(net))

    def stopped() -> None:
        with movable(net) as move:
            move([gaussian_direction(net, 0)], [1.0])
            assert not torch.equal(flatten(parameters_of(net)), before)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert torch.equal(flatten(parameters_of(net)), before)
