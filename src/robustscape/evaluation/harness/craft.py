"""The one driver of attacks outside of training: batches, randomness, checks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from robustscape import catalog
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, misclassified, predict
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.precision.prepared import Precision, Watched, device_of, prepared
from robustscape.config.attacks import AttackSpec

Progress = Callable[[int, int], None]

#: Samples of a pass on a CPU: the activations of more no longer fit its caches.
BATCH_SIZE = 128

#: And on a GPU, which wants more.
GPU_BATCH_SIZE = 500


def craft(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    spec: AttackSpec,
    eps: float | Tensor,
    *,
    seed: int,
    batch_size: int | None = None,
    index: Tensor | None = None,
    precision: Precision = "fp32",
    progress: Progress | None = None,
) -> Tensor:
    """Adversarial inputs, shape and device of ``x``.

    The model is attacked as a frozen copy in the mode the specification names, so neither its weights nor its running
    statistics change. Randomness belongs to a sample (its number and ``seed``), so batch size and order change nothing
    beyond float rounding. Every batch is checked: shape, ball, range, finite (contract 8).

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (N, ...); batches are moved to the model's device.
        y: labels (N,), or wanted classes for a targeted specification.
        spec: the attack and its protocol.
        eps: perturbation budget, or one per sample (N,); where it is 0 the input is returned; infinite for noise without a ball.
        seed: of the samples' random streams.
        batch_size: samples of a pass; None: what suits the device.
        index: numbers of the samples, int64 (N,); None: 0 to N - 1.
        precision: "bf16" is faster and changes results: gradients far from decision boundaries are in bfloat16.
        progress: called with (samples done, N) after each batch.

    Raises:
        AttackError: the attack returned an illegal batch, or the model NaN.
    """
    threat = ThreatModel(spec.norm, eps, spec.bounds)
    numbers = torch.arange(len(x)) if index is None else index.cpu()
    attacked = Watched(prepared(model, train=spec.model_mode == "train", precision=precision))
    result = x.clone()
    rows = torch.arange(len(x))
    if isinstance(eps, Tensor):
        rows = rows[eps.cpu() > 0]
    elif eps == 0:
        rows = rows[:0]
    for batch in batches(rows, batch_size or default_batch_size(model, x)):
        found = craft_batch(attacked, x[batch], y[batch], spec, threat.select(batch), seed, numbers[batch])
        result[batch] = found.to(x)
        if progress is not None:
            progress(int(batch[-1]) + 1, len(x))
    return result


def craft_batch(
    model: Watched, x: Tensor, y: Tensor, spec: AttackSpec, threat: ThreatModel, seed: int, numbers: Tensor
) -> Tensor:
    """One checked batch of ``craft``, on the model's device."""
    device = device_of(model, x)
    x, y = x.to(device), y.to(device)
    if isinstance(threat.eps, Tensor):
        threat = replace(threat, eps=threat.eps.to(device))
    attack: Callable[..., Tensor] = catalog.load_function("attack", spec.attack)
    x_adv = attack(model, x, y, threat, SampleGenerator.seeded(seed, numbers, device), **spec.parameters).detach()
    model.refuse(spec.attack)
    threat.check(x_adv, x)
    return x_adv


def correctly_classified(
    model: Classifier, x: Tensor, y: Tensor, *, batch_size: int | None = None, name: str = "the evaluation"
) -> Tensor:
    """Which samples are classified correctly, bool (N,) on the device of ``x``. The model decides in eval mode."""
    watched = Watched(prepared(model))
    device = device_of(watched, x)
    right = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for batch in batches(torch.arange(len(x)), batch_size or default_batch_size(model, x)):
        right[batch] = ~misclassified(predict(watched, x[batch].to(device)), y[batch].to(device)).to(x.device)
    watched.refuse(name)
    return right


def batches(rows: Tensor, size: int) -> list[Tensor]:
    """``rows`` in pieces of ``size``; none if there are none (``Tensor.split`` would give an empty one)."""
    return list(rows.split(size)) if len(rows) else []


def default_batch_size(model: Classifier, x: Tensor) -> int:
    """What suits the model's device."""
    return GPU_BATCH_SIZE if device_of(model, x).type == "cuda" else BATCH_SIZE


def accuracy(right: Tensor) -> float:
    """Share of true values, in percent; NaN of none."""
    return 100.0 * right.float().mean().item() if len(right) else math.nan
