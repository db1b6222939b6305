"""The health of a run: whether training reached what it was after, in numbers that compare across methods and data sets.

Accuracies are of the first test samples, the loss is of the first training samples: the mean cross-entropy under the recipe's
own training attack (of clean samples where there is none). That is what standard and plain adversarial training minimise; the
``train_loss`` of TRADES, MART, BAT and GradAlign holds other terms, so it is recorded but not compared. Attacks are those of
training, at the run's full eps and in eval mode: a net that catastrophic overfitting has made robust to its own single step
alone is trained. Likewise, a net trained on filtered images is measured on such ones: that it fails on others may be what a
work wants to know. Measured are the selected weights, in fp32. Cost: 1,250 forward passes, and the training attack on 750
samples, which is that of one epoch over 750 samples.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape import catalog
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.data.dct import filter_images
from robustscape.training.attack import TrainingAttack
from robustscape.training.loop import derive_seed
from robustscape.training.methods.standard_filtered import standard_filtered

#: Most samples of each number: test samples, attacked test samples, attacked training samples.
CLEAN_SAMPLES, ROBUST_SAMPLES, LOSS_SAMPLES = 1000, 500, 250

#: Samples of a pass.
_BATCH = 125


def measure_health(
    model: nn.Module,
    train_split: Split,
    test_split: Split,
    recipe: Recipe,
    attacks: Mapping[str, AttackSpec],
    eps: float,
    seed: int,
    history: pd.DataFrame,
    classes: int,
) -> dict[str, Any]:
    """Return the content of ``health.json``; the same bits on every repetition. The model is left in eval mode.

    Args:
        model: with the run's selected weights, on the device of the splits.
        train_split: the training samples.
        test_split: the test samples.
        recipe: the run's.
        attacks: the specifications that the recipe names.
        eps: perturbation budget of training, in input units.
        seed: the run's.
        history: a row per epoch (``history.csv``).
        classes: C.

    Returns:
        ``inputs`` (clean or filtered, as the method trains on them), ``clean_accuracy`` and ``robust_accuracy`` (percent; the
        latter None without a training attack or at eps 0),
        ``loss_over_chance`` (the loss over ln C, which a uniform answer reaches; None if it is not finite), ``final_loss`` (the
        last ``train_loss``; None likewise), ``updates`` (of the weights; outer ones where the history counts them), ``classes``,
        the attack's name and the numbers of samples.
    """
    spec = attacks[recipe.attack] if recipe.attack and eps > 0 else None
    model.eval()
    seen = _inputs_of_training(recipe)
    clean, _ = _correct_and_loss(model, test_split, CLEAN_SAMPLES, seen, None, eps, seed)
    robust = _correct_and_loss(model, test_split, ROBUST_SAMPLES, seen, spec, eps, seed)[0] if spec else None
    _, loss = _correct_and_loss(model, train_split, LOSS_SAMPLES, seen, spec, eps, seed)
    return {
        "inputs": "filtered" if recipe.method == standard_filtered.__name__ else "clean",
        "clean_accuracy": clean,
        "clean_samples": min(CLEAN_SAMPLES, len(test_split.y)),
        "robust_accuracy": robust,
        "robust_samples": min(ROBUST_SAMPLES, len(test_split.y)) if spec else 0,
        "attack": recipe.attack if spec else None,
        "loss_over_chance": _finite(loss / math.log(classes)),
        "loss_samples": min(LOSS_SAMPLES, len(train_split.y)),
        "final_loss": _finite(float(history["train_loss"].iloc[-1])) if len(history) else None,
        "updates": count_updates(history, recipe, len(train_split.y)),
        "classes": classes,
    }


def count_updates(history: pd.DataFrame, recipe: Recipe, samples: int) -> int:
    """Return how often the weights were updated: batches of each epoch, or what the history counts as its ``outer_updates``."""
    batches = math.ceil(samples / (recipe.batch_size or samples))
    if "outer_updates" in history:  # empty in epochs of another optimizer
        return int(history["outer_updates"].fillna(batches).sum())
    return len(history) * batches


def _inputs_of_training(recipe: Recipe) -> Callable[[Tensor], Tensor]:
    """Return what the recipe's method makes of clean inputs (B, ...) before it trains on them."""
    if recipe.method == standard_filtered.__name__:
        return functools.partial(filter_images, **recipe.parameters)
    return torch.Tensor.detach


def _correct_and_loss(
    model: nn.Module,
    split: Split,
    samples: int,
    seen: Callable[[Tensor], Tensor],
    spec: AttackSpec | None,
    eps: float,
    seed: int,
) -> tuple[float, float]:
    """Return accuracy (percent) and mean cross-entropy of the first ``samples``, as ``seen`` gives them, attacked by ``spec``."""
    inputs, labels = split.first(samples)
    correct, loss = 0, 0.0
    for index in torch.arange(len(labels), device=labels.device).split(_BATCH):
        x, y = seen(inputs[index]), labels[index]
        if spec is not None:
            x = _attacked(model, x, y, index, spec, eps, seed)
        with torch.no_grad():
            logits: Tensor = model(x)
        correct += int((logits.argmax(1) == y).sum())
        loss += float(F.cross_entropy(logits.double(), y, reduction="sum"))
    return 100.0 * correct / max(len(labels), 1), loss / max(len(labels), 1)


def _attacked(model: nn.Module, x: Tensor, y: Tensor, index: Tensor, spec: AttackSpec, eps: float, seed: int) -> Tensor:
    """Return a checked batch of adversarial inputs (B, ...) of the training attack, the model in eval mode."""
    threat = ThreatModel(spec.norm, eps, spec.bounds)
    generator = SampleGenerator.seeded(derive_seed(seed, "health"), index, index.device)
    attack = TrainingAttack(catalog.load_function("attack", spec.attack), spec.parameters, threat, generator)
    x_adv = attack(model, x, y)
    threat.check(x_adv, x)
    return x_adv


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
