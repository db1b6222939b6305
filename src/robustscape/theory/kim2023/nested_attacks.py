"""kim2023, equation 3.18: the largest divergence and log ratio in a ball grow with its radius."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import input_gradient
from robustscape.attacks.base.threat import TOLERANCE, ThreatModel
from robustscape.attacks.kl_pgd import kl_divergence, kl_pgd
from robustscape.theory.rows import check_row


def nested_attacks(
    *,
    eps_values: list[Annotated[float, Field(gt=0)]] = [0.05, 0.1, 0.2, 0.4],  # noqa: B006  (read from the syntax tree as a schema)
    samples: Annotated[int, Field(ge=1)] = 200,
    dimension: Annotated[int, Field(ge=2)] = 16,
    classes: Annotated[int, Field(ge=2)] = 5,
    steps: Annotated[int, Field(ge=1)] = 10,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check max_{B(x, eps_1)} KL(p || p') <= max_{B(x, eps_2)} KL(p || p') for eps_1 < eps_2, with maxima found by attacks.

    Errata: the second maximum is printed over B(x, eps_1), too, and |alpha| stands for |log alpha|. An attack in the larger ball
    that starts from the result in the smaller one cannot find less, for each sample; for independent attacks only the mean has to
    rise.

    Args:
        eps_values: perturbation budgets.
        samples: number of random inputs.
        dimension: dimension of the inputs.
        classes: number of classes of the random net.
        steps: number of steps of the attacks.
        seed: seed of the net, inputs and attacks.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(dimension, 32), nn.Tanh(), nn.Linear(32, classes))
    model.requires_grad_(False).eval()
    x = torch.randn(samples, dimension, generator=generator)
    y = torch.zeros(samples, dtype=torch.int64)
    clean = model(x)
    point, highest, ratio, plain = x, torch.zeros(samples), torch.zeros(samples), []
    falls = ratios_fall = outside = 0
    for eps in sorted(eps_values):
        threat = ThreatModel("Linf", eps, None)
        alone = kl_pgd(model, x, y, threat, SampleGenerator.seeded(seed, samples), steps=steps)
        plain.append(kl_divergence(model(alone), clean).mean().item())
        start = torch.where(_as_column(highest > kl_divergence(model(alone), clean)), point, alone)
        before, before_ratio = highest, ratio
        point, highest = _strongest_kl_points(model, clean, x, start, threat, steps)
        ratio = torch.maximum(ratio, (clean.log_softmax(1) - model(point).log_softmax(1)).abs().amax(1))
        falls += int((highest < before).sum())
        ratios_fall += int((ratio < before_ratio).sum())
        outside += int((threat.distance(point, x) > eps + TOLERANCE * (1 + eps)).sum())
    protocol = {"samples": samples, "dimension": dimension, "classes": classes, "steps": steps, "seed": seed}
    rises = [after - before for before, after in itertools.pairwise(plain)]
    return [
        check_row("eq 3.18", "samples whose divergence falls with eps, nested attacks", falls, "==", 0.0, **protocol),
        check_row("eq 3.18", "samples whose largest |log alpha| falls with eps", ratios_fall, "==", 0.0, **protocol),
        check_row("eq 3.18", "nested attacks outside of their ball", outside, "==", 0.0, **protocol),
        *(
            check_row("eq 3.18", "rise of the mean divergence with eps, plain attacks", rise, ">", 0.0, **protocol)
            for rise in rises
        ),
    ]


def _as_column(mask: Tensor) -> Tensor:
    return mask[:, None]


def _strongest_kl_points(
    model: nn.Module, clean: Tensor, x: Tensor, start: Tensor, threat: ThreatModel, steps: int
) -> tuple[Tensor, Tensor]:
    """Return the points of highest KL(p(x) || p(.)) on the path of PGD from ``start``, (N, d), and that divergence, (N,)."""
    point, best, highest = start, start, kl_divergence(model(start), clean)
    for _ in range(steps):
        _, _, gradient = input_gradient(model, point, clean, kl_divergence)
        point = threat.project(point + 0.25 * threat.eps_like(x) * threat.ascent(gradient), x)
        found = kl_divergence(model(point), clean)
        best, highest = torch.where(_as_column(found > highest), point, best), torch.maximum(found, highest)
    return best, highest
