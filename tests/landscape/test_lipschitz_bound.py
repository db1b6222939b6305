"""The Lipschitz bound against singular values of the operators written out as matrices, and against slopes that nets have."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.data import Split
from robustscape.errors import ConfigError
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape.lipschitz_bound import (
    largest_slope,
    layer_constant,
    lipschitz_bound,
    network_bound,
    operator_norm,
)
from robustscape.models import Normalize, build_classifier


def as_matrix(linear: Any, shape: tuple[int, ...]) -> Tensor:
    """The matrix of a map of inputs (1, *shape), an affine part left out: its columns are the images of the unit vectors."""
    size = math.prod(shape)
    units = torch.eye(size, dtype=torch.float64).view(size, *shape)
    with torch.no_grad():
        return (linear(units) - linear(torch.zeros_like(units))).flatten(1).T


def svd_norm(linear: Any, shape: tuple[int, ...]) -> float:
    return float(torch.linalg.matrix_norm(as_matrix(linear, shape), 2))


CONVOLUTIONS = {
    "3x3": lambda: nn.Conv2d(2, 3, 3, padding=1),
    "stride 2": lambda: nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
    "4x4, padding 1, as in cnn2_fc2": lambda: nn.Conv2d(2, 3, 4, padding=1),
    "1x1 of a shortcut": lambda: nn.Conv2d(2, 5, 1, stride=2, bias=False),
    "7x7 of a stem": lambda: nn.Conv2d(2, 3, 7, stride=2, padding=3),
    "groups": lambda: nn.Conv2d(2, 4, 3, groups=2),
    "average pooling": lambda: nn.AvgPool2d(4),
    "overlapping average pooling": lambda: nn.AvgPool2d(3, stride=1),
    "average over the image": lambda: nn.AdaptiveAvgPool2d(1),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_power_iteration_finds_the_norm_of_the_unrolled_operator(name: str) -> None:
    torch.manual_seed(1)
    layer = CONVOLUTIONS[name]().double()
    given = torch.zeros(1, 2, 8, 8, dtype=torch.float64)
    assert layer_constant(layer, given) == pytest.approx(svd_norm(layer, (2, 8, 8)), rel=1e-3)


def test_the_norm_of_a_convolution_is_not_that_of_its_reshaped_kernel() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 4, 3, padding=1, bias=False).double()
    kernel = float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))
    assert abs(layer_constant(layer, torch.zeros(1, 1, 8, 8, dtype=torch.float64)) / kernel - 1) > 0.1


def test_pooling_normalisation_and_matrices() -> None:
    given = torch.zeros(1, 2, 8, 8, dtype=torch.float64)
    assert layer_constant(nn.AvgPool2d(4), given) == pytest.approx(1 / 4)
    assert layer_constant(nn.MaxPool2d(2), given) == 1
    assert layer_constant(nn.MaxPool2d(3, stride=2, padding=1), given) == 2
    assert layer_constant(nn.ReLU(), given) == 1
    norm = nn.BatchNorm2d(2).eval()
    norm.weight.data, norm.running_var = torch.tensor([1.0, -3.0]), torch.tensor([4.0, 0.25])
    assert layer_constant(norm, given) == pytest.approx(3 / math.sqrt(0.25 + norm.eps))
    assert layer_constant(Normalize([0.5, 0.5], [0.5, 0.2]), given) == pytest.approx(5)
    linear = nn.Linear(5, 3)
    assert layer_constant(linear, given) == pytest.approx(float(torch.linalg.svdvals(linear.weight.detach())[0]))
    assert operator_norm(lambda v: 0 * v, given) == 0
    with pytest.raises(ConfigError, match="GELU is not known"):
        layer_constant(nn.GELU(), given)


class Residual(nn.Module):
    """An identity shortcut around two layers, and then a shortcut that is a layer itself."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4), nn.Linear(6, 4)
        self.out = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        x = x + self.b(torch.relu(self.a(x)))
        return self.out(self.c(x) + self.d(torch.relu(x)))


