"""kim2023, equation 3.18: the largest divergence and log ratios in a ball grow with its radius."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import input_gradient
from robustscape.attacks.base.threat import TOLERANCE, ThreatModel
from robustscape.attacks.kl_pgd import kl_divergence, kl_pgd
from robustscape.theory.rows import check_row

#: From logits (N, C) and a target (N, ...) to what is maximised, (N,).
Objective = Callable[[Tensor, Tensor], Tensor]


def nested_attacks(
    *,
    eps_values: list[Annotated[float, Field(gt=0)]] = [0.05, 0.1, 0.2, 0.4],  # noqa: B006  (read from the syntax tree as a schema)
    samples: Annotated[int, Field(ge=1)] = 200,
    dimension: Annotated[int, Field(ge=2)] = 16,
    classes: Annotated[int, Field(ge=2)] = 5,
    steps: Annotated[int, Field(ge=1)] = 10,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check max_{B(x, eps_1)} F(x') < max_{B(x, eps_2)} F(x') for eps_1 < eps_2, with maxima found by attacks.

    F is KL(p || p'), log p_y - log p'_y for the predicted class y, and log p'_t - log p_t for the class t after it. Errata: the
    second maximum is printed over B(x, eps_1), too, and |alpha| stands for |log alpha|. An attack in the larger ball starts from
    the result in the smaller one, so it cannot find less; that it finds more, for every sample, is its own work. On a linear net
    of two classes the maximum is known: at one of the two corners x +- eps sign(w). Independent attacks need to rise in the mean
    only.

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
        net = nn.Sequential(nn.Linear(dimension, 32), nn.Tanh(), nn.Linear(32, classes))
        line = nn.Linear(dimension, 2)
    for model in (net, line):
        model.requires_grad_(False).eval()
    x = torch.randn(samples, dimension, generator=generator)
    near = x + 1e-3 * torch.randn(samples, dimension, generator=generator)
    budgets = [ThreatModel("Linf", eps, None) for eps in sorted(eps_values)]
    clean = net(x)
    first, second = clean.topk(2, dim=1).indices.unbind(1)
    protocol = {"samples": samples, "dimension": dimension, "classes": classes, "steps": steps, "seed": seed}
    rows, outside = [], 0
    for what, objective in (
        ("divergence", kl_divergence),
        ("log alpha of the predicted class", _log_ratio(first, 1.0)),
        ("-log alpha of the next class", _log_ratio(second, -1.0)),
    ):
        point, highest, stuck = near, torch.zeros(samples), 0
        for threat in budgets:
            before = highest
            point, highest = strongest_points(net, clean, objective, x, threat.project(point, x), threat, steps)
            stuck += int((highest <= before).sum())
            outside += int((threat.distance(point, x) > threat.eps + TOLERANCE * (1 + threat.eps)).sum())
        text = f"samples and eps whose largest {what} does not rise, nested attacks"
        rows.append(check_row("eq 3.18", text, stuck, "==", 0.0, **protocol))
    rows.append(check_row("eq 3.18", "nested attacks outside of their ball", outside, "==", 0.0, **protocol))
    rows.append(
        check_row(
            "eq 3.18",
            "largest relative difference from the maximum of a linear net of two classes",
            max(_difference_from_exact(line, x, threat, steps) for threat in budgets),
            "==",
            0.0,
            tolerance=1e-4,
            **protocol,
        )
    )
    plain = [
        kl_divergence(
            net(kl_pgd(net, x, first, threat, SampleGenerator.seeded(seed, samples), steps=steps)), clean
        ).mean()
        for threat in budgets
    ]
    rows += [
        check_row(
            "eq 3.18", "rise of the mean divergence with eps, plain attacks", (b - a).item(), ">", 0.0, **protocol
        )
        for a, b in itertools.pairwise([torch.zeros(()), *plain])
    ]
    return rows


def _log_ratio(chosen: Tensor, side: float) -> Objective:
    """Return ``side`` (log p_i - log p'_i) as a function of the logits at x' and at x, for the classes ``chosen`` (N,)."""

    def objective(logits: Tensor, clean: Tensor) -> Tensor:
        ratios = clean.log_softmax(1) - logits.log_softmax(1)
        return side * ratios.gather(1, chosen[:, None]).squeeze(1)

    return objective


def strongest_points(
    model: nn.Module, clean: Tensor, objective: Objective, x: Tensor, start: Tensor, threat: ThreatModel, steps: int
) -> tuple[Tensor, Tensor]:
    """Return the points of the highest objective on the path of PGD from ``start``, (N, d), and that objective, (N,)."""
    point, best, highest = start, start, objective(model(start), clean)
    for _ in range(steps):
        _, _, gradient = input_gradient(model, point, clean, objective)
        point = threat.project(point + 0.25 * threat.eps_like(x) * threat.ascent(gradient), x)
        found = objective(model(point), clean)
        best, highest = torch.where((found > highest)[:, None], point, best), torch.maximum(found, highest)
    return best, highest


def _difference_from_exact(line: nn.Linear, x: Tensor, threat: ThreatModel, steps: int) -> float:
    """Return the largest relative difference of the divergences found from the largest in the ball of each sample."""
    clean, direction = line(x), (line.weight[1] - line.weight[0]).sign()
    corners = [kl_divergence(line(x + side * threat.eps_like(x) * direction), clean) for side in (-1, 1)]
    exact = torch.maximum(*corners)
    found = [
        strongest_points(line, clean, kl_divergence, x, x + side * 1e-3 * direction, threat, steps)[1]
        for side in (-1, 1)
    ]
    return ((torch.maximum(*found) - exact).abs() / exact).max().item()
