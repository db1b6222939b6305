"""kim2023, chapter 2: equation 2.6, the nonlinearity, the distortion and the invariants of algorithm 1, on random models."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.evaluation.harness.distorted import distorted
from robustscape.evaluation.nonlinearity import loss_nonlinearity
from robustscape.theory.rows import check_row
from robustscape.training.methods.single_step_checkpoints import shortest_misclassified_step


def checkpoints(
    *,
    dimension: Annotated[int, Field(ge=2)] = 16,
    samples: Annotated[int, Field(ge=10)] = 200,
    eps: Annotated[float, Field(gt=0)] = 0.2,
    checkpoints: list[Annotated[int, Field(ge=1)]] = [1, 2, 3, 4],  # noqa: B006  (read from the syntax tree as a schema)
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check statements that hold for all models, on random linear classifiers and on a net with many boundaries within eps.

    Equation 2.6: a linear loss rises by eps ||grad||_1 along the single step, so gamma = 0; gamma >= 0 for a linear classifier; a
    linear classifier of two classes has no distortion; a finer search finds no less distortion; and of the net, half of it with
    random labels, gamma and both masks of the distortion are those worked out here from the equations. Algorithm 1: k* is a
    multiple of 1/c, the point is in the ball, delta is the single step worked out here, the point is x + k* delta (x + eta does
    the testing at k = 0), and k* is the first of 0, 1/c, ... that is misclassified, else 1.

    Args:
        dimension: dimension of the inputs.
        samples: number of random inputs.
        eps: perturbation budget.
        checkpoints: values of c, the number of checkpoints.
        seed: seed of the models, inputs and labels.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(samples, dimension, generator=generator, dtype=torch.float64)
    weights = torch.randn(3, dimension, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (samples,), generator=generator)
    protocol = {"dimension": dimension, "samples": samples, "eps": eps, "seed": seed}

    def chosen_logit(logits: Tensor, labels: Tensor) -> Tensor:
        return -logits.gather(1, labels[:, None]).squeeze(1)

    linear, two = _linear(weights), _linear(weights[:2])
    single = loss_nonlinearity(linear, x, y, eps, chosen_logit).abs().max().item()
    convex = loss_nonlinearity(linear, x, y, eps).min().item()
    halves, counted = distorted(two, x, y.clamp_max(1), eps, 100)
    wavy = _Wavy(dimension, generator)
    labels = wavy(x).argmax(1)
    coarse, fine = (distorted(wavy, x, labels, eps, points)[0].sum().item() for points in (9, 99))  # i/10 is 10 i/100
    mixed = torch.where(torch.arange(samples) % 2 == 0, labels, y)
    gap = (loss_nonlinearity(wavy, x, mixed, eps) - _nonlinearity(wavy, x, mixed, eps)).abs().max().item()
    masks = zip(distorted(wavy, x, mixed, eps, 9), _distorted(wavy, x, mixed, eps, 9), strict=True)
    miscounted = sum(int((mask != expected).sum()) for mask, expected in masks)
    rows = [
        check_row("eq 2.6", "largest |gamma| of a linear loss", single, "==", 0.0, tolerance=1e-10, **protocol),
        check_row("eq 2.10", "smallest gamma of a linear classifier", convex, ">=", 0.0, tolerance=1e-10, **protocol),
        check_row(
            "eq 2.5",
            "samples counted by the distortion of a linear classifier",
            int(counted.sum()),
            ">",
            0.0,
            **protocol,
        ),
        check_row(
            "eq 2.5",
            "distorted samples of a linear classifier of two classes",
            int(halves.sum()),
            "==",
            0.0,
            **protocol,
        ),
        check_row("eq 2.5", "distorted samples found by 99 points, against 9", fine, ">=", coarse, **protocol),
        check_row("eq 2.5", "distorted samples found by 99 points", fine, ">", 0.0, **protocol),
        check_row("eq 2.5", "samples of S_D and S_N or S_N told wrongly", miscounted, "==", 0.0, **protocol),
        check_row("eq 2.10", "largest error of gamma", gap, "==", 0.0, tolerance=1e-9, **protocol),
    ]
    threat = ThreatModel("Linf", eps)
    start = threat.random_point(x, SampleGenerator.seeded(seed, samples)).double()
    for c in checkpoints:
        points, steps = shortest_misclassified_step(wavy, x, start, mixed, threat, c, 1.25)
        off_grid = (steps * c - (steps * c).round()).abs().max().item()
        farthest = threat.distance(points, x).max().item()
        delta = _single_step(wavy, x, start, mixed, eps)
        beside = (points - x - steps[:, None] * delta).abs().max().item()
        shortest = _first_misclassified(wavy, x, start, delta, mixed, c)
        mistaken = int(((steps * c).round() != shortest).sum())
        rows += [
            check_row(
                "algorithm 1",
                "largest distance of c k* from a whole number",
                off_grid,
                "==",
                0.0,
                tolerance=1e-6,
                checkpoints=c,
                **protocol,
            ),
            check_row(
                "algorithm 1", "largest ||x' - x||", farthest, "<=", eps, tolerance=1e-9, checkpoints=c, **protocol
            ),
            check_row(
                "algorithm 1",
                "largest |x' - x - k* delta|",
                beside,
                "==",
                0.0,
                tolerance=1e-9,
                checkpoints=c,
                **protocol,
            ),
            check_row(
                "algorithm 1",
                "samples whose k* is not the first misclassified of 0, 1/c, ..., or 1 of none",
                mistaken,
                "==",
                0.0,
                checkpoints=c,
                **protocol,
            ),
        ]
    return rows


def _linear(weights: Tensor) -> nn.Module:
    """Return a linear classifier with these weights (C, d), without bias."""
    model = nn.Linear(weights.shape[1], weights.shape[0], bias=False, dtype=weights.dtype)
    with torch.no_grad():
        model.weight.copy_(weights)
    return model.requires_grad_(False).eval()


class _Wavy(nn.Module):
    """A classifier whose logits change direction many times within eps."""

    def __init__(self, dimension: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("inner", 6 * torch.randn(64, dimension, generator=generator, dtype=torch.float64))
        self.register_buffer("outer", torch.randn(3, 64, generator=generator, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.inner.T).sin() @ self.outer.T  # type: ignore[operator]


def _gradient(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of each sample, (N,), and its gradient in the inputs, (N, d)."""
    with torch.enable_grad():
        inputs = x.detach().requires_grad_(True)
        losses = -model(inputs).log_softmax(1)[torch.arange(len(y)), y]
        (gradient,) = torch.autograd.grad(losses.sum(), inputs)
    return losses.detach(), gradient


