"""The bfloat16 form: what its rewritten graph and its first layer compute is what they stand for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from robustscape.attacks.precision.bfloat16 import Bfloat16, _Fp32, absorb_batchnorm, input_gradient
from robustscape.attacks.precision.prepared import prepared
from robustscape.attacks.precision.relu import relu
from torch import Tensor, nn

from robustscape.attacks.precision import bfloat16 as _bfloat16
from robustscape.models import build, fold_batchnorm


def used(model: nn.Module, x: Tensor) -> nn.Module:
    """``model``, frozen in eval mode, as if trained on ``x``: its normalisations do something."""
    for norm in normalisations(model):
        nn.init.uniform_(norm.weight, 0.3, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
        norm.momentum = None  # running statistics are those of x
    with torch.no_grad():
        model.train()(x)
    return model.eval().requires_grad_(False)


def residual(architecture: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    parameters = {"preactresnet18": {"width": 8}, "wide_resnet": {"depth": 16, "width": 1, "base": 8}}
    x = torch.rand(32, 3, 16, 16)
    return used(build(architecture, parameters[architecture], (3, 16, 16), 10), x), x


def normalisations(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def gradient(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What ``model`` returns, and the gradient of a sum over it in which every entry has another weight."""
    x = x.clone().requires_grad_()
    result = model(x)
    weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result)
    return result.detach(), torch.autograd.grad((result * weights).sum(), x)[0]


def assert_close(model: nn.Module, reference: nn.Module, x: Tensor, tolerance: float) -> None:
    """Both return the same, with the same gradient, up to a share of the largest entry."""
    for found, expected in zip(gradient(model, x), gradient(reference, x), strict=True):
        assert (found - expected).abs().max() <= tolerance * expected.abs().max()


# -- ReLU --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_relu_on_bits_is_relu(layout: torch.memory_format) -> None:
    """To the bit, over all numbers of bfloat16, and for gradients in another layout."""
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.bfloat16)
    x = every[~every.isnan()].repeat(2)[: 32 * 4 * 30 * 33].view(-1, 4, 30, 33).contiguous(memory_format=layout)
    assert len(x.unique()) > 65_000
    for given in (x, x.flatten(), x.float()):
        given = given.clone().requires_grad_()
        come_back = torch.randn(given.shape).to(given.dtype)
        found, expected = relu(given), F.relu(given)
        assert torch.equal(found, expected) and found.dtype == given.dtype
        gradients = [torch.autograd.grad(result, given, come_back)[0] for result in (found, expected)]
        assert torch.equal(*gradients)
        with torch.inference_mode():
            assert torch.equal(relu(given), expected)
    assert relu(torch.tensor([torch.nan], dtype=torch.bfloat16)).isnan()


def test_all_relus_of_a_traced_model_are_on_bits() -> None:
    model, _ = residual("preactresnet18")
    net = Bfloat16(prepared(model)).net  # type: ignore[arg-type]
    assert sum(node.target is relu for node in net.graph.nodes) == 17
    assert not any(node.target in (F.relu, torch.relu) for node in net.graph.nodes)
    assert not any(isinstance(module, nn.ReLU) for module in net.modules())


# -- batch normalisation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["preactresnet18", "wide_resnet"])
def test_absorbing_keeps_the_function_and_leaves_only_the_last_normalisation(architecture: str) -> None:
    model, x = residual(architecture)
    folded = fold_batchnorm(model)
    absorbed = absorb_batchnorm(folded)
    assert len(normalisations(folded)) > 5 and len(normalisations(absorbed)) == 1
    assert_close(absorbed, model, x, 1e-5)


@pytest.mark.parametrize(("gamma", "beta"), [(-0.5, 0.1), (0.0, 0.0), (0.01, 0.3)])
def test_a_normalisation_with_an_odd_channel_stays(gamma: float, beta: float) -> None:
    model, x = residual("preactresnet18")
    norm = model.get_submodule("net.layer1.1.bn1")
    norm.weight[3], norm.bias[3] = gamma, beta  # type: ignore[operator, index]
    absorbed = absorb_batchnorm(fold_batchnorm(model))
    assert len(normalisations(absorbed)) == 2
    assert_close(absorbed, model, x, 1e-5)


