"""The adversarial loss at points of parameter space, with the inner maximisation at every point.

    g(c) = (1/N) sum_n max_{eta_n} loss(x_n + eta_n, y_n, w + sum_i c_i h_i)            (yamada2021 equation 5)

The perturbation is found anew at every point, against the weights of that point; with a frozen perturbation g would be the
landscape of another function. Random noise, which maximises nothing, is drawn anew. BatchNorm is in eval mode, with the
running statistics of the trained model at every point.

Cost of a point: the attack's passes, one forward pass for the adversarial loss and one for the clean loss.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from robustscape import devices
from robustscape.attacks.base.gradients import Classifier, frozen_copy
from robustscape.attacks.base.losses import cross_entropy
from robustscape.config.attacks import AttackSpec
from robustscape.errors import AttackError, ConfigError
from robustscape.evaluation.harness.craft import craft
from robustscape.landscape.directions import Direction, movable, parameters_of
from robustscape.storage.atomic import write_json

Inside = Literal["recomputed", "redrawn", "frozen"]

#: Samples of a forward pass.
BATCH = 512

#: Activations of the first layer in one batch when many points are evaluated together: as many as fit a CPU core's cache.
STACKED = 2**18

#: Points are evaluated together up to this product of the size of the inputs and the mean size of a layer's weights.
NARROW = 5e7

#: Attacks that move the whole batch in every step, so that the batch may hold the same samples at several points.
LOCKSTEP = {"pgd", "fgsm", "bim", "random_noise"}


@dataclass(frozen=True)
class Inner:
    """The inner maximisation of an adversarial loss.

    Args:
        attack: the attack; its model mode must be "eval".
        eps: perturbation budget; 0: the clean loss.
        inside: "recomputed": at every point, with the same random numbers (start points); "redrawn": with new random
            numbers at every point, for random noise; "frozen": the perturbation found at the origin is kept.
        seed: of the attack's random numbers.
    """

    attack: AttackSpec
    eps: float
    inside: Inside = "recomputed"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.attack.model_mode != "eval":
            raise ConfigError("a landscape is measured in eval mode, but the attack's model_mode is 'train'.")

    def described(self) -> dict[str, Any]:
        """Return all of this as plain values."""
        attack = self.attack.model_dump(mode="json", exclude={"about"})
        return {"attack": attack, "eps": self.eps, "inside": self.inside, "seed": self.seed}

    def numbers(self, index: Tensor, point: int) -> Tensor:
        """Return the sample numbers of the attack's random streams at point number ``point``."""
        return index + point * 2**32 if self.inside == "redrawn" else index


@dataclass(frozen=True)
class Points:
    """Losses and error at K points; float64 tensors (K,) on the CPU."""

    loss: Tensor
    """Mean over samples of the loss at the attacked inputs, nats."""
    error: Tensor
    """Fraction of attacked inputs that are misclassified, in [0, 1]."""
    clean_loss: Tensor
    """Mean loss at the inputs themselves, nats."""

    def measured(self) -> list[tuple[str, Tensor, str]]:
        """Return metric, values (K,) and unit of each, the error in percent."""
        return [
            ("adversarial_loss", self.loss, "nats"),
            ("robust_error", 100.0 * self.error, "percent"),
            ("clean_loss", self.clean_loss, "nats"),
        ]


@devices.exact_fp32()
def losses_and_correctness(model: Classifier, x: Tensor, y: Tensor, batch_size: int = BATCH) -> tuple[Tensor, Tensor]:
    """Return cross-entropy (N,), in nats, and correctness, bool (N,), of each sample. Cost: one forward pass.

    Raises:
        AttackError: a logit is NaN or infinite.
    """
    with torch.no_grad():
        logits = torch.cat([model(part) for part in x.split(batch_size)])
        if not torch.isfinite(logits).all():
            raise AttackError("the model returns NaN or infinite logits, so it has no loss here.")
        return cross_entropy(logits, y), logits.argmax(1) == y


@devices.exact_fp32()
def surface(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    directions: Sequence[Direction],
    coordinates: Tensor,
    inner: Inner,
    state: Path | None = None,
) -> Points:
    """Return the losses at the points w + coordinates @ directions; a copy of the model in eval mode is moved, never the model.

    Args:
        model: any net.
        x: inputs (N, ...).
        y: labels (N,).
        directions: D directions, see ``landscape.directions``.
        coordinates: (K, D); equal rows are computed once.
        inner: the inner maximisation.
        state: a folder of this surface, where finished points are kept: after an interruption the same call continues
            from there and gives the same numbers; None: nowhere.
    """
    rows, place = torch.unique(coordinates.double().cpu(), dim=0, return_inverse=True)
    points: list[list[float]] = rows.tolist()
    together = _points_together(model, x, inner)
    copy = cast(nn.Module, frozen_copy(model, x))  # frozen, in eval mode, in the layout that is fastest here
    method = _one_by_one if together == 1 else partial(_stacked, together=together)
    record = _Record(state, {"coordinates": points, "samples": len(x), **inner.described()})
    for means in method(copy, x, y, directions, points, inner, len(record.found)):
        record.add(means.T.tolist())
    record.save()
    loss, hit, clean = torch.tensor(record.found, dtype=torch.float64).T[:, place]
    return Points(loss, 1 - hit, clean)


