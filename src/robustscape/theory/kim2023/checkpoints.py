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
    linear classifier of two classes has no distortion; a finer search finds no less distortion. Algorithm 1: k* is a multiple of
    1/c, the point is in the ball, and k* = 1 exactly where the start and all inner checkpoints are classified correctly.

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
    ]
    threat = ThreatModel("Linf", eps)
    start = threat.random_point(x, SampleGenerator.seeded(seed, samples)).double()
    for c in checkpoints:
        points, steps = shortest_misclassified_step(wavy, x, start, labels, threat, c, 1.25)
        off_grid = (steps * c - (steps * c).round()).abs().max().item()
        farthest = threat.distance(points, x).max().item()
        full, _ = shortest_misclassified_step(_Always(wavy, labels), x, start, labels, threat, c, 1.25)
        right = wavy(start).argmax(1) == labels
        for j in range(1, c):
            right &= wavy(torch.lerp(x, full, j / c)).argmax(1) == labels
        mistaken = int(((steps == 1) != right).sum())
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
                "samples with k* = 1 but a wrong checkpoint, or none wrong but k* < 1",
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


class _Always(nn.Module):
    """A classifier with the gradients of a model that always predicts the labels, so that algorithm 1 takes the full step."""

    def __init__(self, model: nn.Module, labels: Tensor) -> None:
        super().__init__()
        self.model, self.labels = model, labels

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        raised = torch.nn.functional.one_hot(self.labels, logits.shape[1]).repeat(len(x) // len(self.labels), 1)
        return logits + 1e3 * raised if not torch.is_grad_enabled() else logits
