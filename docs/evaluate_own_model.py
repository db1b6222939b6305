"""Evaluate your own net on your own folder of images: from PNGs to AutoAttack, a table and saved adversarial examples.

A script in cells, for an editor that knows ``# %%``, or for ``python docs/evaluate_own_model.py FOLDER``. Everything is written
to FOLDER (default: a temporary one). A minute on one CPU.
"""

# %% A folder of images, one folder for each class. Yours is there already; this one is made of scikit-learn's digits.
from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import robustscape

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
pixels, digit = load_digits(return_X_y=True)
for number, (image, label) in enumerate(zip(pixels.reshape(-1, 8, 8), digit, strict=True)):
    part = "train" if number < 1500 else "test"
    path = folder / part / str(label) / f"{number:04d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image * 255 / 16).astype("uint8")).save(path)

# %% Samples: float32 in [0, 1], labels in the order of the folders' names.
train = robustscape.read_samples(folder / "train")
test = robustscape.read_samples(folder / "test", 50)
print(train.x.shape, test.classes)

# %% Your own net. Normalisation is part of it, so that eps is in units of the image.
torch.manual_seed(0)
model = nn.Sequential(
    robustscape.Normalize([0.3], [0.37]),
    nn.Conv2d(1, 8, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(8, 16, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(256, 10),
)
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
for _epoch in range(8):
    for batch in torch.randperm(len(train.x)).split(64):
        # Adversarial training in one line: each batch is attacked before the step.
        x_adv = robustscape.attack(model, train.x[batch], train.y[batch], "fgsm", eps=0.1, random_start=True)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x_adv), train.y[batch]).backward()
        optimizer.step()

# %% AutoAttack at two budgets; what is broken within the smaller one is not attacked again.
result = robustscape.evaluate(model, test.x, test.y, suite="autoattack", eps=[0.05, 0.12])
print(result)
print(result.table().to_string(index=False))

# %% All of it as JSON: accuracies, each attack's share and cost, flags with reasons, protocol, hashes, versions.
result.to_json(folder / "result.json", dataset="my digits", name="my net")
print(json.loads((folder / "result.json").read_text(encoding="utf-8"))["robust_accuracy"])

# %% The adversarial examples, as tensors and as images.
strongest = result[-1]
strongest.save_adversarial(folder / "adversarial.safetensors")
for number in (~strongest.robust).nonzero().flatten()[:5].tolist():
    fooled = (strongest.x_adv[number, 0] * 255).round().to(torch.uint8).numpy()
    Image.fromarray(fooled).save(folder / f"adversarial_{test.classes[test.y[number]]}_{number}.png")
print(sorted(path.name for path in folder.glob("adversarial*")))
