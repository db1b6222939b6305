"""Nets: shapes, names, and what they compute, against independent implementations."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from robustscape import catalog
from robustscape.errors import UserError
from robustscape.models import build_classifier

IMAGE_NETS = {
    "lenet": {"width": 2},
    "small_cnn": {"width": 3},
    "resnet18": {"width": 2},
    "preactresnet18": {"width": 2},
    "preactresnet10": {"width": 2},
}


def test_the_catalogue_knows_them() -> None:
    assert {*IMAGE_NETS, "logistic_regression"} <= set(catalog.catalog_entries("architecture"))


@pytest.mark.parametrize("architecture", IMAGE_NETS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 14, 28, 32, 64])
def test_every_image_size(architecture: str, channels: int, side: int) -> None:
    torch.manual_seed(0)  # of two channels all can be dead
    model = build_classifier(architecture, {**IMAGE_NETS[architecture], "width": 8}, (channels, side, side), 7).eval()
    x = torch.rand(3, channels, side, side, requires_grad=True)
    logits = model(x)
    assert logits.shape == (3, 7) and torch.isfinite(logits).all()
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), x)
    assert gradient.abs().sum() > 0
    assert torch.allclose(model(x[1:2]), logits[1:2], atol=1e-5), "samples must not see each other in eval mode"


@pytest.mark.parametrize("architecture", IMAGE_NETS)
def test_width_is_the_channels_of_the_first_convolution(architecture: str) -> None:
    first = {}
    for width in (2, 4):
        model = build_classifier(architecture, {"width": width}, (3, 16, 16), 5)
        first[width] = next(p for p in model.parameters() if p.dim() == 4).shape[0]
    assert first[4] == 2 * first[2]
    assert first[2] == (4 if architecture == "lenet" else 2)  # liu2020's LeNet(w) begins with 2w


@pytest.mark.parametrize("architecture", IMAGE_NETS)
@pytest.mark.parametrize("shape", [(64,), (1, 2, 8), (1, 16000)])
def test_what_is_no_image_is_refused(architecture: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=f"'{architecture}' takes images"):
        build_classifier(architecture, {}, shape, 10)


def test_weights_follow_the_global_seed() -> None:
    torch.manual_seed(5)
    first = build_classifier("resnet18", {"width": 2}, (1, 8, 8), 3).state_dict()
    torch.manual_seed(5)
    again = build_classifier("resnet18", {"width": 2}, (1, 8, 8), 3).state_dict()
    other = build_classifier("resnet18", {"width": 2}, (1, 8, 8), 3).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["net.conv1.weight"], other["net.conv1.weight"])


# -- logistic regression -----------------------------------------------------------------------------------------------


def test_logits_of_logistic_regression_are_zero_and_wx() -> None:
    model = build_classifier("logistic_regression", {"init_std": 1.0}, (1, 4, 5), 2)
    (weight,) = model.parameters()
    assert weight.shape == (1, 20)
    x = torch.rand(6, 1, 4, 5)
    logits = model(x)
    assert not logits[:, 0].any()
    torch.testing.assert_close(logits[:, 1], x.flatten(1) @ weight[0])
    y = torch.arange(6) % 2
    softplus = F.softplus(-(2.0 * y - 1) * logits[:, 1])
    torch.testing.assert_close(F.cross_entropy(logits, y, reduction="none"), softplus)


def test_initial_weights_of_logistic_regression() -> None:
    torch.manual_seed(0)
    weight = next(build_classifier("logistic_regression", {}, (1, 100, 100), 2).parameters())
    assert weight.mean().item() == pytest.approx(0, abs=5e-5)
    assert weight.std().item() == pytest.approx(1e-3, rel=0.05)


def test_logistic_regression_refuses_more_classes() -> None:
    with pytest.raises(UserError, match=r"is for 2 classes, but the data set has 10\."):
        build_classifier("logistic_regression", {}, (1, 8, 8), 10)


# -- lenet -------------------------------------------------------------------------------------------------------------


def test_lenet_is_the_net_of_liu2020() -> None:
    """Section 3: conv5x5(2w), conv5x5(4w), fc(7*7*4w -> 64w), fc(64w -> K); w = 16: 32/64 channels, 1024 hidden."""
    shapes = {
        name: tuple(p.shape) for name, p in build_classifier("lenet", {"width": 16}, (1, 28, 28), 10).named_parameters()
    }
    assert shapes == {
        "net.conv1.weight": (32, 1, 5, 5),
        "net.conv1.bias": (32,),
        "net.conv2.weight": (64, 32, 5, 5),
        "net.conv2.bias": (64,),
        "net.fc1.weight": (1024, 7 * 7 * 64),
        "net.fc1.bias": (1024,),
        "net.fc2.weight": (10, 1024),
        "net.fc2.bias": (10,),
    }


def test_lenet_computes_what_its_layers_say() -> None:
    model = build_classifier("lenet", {"width": 2}, (1, 28, 28), 10).eval()
    p = {name.removeprefix("net."): value for name, value in model.named_parameters()}
    x = torch.rand(4, 1, 28, 28)
    z = F.max_pool2d(F.relu(F.conv2d(x, p["conv1.weight"], p["conv1.bias"], padding=2)), 2)
    z = F.max_pool2d(F.relu(F.conv2d(z, p["conv2.weight"], p["conv2.bias"], padding=2)), 2).flatten(1)
    z = F.relu(z @ p["fc1.weight"].T + p["fc1.bias"]) @ p["fc2.weight"].T + p["fc2.bias"]
    torch.testing.assert_close(model(x), z)


# -- lenet without padding ----------------------------------------------------------------------------------------------------


def test_lenet_unpadded_is_the_net_of_kim2023s_author() -> None:
    """conv5x5(32), conv5x5(64), fc(64 x 4 x 4 -> 1024), fc(1024 -> 10), no padding: 832 + 51264 + 1049600 + 10250 numbers."""
    model = build_classifier("lenet", {"width": 16, "padded": False}, (1, 28, 28), 10)
    assert {name: tuple(p.shape) for name, p in model.named_parameters() if p.dim() > 1} == {
        "net.conv1.weight": (32, 1, 5, 5),
        "net.conv2.weight": (64, 32, 5, 5),
        "net.fc1.weight": (1024, 64 * 4 * 4),
        "net.fc2.weight": (10, 1024),
    }
    assert sum(p.numel() for p in model.parameters()) == 832 + 51264 + 1049600 + 10250


def test_lenet_unpadded_computes_what_its_layers_say() -> None:
    model = build_classifier("lenet", {"width": 2, "padded": False}, (1, 28, 28), 10).eval()
    p = {name.removeprefix("net."): value for name, value in model.named_parameters()}
    x = torch.rand(4, 1, 28, 28)
    z = F.max_pool2d(F.relu(F.conv2d(x, p["conv1.weight"], p["conv1.bias"])), 2)
    z = F.max_pool2d(F.relu(F.conv2d(z, p["conv2.weight"], p["conv2.bias"])), 2).flatten(1)
    z = F.relu(z @ p["fc1.weight"].T + p["fc1.bias"]) @ p["fc2.weight"].T + p["fc2.bias"]
    assert z.shape == (4, 10)
    torch.testing.assert_close(model(x), z)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 21), (1, 32, 29)])
def test_lenet_unpadded_takes_every_size_that_leaves_a_pixel(shape: tuple[int, ...]) -> None:
    assert build_classifier("lenet", {"width": 1, "padded": False}, shape, 7)(torch.rand(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("shape", [(64,), (1, 15, 28), (1, 8, 8)])
def test_images_too_small_for_lenet_unpadded_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"'lenet' takes images .* at least 16x16"):
        build_classifier("lenet", {"padded": False}, shape, 10)


# -- residual nets -----------------------------------------------------------------------------------------------------


def fill_statistics(model: nn.Module) -> None:
    """Give every batch normalisation weights and statistics of its own."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 28)])
