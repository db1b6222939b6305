"""Monotone loss of the true class's probability on the way to the attacked input: assumption 1 of kim2023 (part B, chapter 3).

With gamma(t) = x + t (x* - x), the percentage of samples whose p_y(gamma(t)) never rises along t = 0, 1/m, ..., 1. Theorem 3.4
(the bridged divergence is at most the divergence it replaces) assumes it. Cost: the attack and m + 1 forward passes for each m.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier, frozen_copy, predict
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.smoothness import divergence
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns


def bridges(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    segments: list[Annotated[int, Field(ge=1)]] = [2, 10],  # noqa: B006  (read from the syntax tree as a schema)
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "test",
) -> list[dict[str, Any]]:
    """Return rows monotone_paths (percent) and bridged_kl_ratio, one of each per number of segments.

    The ratio is the sum of the segments' mean divergences over the mean divergence of the two ends; NaN if that is 0.

    Args:
        run: the trained model and its data.
        attack: makes x*.
        segments: numbers m of equal segments.
        eps: perturbation budget; "run" for the run's own.
        samples: first samples of the split; None for all.
        split: which split.
    """
    attack_eps, (x, y) = run.attack_eps(eps), run.subset(split, samples)
    x_adv = craft(run.model, x, y, attack, attack_eps, seed=run.seed)
    rows: list[dict[str, Any]] = []
    for count in segments:
        log_p = log_probabilities_along_path(run.model, x, x_adv, count)
        true = log_p.gather(2, y.expand(count + 1, -1)[..., None]).squeeze(2)
        monotone = percent_true((true.diff(dim=0) <= 0).all(0))
        whole = divergence(log_p[0], log_p[-1]).double().mean().item()
        parts = sum(divergence(a, b).double().mean().item() for a, b in itertools.pairwise(log_p))
        rows.append({"segments": count, "metric": "monotone_paths", "value": monotone, "unit": "percent"})
        ratio = parts / whole if whole else float("nan")
        rows.append({"segments": count, "metric": "bridged_kl_ratio", "value": ratio, "unit": "1"})
    return [row | protocol_columns(attack, attack_eps, split, len(y)) for row in rows]


def log_probabilities_along_path(
    model: Classifier, x: Tensor, x_adv: Tensor, segments: int, batch_size: int = 512
) -> Tensor:
    """Return log-probabilities (m + 1, N, C) at m + 1 equally spaced points of the straight path from ``x`` to ``x_adv``."""
    net = frozen_copy(model, x)
    return torch.stack(
        [
            torch.cat([predict(net, part) for part in torch.lerp(x, x_adv, k / segments).split(batch_size)])
            for k in range(segments + 1)
        ]
    ).log_softmax(2)
