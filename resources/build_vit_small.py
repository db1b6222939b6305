"""Build resources/vit_small from the 5,000 images of Fashion-MNIST beside it.

    python resources/build_vit_small.py

A small vision transformer is trained on them at 14x14 pixels, by Adam, as the public ViT-B/16 is on ImageNet; its weights, the
head's aside, are the encoder that the scale `small` freezes (ma2025 table 4.5). Running it again on the same machine gives the
same bytes. Its SHA-256, which config/architectures.yaml must hold, and its test accuracy are printed. Cost: seconds on a core.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.data.sets.fashion_mnist5k import fashion_mnist5k
from robustscape.data.splits import mean_pool
from robustscape.models import build_classifier
from robustscape.storage import atomic
from robustscape.training.loop import train

TARGET = Path(__file__).parent / "vit_small" / "encoder.safetensors"

#: Those of the entry vit_small_head.
SIZES = {"patch": 7, "width": 24, "depth": 2, "heads": 3}

RECIPE = {
    "method": "standard",
    "optimizer": {"name": "adam", "parameters": {"lr": 2e-3}},
    "lr_schedule": {"kind": "cosine"},
    "epochs": 8,
    "batch_size": 100,
    "augmentation": {"flip": True},
}


def build(target: Path) -> None:
    """Train the net and write its encoder, safetensors with timm's names, to ``target``."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    raw = fashion_mnist5k(Path())
    parts = ((raw.train_x, raw.train_y), (raw.test_x, raw.test_y))
    train_split, test_split = (
        Split(torch.from_numpy(np.ascontiguousarray(mean_pool(x, 2))), torch.from_numpy(y), raw.scale) for x, y in parts
    )
    model = build_classifier("vit", SIZES, (1, 14, 14), 10, mean=[0.5], std=[0.5])
    result = train(model, train_split, test_split, Recipe.model_validate(RECIPE), {}, 0.0, 0)
    model.load_state_dict(result.selected)
    with torch.no_grad():
        accuracy = (model.eval()(test_split.inputs()).argmax(1) == test_split.y).float().mean()
    encoder = {name.removeprefix("net."): tensor for name, tensor in result.selected.items() if name.startswith("net.")}
    content = safetensors.torch.save({name: t for name, t in encoder.items() if not name.startswith("head.")})
    atomic.write_bytes(target, content)
    print(f"test accuracy {accuracy:.1%}, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    build(TARGET)