def test_resnet18_is_torchvisions_with_another_stem(channels: int, side: int) -> None:
    ours = build_classifier("resnet18", {"width": 64}, (channels, side, side), 10).eval()
    fill_statistics(ours)
    theirs = torchvision.models.resnet18(num_classes=10)
    theirs.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    names = {
        name: name.removeprefix("net.").replace("shortcut", "downsample").replace("linear", "fc")
        for name in ours.state_dict()
    }
    theirs.load_state_dict({names[name]: tensor for name, tensor in ours.state_dict().items()})
    x = torch.rand(2, channels, side, side)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs.eval()(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("architecture", "blocks"), [("preactresnet18", 2), ("preactresnet10", 1)])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_preactresnets_are_their_definition(architecture: str, blocks: int, norm: str) -> None:
    parameters = {"width": 4, "norm": norm, "last_norm": norm == "batch"}
    model = build_classifier(architecture, parameters, (3, 16, 16), 10).eval()
    fill_statistics(model)
    s = {name.removeprefix("net."): value for name, value in model.state_dict().items()}

    def bn(x: Tensor, name: str) -> Tensor:
        if norm == "none":
            return x
        mean, var, weight, bias = (s[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        scale = (weight / (var + 1e-5).sqrt())[:, None, None]
        return (x - mean[:, None, None]) * scale + bias[:, None, None]

    x = torch.rand(3, 3, 16, 16)
    z = F.conv2d(x, s["conv1.weight"], padding=1)
    for stage in range(1, 5):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            a = F.relu(bn(z, f"{name}.bn1"))
            shortcut = F.conv2d(a, s[f"{name}.shortcut.0.weight"], stride=stride) if stride == 2 else z
            a = F.conv2d(a, s[f"{name}.conv1.weight"], stride=stride, padding=1)
            z = F.conv2d(F.relu(bn(a, f"{name}.bn2")), s[f"{name}.conv2.weight"], padding=1) + shortcut
    z = (z if norm == "none" else F.relu(bn(z, "bn"))).mean((2, 3)) @ s["linear.weight"].T + s["linear.bias"]
    with torch.no_grad():
        torch.testing.assert_close(model(x), z, rtol=1e-4, atol=1e-4)
    assert math.prod(s["linear.weight"].shape) == 10 * 8 * 4
