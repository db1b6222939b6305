"""Standard training on filtered images: what the loss is of, and where it is plain standard training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustscape import devices
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.data.dct import dct, filter_images
from robustscape.models import build_classifier
from robustscape.training.attack import TrainingAttack
from robustscape.training.loop import train
from robustscape.training.methods.standard_filtered import standard_filtered

NO_ATTACK = TrainingAttack(None, {}, ThreatModel("Linf", 0.0), SampleGenerator.seeded(0, torch.arange(6), "cpu"))
X = torch.rand(6, 2, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(6) % 3


class Recorder(nn.Module):
    """A linear net that keeps its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(128, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return self.linear(x.flatten(1))


@pytest.mark.parametrize("kind", ["energy", "low_pass"])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_the_net_sees_images_without_those_coefficients(kind: str, precision: Any) -> None:
    """In a lower precision of training, too, the filter itself is exact."""
    model = Recorder()
    with devices.arithmetic(X.device, precision):
        objective = standard_filtered(model, X, Y, NO_ATTACK, kind=kind, percent=50)  # type: ignore[arg-type]
    loss = objective()
    filtered = filter_images(X, kind, 50)  # type: ignore[arg-type]
    assert torch.equal(model.seen, filtered) and not torch.equal(filtered, X)
    assert ((dct(model.seen).abs() < 1e-5).sum((2, 3)) >= 32).all()
    torch.testing.assert_close(loss, F.cross_entropy(model(filtered), Y))


def trained(method: str, parameters: dict[str, Any]) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = build_classifier("mlp", {"hidden": [5]}, (2, 8, 8), 3)
    split = Split((255 * X).round().to(torch.uint8), Y, 255.0)
    recipe = Recipe.model_validate(
        {
            "method": method,
            "parameters": parameters,
            "optimizer": {"name": "rmsprop", "parameters": {"lr": 0.01}},
            "epochs": 2,
            "batch_size": 3,
            "augmentation": {"flip": True},
        }
    )
    return train(model, split, split, recipe, {}, 0.0, 0, progress=False).selected


def test_nothing_removed_is_standard_training() -> None:
    plain = trained("standard", {})
    same = trained("standard_filtered", {"kind": "energy", "percent": 0})
    other = trained("standard_filtered", {"kind": "energy", "percent": 90})
    assert all(torch.equal(plain[name], same[name]) for name in plain)
    assert not all(torch.equal(plain[name], other[name]) for name in plain)