class Block(nn.Module):
    """A convolution, and what ``rest`` makes of it with two more and a normalisation."""

    def __init__(self, rest: Callable[[Block, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(c, 4, 3, padding=1) for c in (2, 4, 4))
        self.bn, self.relu, self.rest = nn.BatchNorm2d(4), nn.ReLU(inplace=True), rest

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self, self.first(x))


@pytest.mark.parametrize(
    ("rest", "absorbed"),
    [
        (lambda b, z: b.second(F.relu(b.bn(z))) + z, True),
        (lambda b, z: z + b.third(b.second(b.relu(b.bn(z)))), True),  # in place, and z is read afterwards
        (lambda b, z: torch.add(b.second(torch.relu(b.bn(z))), z) + b.third(F.relu(b.bn(z))), False),
        (lambda b, z: b.second(F.relu(b.bn(z))) + z + b.third(z), False),  # a convolution pads with zeros
        (lambda b, z: b.second(F.relu(b.bn(z + z))), False),
        (lambda b, z: torch.add(b.second(F.relu(b.bn(z))), z, alpha=2), False),
        (lambda b, z: b.second(F.relu(b.bn(z))) * z, False),
        (lambda b, z: b.second(F.relu(b.bn(z))) + b.second(z), False),  # one convolution in two places
        (lambda b, z: b.second(F.relu(b.bn(z))) + z + b.second.weight.sum(), False),
        (lambda b, z: b.second(F.max_pool2d(F.relu(b.bn(z)), 2)) + F.max_pool2d(z, 2), False),
        (lambda b, z: b.second(F.gelu(b.bn(z))) + z, False),
        (lambda b, z: (r := F.relu(b.bn(z))) + b.second(r) + z, False),
        (lambda b, z: (s := b.second(F.relu(b.bn(z)))) + z + s, False),
    ],
)
def test_only_what_can_be_absorbed_is(rest: Callable[[Block, Tensor], Tensor], absorbed: bool) -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 2, 6, 6)
    model = used(Block(rest), x)
    found = absorb_batchnorm(fold_batchnorm(model))
    assert len(normalisations(found)) == (0 if absorbed else 1)
    assert_close(found, model, x, 1e-5)


@pytest.mark.parametrize("architecture", ["preactresnet18", "wide_resnet"])
def test_absorbing_does_not_make_bfloat16_err_more(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = residual(architecture)
    exact = prepared(model)
    quick = Bfloat16(exact)  # type: ignore[arg-type]
    monkeypatch.setattr(_bfloat16, "absorb_batchnorm", lambda net: net)
    plain = Bfloat16(exact)  # type: ignore[arg-type]
    assert len(normalisations(quick)) == 1 < len(normalisations(plain))
    truth = gradient(exact, x)  # type: ignore[arg-type]
    for expected, found, before in zip(truth, gradient(quick, x), gradient(plain, x), strict=True):
        assert 1e-3 * expected.norm() < (found - expected).norm() < 1.2 * (before - expected).norm()


# -- the first layer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "size", "kernel", "stride", "padding", "dilation", "side"),
    [
        (1, (28, 28), (3, 3), (1, 1), (1, 1), (1, 1), 4),
        (3, (9, 10), (3, 3), (1, 1), (1, 1), (1, 1), 2),
        (3, (15, 12), (7, 7), (2, 2), (3, 3), (1, 1), 2),
        (2, (11, 14), (5, 2), (3, 1), (0, 4), (1, 3), 3),
        (1, (13, 9), (1, 3), (2, 2), (0, 3), (1, 2), 4),
        (4, (8, 8), (3, 3), (2, 2), (0, 0), (2, 2), 2),
        (2, (8, 6), (1, 1), (1, 1), (1, 1), (1, 1), 2),
    ],
)
def test_the_input_gradient_is_that_of_a_convolution(
    channels: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    side: int,
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, channels, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, channels, *kernel, dtype=torch.float64)
    out = F.conv2d(x, weight, None, stride, padding, dilation)
    slope = torch.randn_like(out)
    (expected,) = torch.autograd.grad(out, x, slope)
    geometry = list(zip(stride, padding, dilation, strict=True))
    torch.testing.assert_close(input_gradient(slope, weight, size, geometry, side), expected)


@pytest.mark.parametrize(
    ("layer", "quick"),
    [
        (nn.Conv2d(1, 8, 3, padding=1), True),
        (nn.Conv2d(3, 8, 5, stride=2, padding=2, dilation=2), True),
        (nn.Conv2d(1, 8, 3, stride=(1, 3)), True),
        (nn.Conv2d(5, 8, 3), False),
        (nn.Conv2d(3, 8, 3, stride=4), False),
        (nn.Conv2d(2, 8, 3, groups=2), False),
        (nn.Conv2d(1, 8, 3, padding="same"), False),
        (nn.Conv2d(1, 8, 3, padding=1, padding_mode="circular"), False),
    ],
)
def test_the_first_layer_is_a_convolution_rounded(layer: nn.Conv2d, quick: bool) -> None:
    first, x = _Fp32(layer.requires_grad_(False)), torch.rand(4, layer.in_channels, 12, 13)
    with torch.inference_mode():
        assert torch.equal(first(x), layer(x).to(torch.bfloat16))
    result = first(x.requires_grad_())
    assert ("OfFewChannels" in type(result.grad_fn).__name__) == quick
    slope = torch.randn_like(result)
    (expected,) = torch.autograd.grad(layer(x), x, slope.float())
    (found,) = torch.autograd.grad(result, x, slope)
    assert found.dtype == torch.float32 and found.is_contiguous()
    assert (found - expected).abs().max() <= 2.0**-7 * expected.abs().max()


def test_the_quick_layer_refuses_what_it_cannot_do() -> None:
    layer = nn.Conv2d(1, 8, 3).requires_grad_(False)
    x = torch.rand(4, 1, 8, 8, requires_grad=True)
    weights = torch.rand(4, 8, 6, 6, requires_grad=True)
    (slope,) = torch.autograd.grad((_Fp32(layer)(x) * weights).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
    _Fp32(layer.requires_grad_())(x).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().min() > 0
