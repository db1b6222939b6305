"""Every attack of the catalogue, and suites, on the pretended GPU: no devices are mixed and nothing fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from attacks.test_properties import CHEAP, CLASSES, INPUTS, NAMES, attack_name, norms, spec
from gpu.pretended import CUDA, pretended_gpu
from torch import Tensor, nn

from robustscape import catalog
from robustscape.config.attacks import Suite
from robustscape.config.loading import load_experiment
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.harness.suite import run_suite
from robustscape.models import build_classifier

IMAGE, WAVEFORM, SAMPLES = (1, 8, 8), (1, 16), 3

PRECISIONS = ["fp32", *catalog.catalog_entries("precision")]


class WithMeta(nn.Module):
    """A net with a part ``meta`` for two superclasses, which attacks on a hierarchy look for."""

    def __init__(self, net: nn.Module, inputs: int) -> None:
        super().__init__()
        self.net, self.meta = net, nn.Linear(inputs, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + 0 * self.meta(x.flatten(1)).sum(1, keepdim=True)


def small_cnn_bn() -> nn.Module:
    return build_classifier("small_cnn_bn", {"width": 2}, IMAGE, CLASSES, [0.5], [0.5])


def preactresnet18() -> nn.Module:
    return build_classifier("preactresnet18", {"width": 2}, IMAGE, CLASSES)


def waveform_net() -> nn.Module:
    return nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(56, CLASSES))


NETS = {"small_cnn_bn": small_cnn_bn, "preactresnet18": preactresnet18, "waveform_net": waveform_net}

#: Attack, norm and net: every attack in every norm on a net for its inputs, and attacks of images in one norm on a second one.
CASES = [
    *(
        (name, norm, "waveform_net" if INPUTS.get(attack_name(name)) == "waveforms" else "small_cnn_bn")
        for name in NAMES
        for norm in norms(name)
    ),
    *((name, norms(name)[0], "preactresnet18") for name in NAMES if INPUTS.get(attack_name(name)) != "waveforms"),
]


def prepared(net: str) -> tuple[nn.Module, Tensor, Tensor]:
    """The net in eval mode, inputs, and labels of which the net gets most right, all on the CPU."""
    torch.manual_seed(0)
    model = NETS[net]()
    x = torch.rand(SAMPLES, *(WAVEFORM if net == "waveform_net" else IMAGE))
    model = WithMeta(model, x[0].numel()).eval()
    with torch.no_grad():
        y = model(x).argmax(1)
    y[-1] = (y[-1] + 1) % CLASSES
    return model, x, y


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("name", "norm", "net"), CASES)
def test_attack_stays_on_the_device_of_the_model(name: str, norm: Any, net: str, precision: str) -> None:
    """In half of the cases the data are on the CPU, and each sample has a budget, of which one is 0."""
    model, x, y = prepared(net)
    from_cpu = (net == "preactresnet18") == (precision == "fp32")
    eps: Tensor | float = torch.tensor([0.1, 0.0, 0.1]) if from_cpu else 0.1
    with pretended_gpu():
        model.to(CUDA)
        x, y = (x, y) if from_cpu else (x.to(CUDA), y.to(CUDA))
        found = craft(model, x, y, spec(name, norm), eps, seed=0, precision=precision)
    assert found.is_cuda != from_cpu and found.shape == x.shape


def cheap(suite: Suite) -> Suite:
    """The same attacks with the parameters of ``CHEAP``."""

    def changed(attack: Any) -> Any:
        known = catalog.find_entry("attack", attack.attack).parameters.model_fields
        return attack.model_copy(
            update={"parameters": attack.parameters | {key: value for key, value in CHEAP.items() if key in known}}
        )

    return Suite(name=suite.name, attacks=tuple((name, changed(attack)) for name, attack in suite.attacks))


@pytest.mark.parametrize("place", ["cpu", "cuda"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["autoattack", "autoattack_l2", "white-box"])
def test_suite_stays_on_the_device_of_the_model(name: str, precision: str, place: str) -> None:
    """AutoAttack's, and one with attacks that use gradients alone, with their numbers of steps cut."""
    suite = cheap(load_experiment(Path("config"), "smoke").suite(name))
    model, x, y = prepared("small_cnn_bn")
    with pretended_gpu():
        result = run_suite(model.to(CUDA), x.to(place), y.to(place), suite, 0.02, seed=0, precision=precision)
    assert result.samples == SAMPLES and 0 <= result.robust_accuracy <= result.clean_accuracy < 100


def test_the_quickest_precision_is_measured_on_the_device() -> None:
    model, x, y = prepared("small_cnn_bn")
    suite = Suite(name="one", attacks=(("pgd", spec("pgd")),))
    with pretended_gpu():
        result = run_suite(model.to(CUDA), x, y, suite, 0.02, seed=0, precision="auto")
    assert result.precision in PRECISIONS
