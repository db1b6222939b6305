"""The adversarial loss at points of parameter space, with the maximum inside.

    g(c) = (1/N) sum_n max_{eta_n} loss(x_n + eta_n, y_n, w + sum_i c_i h_i)            (yamada2021 equation 5)

The perturbation is found anew at every point, against the weights of that point: with a frozen perturbation g is the
landscape of another function. Random noise, which maximises nothing, is drawn anew. Batch normalisation is in eval
mode and its running statistics are those of the trained model at every point.

Cost of a point: the attack's passes and one forward pass for the loss; with the clean loss one forward pass more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from robustscape.attacks._prepared import prepared
from robustscape.attacks.craft import craft
from robustscape.attacks.gradients import Classifier, refuse_nan
from robustscape.attacks.losses import cross_entropy
from robustscape.config.attacks import AttackSpec
from robustscape.errors import ConfigError
from robustscape.landscape.directions import Direction, movable, parameters_of
from robustscape.models.logistic_regression import LogisticRegression

Inside = Literal["recomputed", "redrawn", "frozen"]

#: Samples of a forward pass.
BATCH = 512

#: Input numbers in flight when many points are evaluated at once: what stays in a CPU core's cache.
STACKED = 2**18

#: Attacks whose every step takes the whole batch, so that the batch may hold the same samples at several points.
LOCKSTEP = {"pgd", "fgsm", "bim", "random_noise"}


@dataclass(frozen=True)
class Inner:
    """How the maximum inside is found.

    Args:
        attack: the attack; its model mode must be "eval".
        eps: radius; 0 makes the clean loss.
        inside: "recomputed" at every point with the same random numbers (start points); "redrawn": recomputed with new
            ones, for random noise; "frozen": the perturbation found at the origin is kept.
        seed: of the attack's random numbers.
    """

    attack: AttackSpec
    eps: float
    inside: Inside = "recomputed"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.attack.model_mode != "eval":
            raise ConfigError("a landscape is measured in eval mode, but the attack's model_mode is 'train'.")

    def numbers(self, index: Tensor, point: int) -> Tensor:
        """Sample numbers of the attack's random streams at the given point."""
        return index + point * 2**32 if self.inside == "redrawn" else index


@dataclass(frozen=True)
class Points:
    """What was found at K points; float64 tensors (K,) on the CPU."""

    loss: Tensor
    """Mean over samples of the loss at the attacked inputs, nats."""
    error: Tensor
    """Share of attacked inputs that are misclassified, in [0, 1]."""
    clean_loss: Tensor
    """Mean loss at the inputs themselves, nats."""


def evaluate(model: Classifier, x: Tensor, y: Tensor, batch_size: int = BATCH) -> tuple[Tensor, Tensor]:
    """Cross-entropy (N,) and correctness (N,) of each sample; one forward pass, one flag copied to the host.

    Raises:
        AttackError: the model answers NaN or infinity.
    """
    with torch.no_grad():
        logits = torch.cat([model(part) for part in x.split(batch_size)])
        refuse_nan(logits)
        return cross_entropy(logits, y), logits.argmax(1) == y


def surface(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    directions: Sequence[Direction],
    coordinates: Tensor,
    inner: Inner,
) -> Points:
    """Losses at the points w + coordinates @ directions. A copy of the model in eval mode is moved, never the model.

    Args:
        model: any net.
        x: inputs (N, ...).
        y: labels (N,).
        directions: D directions, see ``directions.py``.
        coordinates: (K, D); equal rows are computed once.
        inner: the inner maximisation.
    """
    index = torch.arange(len(x), device=x.device)
    rows, place = torch.unique(coordinates.double().cpu(), dim=0, return_inverse=True)
    points = rows.tolist()
    copy = prepared(model)
    together = _points_together(model, x, inner)
    method = _stacked if together > 1 else _one_by_one
    loss, hits, clean = method(copy, x, y, directions, points, inner, index, together)
    return Points(loss.cpu()[place], 1 - hits.cpu()[place], clean.cpu()[place])


def _points_together(model: nn.Module, x: Tensor, inner: Inner) -> int:
    """How many points to evaluate in one batch.

    Stacking pays where the arithmetic of a step is smaller than the overhead of starting it: measured, only for
    logistic regression on small inputs on a CPU (benchmarks/landscape.py); convolutions with stacked weights are
    slower from a width of 16 on.
    """
    small = isinstance(getattr(model, "net", model), LogisticRegression) and x.device.type == "cpu"
    parameters = inner.attack.parameters
    if not small or inner.attack.attack not in LOCKSTEP or parameters.get("early_release") or inner.inside == "frozen":
        return 1
    return max(1, STACKED // max(1, x.numel()))


def _one_by_one(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    directions: Sequence[Direction],
    points: list[list[float]],
    inner: Inner,
    index: Tensor,
    together: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Means of loss, correctness and clean loss at each point, float64 (K,) on the model's device."""
    results = []
    batch = max(1, min(BATCH, STACKED // x[0].numel())) if x.device.type == "cpu" else BATCH

    def attacked(point: int) -> Tensor:
        if inner.eps == 0:
            return x
        numbers = inner.numbers(index, point)
        return craft(model, x, y, inner.attack, inner.eps, seed=inner.seed, index=numbers, batch_size=batch)

    with movable(model) as move:
        kept = attacked(0) if inner.inside == "frozen" else None
        for number, point in enumerate(points):
            move(directions, point)
            x_adv = attacked(number) if kept is None else kept
            losses, hits = evaluate(model, x_adv, y)
            clean = losses if x_adv is x else evaluate(model, x, y)[0]
            results.append(torch.stack([losses.double().mean(), hits.double().mean(), clean.double().mean()]))
    loss, hit, clean = torch.stack(results, dim=1)
    return loss, hit, clean


def _stacked(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    directions: Sequence[Direction],
    points: list[list[float]],
    inner: Inner,
    index: Tensor,
    together: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """``_one_by_one`` with ``together`` points a batch: the attack sees a model of (points x samples) inputs.

    Attacks treat samples alone, so this changes results by rounding only.
    """
    origin, buffers = parameters_of(model), dict(model.named_buffers())
    results = []
    for first in range(0, len(points), together):
        group = torch.tensor(points[first : first + together])
        many, weights = len(group), {}
        for name, tensor in origin.items():
            moves = torch.stack([direction[name] for direction in directions])
            weights[name] = tensor + torch.tensordot(group.to(moves), moves, dims=1)
        net = torch.vmap(lambda w, inputs: functional_call(model, (w, buffers), (inputs,)))

        def stack(inputs: Tensor, net=net, weights=weights, many=many) -> Tensor:  # type: ignore[no-untyped-def]
            return net(weights, inputs.unflatten(0, (many, -1))).flatten(0, 1)

        inputs, labels = x.repeat(many, *[1] * (x.dim() - 1)), y.repeat(many)
        clean, hits = evaluate(stack, inputs, labels, len(inputs))
        losses = clean
        if inner.eps > 0:
            numbers = torch.cat([inner.numbers(index, first + offset) for offset in range(many)])
            settings = {"seed": inner.seed, "index": numbers, "batch_size": len(inputs)}
            x_adv = craft(stack, inputs, labels, inner.attack, inner.eps, **settings)
            losses, hits = evaluate(stack, x_adv, labels, len(inputs))
        results.append(torch.stack([values.view(many, -1).double().mean(1) for values in (losses, hits, clean)]))
    loss, hit, clean = torch.cat(results, dim=1)
    return loss, hit, clean