def test_branches_add_and_layers_multiply() -> None:
    torch.manual_seed(0)
    net = Residual()
    a, b, c, d, out = (
        float(torch.linalg.svdvals(layer.weight.detach().double())[0])
        for layer in (net.a, net.b, net.c, net.d, net.out)
    )
    found = network_bound(net, torch.zeros(1, 1, 2, 3))
    assert found.constant == pytest.approx((1 + a * b) * (c + d) * out)
    assert found.path == pytest.approx(a * b * c * out) and found.layers == 4  # c and d have as many layers: the first


def test_the_bound_of_a_chain_is_the_product_and_of_a_linear_net_attained() -> None:
    torch.manual_seed(0)
    convolution, linear = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(32, 3)
    net = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), linear)
    found = network_bound(net, torch.zeros(1, 1, 4, 4))
    expected = svd_norm(convolution.double(), (1, 4, 4)) * svd_norm(linear.double(), (32,))
    assert found.constant == found.path == pytest.approx(expected, rel=1e-3) and found.layers == 2

    matrix = nn.Sequential(nn.Linear(12, 5)).double()
    _, singular, right = torch.linalg.svd(matrix[0].weight.detach())
    x = torch.stack([torch.zeros(12, dtype=torch.float64), right[0]])
    slope = largest_slope(matrix, x, pairs=20, seed=0)
    assert slope == pytest.approx(float(singular[0]))
    assert network_bound(matrix, x[:1]).constant == pytest.approx(slope)


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [("mlp", {"hidden": [8]}), ("preactresnet18", {"width": 2}), ("resnet18", {"width": 2}), ("lenet", {"width": 4})],
)
def test_no_slope_is_above_the_bound(architecture: str, parameters: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = build_classifier(architecture, parameters, (1, 28, 28), 10, [0.3], [0.25]).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2)
    x = torch.rand(40, 1, 28, 28)
    bound = network_bound(model, x[:1])
    slope = largest_slope(model, x, pairs=100, seed=0)
    assert 0 < slope <= bound.constant
    # weights ten times as large multiply both by ten for each layer that is scaled
    with torch.no_grad():
        next(m for m in reversed(list(model.modules())) if isinstance(m, nn.Linear)).weight.mul_(10)
    assert network_bound(model, x[:1]).constant == pytest.approx(10 * bound.constant, rel=1e-3)


def test_the_model_is_left_as_it_is_and_the_rows_say_so() -> None:
    torch.manual_seed(0)
    model = build_classifier("mlp", {"hidden": [4]}, (1, 4, 4), 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    split = Split(torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8), torch.zeros(20, dtype=torch.int64), 255.0)
    run = TrainedRun(model, split, split, 0.0, 0, torch.device("cpu"), 3, None, {}, "0" * 64)  # type: ignore[arg-type]
    rows = {row["metric"]: row["value"] for row in lipschitz_bound(run, pairs=50)}
    assert set(rows) == {
        "lipschitz_upper_bound",
        "lipschitz_ignoring_skips",
        "log10_lipschitz_upper_bound",
        "largest_slope",
    }
    assert rows["largest_slope"] <= rows["lipschitz_upper_bound"] == rows["lipschitz_ignoring_skips"]
    assert rows["log10_lipschitz_upper_bound"] == pytest.approx(math.log10(rows["lipschitz_upper_bound"]))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (
        next(model.parameters()).dtype == torch.float32
        and lipschitz_bound(run, pairs=50)[3]["value"] == rows["largest_slope"]
    )


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^lipschitz_bound: the constant of .* is not known\.$"):
        network_bound(Unknown(), torch.ones(1, 2))
    with pytest.raises(ConfigError, match="cannot be traced"):
        network_bound(Branching(), torch.ones(1, 2))