def _nonlinearity(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Return gamma of each sample, (N,), by equation 2.10."""
    before, gradient = _gradient(model, x, y)
    after, _ = _gradient(model, x + eps * gradient.sign(), y)
    return after - before - eps * gradient.abs().sum(1)


def _distorted(model: nn.Module, x: Tensor, y: Tensor, eps: float, points: int) -> tuple[Tensor, Tensor]:
    """Return the masks (N,) of S_D and S_N and of S_N by equation 2.5, the step cut to [0, 1], k at ``points`` inner points."""
    delta = (x + eps * _gradient(model, x, y)[1].sign()).clamp(0, 1) - x
    right = (model(x).argmax(1) == y) & (model(x + delta).argmax(1) == y)
    wrong = torch.zeros_like(right)
    for i in range(1, points + 1):
        wrong |= model(x + i / (points + 1) * delta).argmax(1) != y
    return wrong & right, right


def _single_step(model: nn.Module, x: Tensor, start: Tensor, y: Tensor, eps: float) -> Tensor:
    """Return delta of fast AT, (N, d): 1.25 eps along the gradient's sign at ``start``, cut to the ball of x and to [0, 1]."""
    end = start + 1.25 * eps * _gradient(model, start, y)[1].sign()
    return end.clamp(0, 1).clamp(x - eps, x + eps) - x


def _first_misclassified(model: nn.Module, x: Tensor, start: Tensor, delta: Tensor, y: Tensor, c: int) -> Tensor:
    """Return c k* of each sample, (N,), by algorithm 1: the first j that is misclassified, ``start`` for j = 0, else c."""
    found = torch.full((len(y),), float(c), dtype=x.dtype)
    for j in range(c - 1, -1, -1):
        wrong = model(x + j / c * delta if j else start).argmax(1) != y
        found[wrong] = float(j)
    return found