class _Record:
    """Finished points in their order, three means each, written to ``points.json`` at most once per second."""

    def __init__(self, folder: Path | None, surface: dict[str, Any]) -> None:
        self.path, self.surface = folder and folder / "points.json", surface
        self.found: list[list[float]] = []
        self.saved = time.monotonic()
        if self.path is not None and self.path.exists():
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            self.found = kept["found"] if kept["surface"] == json.loads(json.dumps(surface)) else []

    def add(self, means: list[list[float]]) -> None:
        """Add finished points."""
        self.found += means
        if time.monotonic() - self.saved > 1:
            self.save()

    def save(self) -> None:
        """Write all finished points, if there is a folder."""
        if self.path is not None:
            write_json(self.path, {"surface": self.surface, "found": self.found})
            self.saved = time.monotonic()


def _points_together(model: nn.Module, x: Tensor, inner: Inner) -> int:
    """The number of points to evaluate in one batch.

    Stacking is faster if the arithmetic of a layer costs less than the overhead of starting it: narrow nets with few, small
    inputs on a CPU (benchmarks/landscape.py). Wide convolutions are slower, because stacked weights make them grouped.
    """
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    parameters = inner.attack.parameters
    if x.device.type != "cpu" or inner.attack.attack not in LOCKSTEP or not weights:
        return 1
    if parameters.get("early_stopping") or inner.inside == "frozen":
        return 1
    if x.numel() * sum(weight.numel() for weight in weights) / len(weights) > NARROW:
        return 1
    return max(1, STACKED // max(1, x.numel() * weights[0].shape[0]))


def _one_by_one(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    directions: Sequence[Direction],
    points: list[list[float]],
    inner: Inner,
    done: int = 0,
) -> Iterator[Tensor]:
    """Yield the means of loss, correctness and clean loss, (3, 1) float64, of each point from number ``done``."""
    index = torch.arange(len(x), device=x.device)
    batch = max(1, min(BATCH, STACKED // x[0].numel())) if x.device.type == "cpu" else BATCH

    def attacked(point: int) -> Tensor:
        if inner.eps == 0:
            return x
        numbers = inner.numbers(index, point)
        return craft(model, x, y, inner.attack, inner.eps, seed=inner.seed, index=numbers, batch_size=batch)

    with movable(model) as move:
        kept = attacked(0) if inner.inside == "frozen" else None
        for number in range(done, len(points)):
            move(directions, points[number])
            x_adv = attacked(number) if kept is None else kept
            losses, hits = losses_and_correctness(model, x_adv, y)
            clean = losses if x_adv is x else losses_and_correctness(model, x, y)[0]
            yield torch.stack([values.double().mean() for values in (losses, hits, clean)])[:, None]


def _stacked(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    directions: Sequence[Direction],
    points: list[list[float]],
    inner: Inner,
    done: int = 0,
    *,
    together: int,
) -> Iterator[Tensor]:
    """``_one_by_one`` with ``together`` points per batch, (3, together): the attack sees a model of points x samples.

    Attacks treat every sample on its own, so results differ by rounding only.
    """
    origin, buffers = parameters_of(model), dict(model.named_buffers())
    index = torch.arange(len(x), device=x.device)
    net = torch.vmap(lambda weights, inputs: functional_call(model, (weights, buffers), (inputs,)))

    def model_of(weights: Direction, many: int) -> Classifier:
        return lambda inputs: net(weights, inputs.unflatten(0, (many, -1))).flatten(0, 1)

    for first in range(done, len(points), together):
        group = torch.tensor(points[first : first + together], dtype=torch.float64)
        many, weights = len(group), {}
        for name, tensor in origin.items():
            moves = torch.stack([direction[name] for direction in directions])
            weights[name] = tensor + torch.tensordot(group.to(moves), moves, dims=1)
        stack = model_of(weights, many)
        inputs, labels = x.repeat(many, *[1] * (x.dim() - 1)), y.repeat(many)
        clean, hits = losses_and_correctness(stack, inputs, labels, len(inputs))
        losses = clean
        if inner.eps > 0:
            x_adv = craft(
                stack,
                inputs,
                labels,
                inner.attack,
                inner.eps,
                seed=inner.seed,
                index=torch.cat([inner.numbers(index, first + offset) for offset in range(many)]),
                batch_size=len(inputs),
            )
            losses, hits = losses_and_correctness(stack, x_adv, labels, len(inputs))
        yield torch.stack([values.view(many, -1).double().mean(1) for values in (losses, hits, clean)])
