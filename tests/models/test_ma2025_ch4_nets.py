"""The nets of ma2025 chapter 4: sizes, what they compute, and the transformer whose encoder comes from a file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.errors import ConfigError, CorruptFile, MissingData
from robustscape.models import build_classifier
from robustscape.training.loop import train

SMALL_VIT: dict[str, Any] = {"patch": 4, "width": 12, "depth": 2, "heads": 3}

#: The form of preactresnet18 in chapter 4.
OPEN: dict[str, Any] = {"norm": "none", "last_norm": False}


def count(architecture: str, shape: tuple[int, ...], classes: int, **parameters: Any) -> int:
    return sum(p.numel() for p in build_classifier(architecture, parameters, shape, classes).parameters())


@pytest.mark.parametrize(
    ("architecture", "shape", "classes", "parameters", "expected"),
    [
        ("cnn2_fc2", (1, 28, 28), 10, {}, 2_172_806),  # the specification's
        ("cnn2_fc2", (1, 28, 28), 10, {"relu_between_fc": True}, 2_172_806),
        # preactresnet18 has 11,172,170, its last normalisation 2 x 512 of them, and those of the blocks 6,784
        ("preactresnet18", (3, 32, 32), 10, {"norm": "batch", "last_norm": False}, 11_172_170 - 1024),
        ("preactresnet18", (3, 32, 32), 10, OPEN, 11_164_362),
        ("preactresnet18", (3, 32, 32), 100, OPEN, 11_164_362 + 90 * 513),
        # a 7x7 stem has 40 x 3 x 64 weights more
        (
            "preactresnet18",
            (3, 224, 224),
            101,
            OPEN | {"stem": "large"},
            11_164_362 + 91 * 513 + 7680,
        ),
        ("m5", (2, 1, 16_000), 35, {}, 571_939),
        ("vit", (3, 224, 224), 10, {}, 85_798_656 + 7_690),
    ],
)
def test_parameter_counts(
    architecture: str, shape: tuple[int, ...], classes: int, parameters: dict[str, Any], expected: int
) -> None:
    with torch.device("meta") if architecture == "vit" else torch.device("cpu"):
        assert count(architecture, shape, classes, **parameters) == expected


@pytest.mark.parametrize(
    ("architecture", "shape", "parameters"),
    [
        ("cnn2_fc2", (1, 14, 14), {"width": 4, "hidden": 20}),
        ("preactresnet18", (1, 7, 7), {"width": 4, "last_norm": False}),
        ("preactresnet18", (3, 64, 64), {"width": 4, "stem": "large", "last_norm": False}),
        ("m5", (2, 1, 2400), {"width": 4, "first": 20}),
        ("vit", (1, 8, 12), SMALL_VIT),
    ],
)
def test_shapes_and_independent_samples(architecture: str, shape: tuple[int, ...], parameters: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = build_classifier(architecture, parameters, shape, 5).eval()
    x = torch.rand(3, *shape)
    logits = model(x)
    assert logits.shape == (3, 5) and logits.std() > 1e-4
    torch.testing.assert_close(model(x[1:2]), logits[1:2], rtol=1e-4, atol=1e-5)


def test_only_the_norms_that_are_asked_for() -> None:
    for norm, expected in (("none", 0), ("batch", 16)):
        model = build_classifier("preactresnet18", {"width": 4, "norm": norm, "last_norm": False}, (3, 32, 32), 10)
        assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == expected
        assert not any(m.bias is not None for m in model.modules() if isinstance(m, nn.Conv2d))


def test_there_is_no_relu_between_the_linear_layers_as_printed() -> None:
    plain, ancestor = (
        build_classifier("cnn2_fc2", {"width": 2, "hidden": 5, "relu_between_fc": relu}, (1, 8, 8), 3).net
        for relu in (False, True)
    )
    ancestor.load_state_dict(plain.state_dict())
    x = torch.rand(4, 1, 8, 8)
    h = plain[:6](x)
    assert (h < 0).any()
    torch.testing.assert_close(plain(x), plain.fc2(h))
    torch.testing.assert_close(ancestor(x), plain.fc2(h.relu()))


def test_m5_is_the_net_of_its_authors_on_waveforms() -> None:
    """Against one-dimensional layers on the waveform that the two bytes hold."""
    torch.manual_seed(0)
    net = build_classifier("m5", {"width": 3, "first": 20}, (2, 1, 2400), 4).net.eval()
    layers: list[nn.Module] = []
    for number, (channels, out, kernel, stride) in enumerate(
        ((1, 3, 20, 4), (3, 3, 3, 1), (3, 6, 3, 1), (6, 12, 3, 1)), 1
    ):
        convolution, norm = nn.Conv1d(channels, out, kernel, stride=stride), nn.BatchNorm1d(out)
        source = net.get_submodule(f"conv{number}")
        convolution.load_state_dict({"weight": source.weight[:, :, 0], "bias": source.bias})
        norm.load_state_dict(net.get_submodule(f"bn{number}").state_dict())
        layers += [convolution, norm, nn.ReLU(), nn.MaxPool1d(4)]
    levels = torch.randint(0, 65536, (2, 2400))
    x = torch.stack([levels // 256, levels % 256], 1)[:, :, None].float() / 255
    features = nn.Sequential(*layers).eval()(2 * levels[:, None] / 65535 - 1)
    torch.testing.assert_close(net(x), net.linear(features.mean(2)), rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="two bytes a sample"):
        build_classifier("m5", {}, (1, 28, 28), 4)
    with pytest.raises(ConfigError, match="needs longer waveforms than 1000 samples"):
        build_classifier("m5", {"first": 80, "stride": 4}, (2, 1, 1000), 4)


# The transformer ------------------------------------------------------------------------------------------------------


def timms(**sizes: Any) -> nn.Module:
    model: nn.Module = timm.models.vision_transformer.VisionTransformer(
        img_size=sizes.get("img_size", 12), patch_size=4, in_chans=3, embed_dim=12, depth=2, num_heads=3, num_classes=7
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, str, nn.Module]:
    """A file of timm's weights, its hash and timm's net."""
    torch.manual_seed(0)
    model = timms()
    path = tmp_path / "vit.safetensors"
    safetensors.torch.save_file(model.state_dict(), path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest(), model


def frozen_vit(path: Path, sha256: str | None, classes: int = 5) -> nn.Module:
    parameters = {**SMALL_VIT, "weights": str(path), "sha256": sha256}
    return build_classifier("vit", parameters, (3, 12, 12), classes)


def test_it_computes_what_timms_does(weights: tuple[Path, str, nn.Module]) -> None:
    path, sha256, expected = weights
    net = frozen_vit(path, sha256).net
    x = torch.rand(2, 3, 12, 12)
    torch.testing.assert_close(net(x), net.head(expected.forward_features(x)[:, 0]), rtol=1e-4, atol=1e-5)


def test_training_changes_the_head_alone(weights: tuple[Path, str, nn.Module]) -> None:
    path, sha256, _ = weights
    model = frozen_vit(path, sha256)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.randint(0, 256, (20, 3, 12, 12), dtype=torch.uint8)
    split = Split(x, torch.arange(20) % 5, 255.0)
    recipe = Recipe.model_validate(
        {
            "method": "standard",
            "optimizer": {"name": "adam", "parameters": {"lr": 0.01, "weight_decay": 0.1}},
            "epochs": 2,
            "batch_size": 10,
        }
    )
    result = train(model, split, split, recipe, {}, 0.0, 0, progress=False)
    changed = {name for name, tensor in result.selected.items() if not torch.equal(tensor, before[name])}
    assert changed == {"net.head.weight", "net.head.bias"}
    gradient = torch.autograd.grad(model(split.inputs()).sum(), list(model.net.head.parameters()))
    assert all(g.abs().sum() > 0 for g in gradient)


def test_attacks_see_through_the_frozen_encoder(weights: tuple[Path, str, nn.Module]) -> None:
    path, sha256, _ = weights
    x = torch.rand(2, 3, 12, 12, requires_grad=True)
    gradient: Tensor = torch.autograd.grad(frozen_vit(path, sha256)(x)[:, 0].sum(), x)[0]
    assert (gradient.abs().amax((1, 2, 3)) > 0).all()


def test_files_that_are_not_the_one_meant(weights: tuple[Path, str, nn.Module], tmp_path: Path) -> None:
    path, sha256, model = weights
    with pytest.raises(ConfigError, match=f"write sha256: {sha256} in"):
        frozen_vit(path, None)
    with pytest.raises(CorruptFile, match=f"its SHA-256 is {sha256}, not {'0' * 64}"):
        frozen_vit(path, "0" * 64)
    with pytest.raises(MissingData, match=r"elsewhere.*cannot be read"):
        frozen_vit(tmp_path / "elsewhere", sha256)
    state = model.state_dict()
    wrong = {**{name: t for name, t in state.items() if name != "norm.bias"}, "extra": torch.zeros(1)}
    wrong["pos_embed"] = torch.zeros(1, 5, 12)
    safetensors.torch.save_file(wrong, path)
    with pytest.raises(CorruptFile, match=r"2 of its weights are missing .*\(pos_embed, norm\.bias\), 1 .*\(extra\)"):
        frozen_vit(path, hashlib.sha256(path.read_bytes()).hexdigest())
    path.write_bytes(b"something else")
    with pytest.raises(CorruptFile, match="is not a safetensors file"):
        frozen_vit(path, hashlib.sha256(b"something else").hexdigest())


@pytest.mark.parametrize("wrong", [{"patch": 5}, {"width": 13}])
def test_sizes_that_do_not_fit(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="a patch that divides 12x12 pixels"):
        build_classifier("vit", {**SMALL_VIT, **wrong}, (3, 12, 12), 5)
