"""A run that ends with SOAR begins as Standard, bit for bit, and goes on from its net; the shipped recipes, on tiny data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.training import loop

RECIPES = Path(__file__).parents[3] / "config" / "recipes"
ATTACKS = {"ma2025_pgd10": AttackSpec(attack="pgd", parameters={"steps": 2})}


def shipped(name: str, **changes: Any) -> Recipe:
    """A recipe of ma2025 chapter 3 with the keys of the one it extends, for batches of 16 images."""
    base, own = (yaml.safe_load((RECIPES / f"{file}.yaml").read_text()) for file in ("ma2025_ch3", name))
    kept = {k: v for k, v in {**base, **own}.items() if k not in ("extends", "variants")}
    sizes = {"batch_size": 16, "augmentation": {"crop": 1, "flip": True}, "memory_format": "contiguous"}
    return Recipe.model_validate({**kept, **sizes, **changes})


def train(recipe: Recipe, seed: int = 0, until: int | None = None, state: Path | None = None) -> loop.Trained:
    torch.manual_seed(9)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Softplus(), nn.Linear(12, 3))
    x = torch.randint(0, 256, (64, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    split = Split(x, (x[:, 0, 0].float().mean(1) // 86).long().clamp(max=2), 255.0)
    return loop.train(model, split, split, recipe, ATTACKS, 0.1, seed, progress=False, until=until, state=state)


def test_soar_begins_with_the_net_of_standard() -> None:
    standard = train(shipped("ma2025_ch3", epochs=8))
    whole = train(shipped("ma2025_soar", epochs=16))
    assert whole.kept.keys() == {"epoch8.safetensors"}
    for name, tensor in standard.last.items():
        assert torch.equal(whole.kept["epoch8.safetensors"][name], tensor)
    assert list(whole.history["lr"].round(8)) == [0.1] * 4 + [0.01] * 2 + [0.001] * 2 + [0.004] * 4 + [0.0004] * 4
    assert whole.history["regulariser"].isna().sum() == 8 and (whole.history["regulariser"][8:] > 0).all()
    assert whole.history["clipped_share"][8:].between(0, 1).all()


@pytest.mark.parametrize("name", ["ma2025_soar", "ma2025_foar", "ma2025_mma"])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    recipe = shipped(name, epochs=6)
    straight = train(recipe)
    train(recipe, until=4, state=tmp_path / "state")
    again = train(recipe, state=tmp_path / "state")
    assert all(torch.equal(again.last[k], v) for k, v in straight.last.items())
    assert again.history.equals(straight.history)
