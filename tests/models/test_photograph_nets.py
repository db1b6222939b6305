"""Nets of torchvision and timm: their sizes, what they refuse, and initial weights from a file."""

from __future__ import annotations

import builtins
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robustscape.errors import ConfigError, CorruptFile, MissingData
from robustscape.models import _weights
from robustscape.models.embeddings import last_linear
from robustscape.models.timm_net import VERSION, timm_net
from robustscape.models.torchvision_net import torchvision_net

ROOT = Path(__file__).parents[2]
SHAPE = (3, 224, 224)
SIZES = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "vgg19_bn": 143_678_248,
    "densenet121": 7_978_856,
    "inception_v3": 23_834_568,
    "vit_tiny_patch16_224": 5_717_416,
    "vit_small_patch16_224": 22_050_664,
    "vit_base_patch16_224": 86_567_656,
    "swin_small_patch4_window7_224": 49_606_258,
    "convnext_base": 88_591_464,
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_the_layer_of_the_logits(name: str) -> None:
    make: Any = torchvision_net if name in list(SIZES)[:6] else timm_net
    with torch.device("meta"):
        net = make(SHAPE, 1000, name=name)
    assert sum(parameter.numel() for parameter in net.parameters()) == SIZES[name]
    assert last_linear(net).out_features == 1000


def test_other_images_are_refused() -> None:
    for shape in ((1, 224, 224), (3, 32, 32)):
        with pytest.raises(ConfigError):
            torchvision_net(shape, 10, name="resnet18")
    for shape in ((3, 256, 256), (1, 224, 224), (3, 32, 32)):
        with pytest.raises(ConfigError):
            timm_net(shape, 10, name="vit_tiny_patch16_224")


def test_without_timm_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name == "timm":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=f"pip install --no-deps timm=={VERSION}"):
        timm_net(SHAPE, 10, name="vit_tiny_patch16_224")
    assert f"timm=={VERSION} " in (ROOT / "requirements/no-deps.in").read_text()


def test_initial_weights_come_from_the_file_but_for_a_head_of_other_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_weights, "PROJECT", tmp_path)
    torch.manual_seed(0)
    given = torchvision_net((3, 64, 64), 10, name="resnet18")
    save_file(given.state_dict(), tmp_path / "w.safetensors")
    sha256 = hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    settings: dict[str, Any] = {"name": "resnet18", "weights": "w.safetensors", "sha256": sha256}
    net = torchvision_net((3, 64, 64), 7, **settings)
    assert torch.equal(net.state_dict()["layer4.1.conv2.weight"], given.state_dict()["layer4.1.conv2.weight"])
    assert net.state_dict()["fc.weight"].shape == (7, 512)
    same = torchvision_net((3, 64, 64), 10, **settings).state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in given.state_dict().items())
    with pytest.raises(ConfigError, match=f"write sha256: {sha256}"):
        torchvision_net((3, 64, 64), 7, **{**settings, "sha256": None})
    with pytest.raises(CorruptFile, match="its SHA-256 is"):
        torchvision_net((3, 64, 64), 7, **{**settings, "sha256": "0" * 64})
    with pytest.raises(MissingData, match="cannot be read"):
        torchvision_net((3, 64, 64), 7, **{**settings, "weights": "none.safetensors"})
    save_file(nn.Linear(2, 2).state_dict(), tmp_path / "w.safetensors")
    sha256 = hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    with pytest.raises(CorruptFile, match="does not fit 'resnet18'"):
        torchvision_net((3, 64, 64), 7, **{**settings, "sha256": sha256})
