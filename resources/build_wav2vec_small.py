"""Build resources/wav2vec_small from the training words of the data set spoken_words.

    python resources/build_wav2vec_small.py

A small encoder of wav2vec's form, with a linear layer behind it, is trained to tell the synthetic words of 4 kHz apart, by Adam;
its weights, without that layer, are the encoder that the scale `small` freezes (kim2023 chapter 3). wav2vec itself is trained
without labels, on much more speech. Running it again on the same machine gives the same bytes. Its SHA-256, which
config/architectures.yaml must hold, and its test accuracy are printed. Cost: a minute on a core.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.data.sets.spoken_words import spoken_words
from robustscape.models._wav2vec import Encoder
from robustscape.storage import atomic
from robustscape.training.loop import train

TARGET = Path(__file__).parent / "wav2vec_small" / "encoder.safetensors"

#: Those of the entries ls_large_small and so on.
CHANNELS, KERNELS, STRIDES = 32, (10, 8, 4, 4, 4), (4, 3, 2, 2, 2)

RECIPE = {
    "method": "standard",
    "optimizer": {"name": "adam", "parameters": {"lr": 2e-3}},
    "lr_schedule": {"kind": "cosine"},
    "epochs": 10,
    "batch_size": 64,
}


class WordNet(nn.Module):
    """The encoder, the mean and the maximum of its features over time, and a linear layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = Encoder(CHANNELS, KERNELS, STRIDES)
        self.linear = nn.Linear(2 * CHANNELS, classes)

    def forward(self, x: Tensor) -> Tensor:
        z = self.encoder(x)
        return self.linear(torch.cat([z.mean(2), z.amax(2)], dim=1))


def build(target: Path) -> None:
    """Train the net and write its encoder, safetensors with fairseq's names, to ``target``."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    raw = spoken_words(Path())
    parts = ((raw.train_x, raw.train_y), (raw.test_x, raw.test_y))
    train_split, test_split = (Split(torch.from_numpy(x), torch.from_numpy(y), raw.scale) for x, y in parts)
    model = WordNet(len(raw.classes))
    result = train(model, train_split, test_split, Recipe.model_validate(RECIPE), {}, 0.0, 0)
    model.load_state_dict(result.selected)
    with torch.no_grad():
        accuracy = (model.eval()(test_split.inputs()).argmax(1) == test_split.y).float().mean()
    content = safetensors.torch.save(model.encoder.state_dict())
    atomic.write_bytes(target, content)
    print(f"test accuracy {accuracy:.1%}, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    build(TARGET)
