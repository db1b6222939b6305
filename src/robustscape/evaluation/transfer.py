"""Transfer matrices: examples crafted on one model, evaluated on another (kim2023 eq 3.6; ma2025 chapter 6).

    T_{S -> T} = P[ f_T(A(x, y; f_S)) != y ]           in percent; S = T is the white-box success rate

A source's examples are crafted once and evaluated on every target: N attacks and N x N passes for N models, and, for
each level of added noise, N x N passes per draw. Correctness is kept per sample, so every denominator comes from the
same passes:

- ``all``: all samples, including a target's clean errors (kim2023);
- ``all_models_right``: those that every model of the matrix classifies correctly;
- ``pair``: those that both models classify correctly and for which the white-box attacks on both succeed (ma2025
  section 6.5); for targets that are sources too;
- ``pair_parity``: those that pass an even number of the four tests of ``pair``, which ma2025's published code selects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import BATCH_SIZE, correctly_classified, craft
from robustscape.evaluation.noise_sensitivity import nullified_ratios, uniform_noise
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import attack_settings

#: In the order of the rows.
DENOMINATORS = ("all", "all_models_right", "pair", "pair_parity")


@dataclass(frozen=True)
class Outcomes:
    """Correctness of each of N samples, from which all rates are computed.

    Args:
        clean: by model, bool (N,).
        adversarial: by source and target, bool (N,).
        noisy: by source, target and level of noise, bool (draws, N).
    """

    clean: dict[str, Tensor]
    adversarial: dict[tuple[str, str], Tensor]
    noisy: dict[tuple[str, str, float], Tensor] = field(default_factory=dict)


def transfer_outcomes(
    sources: Mapping[str, Classifier],
    targets: Mapping[str, Classifier],
    x: Tensor,
    y: Tensor,
    attack: AttackSpec,
    eps: float | Tensor,
    *,
    seed: int,
    noise: Sequence[float] = (),
    draws: int = 3,
    batch_size: int = BATCH_SIZE,
) -> Outcomes:
    """Craft on every source, evaluate on every target; see ``transfer_matrix`` for the arguments."""
    clean = {
        name: correctly_classified(model, x, y, batch_size=batch_size) for name, model in {**sources, **targets}.items()
    }
    threat = ThreatModel(attack.norm, eps, None)
    adversarial, noisy = {}, {}
    for source, model in sources.items():
        points = craft(model, x, y, attack, eps, seed=seed, batch_size=batch_size)
        for target, net in targets.items():
            adversarial[source, target] = correctly_classified(net, points, y, batch_size=batch_size)
        under_noise: dict[tuple[str, str, float], list[Tensor]] = {
            (source, target, level): [] for level in noise for target in targets
        }
        for draw in range(draws if noise else 0):
            offset = uniform_noise(points, threat, seed, draw)
            for level in noise:
                noisy_points = points + level * offset
                for target, net in targets.items():
                    under_noise[source, target, level].append(
                        correctly_classified(net, noisy_points, y, batch_size=batch_size)
                    )
        noisy.update({key: torch.stack(rows) for key, rows in under_noise.items()})
    return Outcomes(clean, adversarial, noisy)


def denominator_mask(outcomes: Outcomes, source: str, target: str, denominator: str) -> Tensor | None:
    """Return the samples in the denominator of a pair's rate, bool (N,); None if it is not defined for the pair."""
    clean, adversarial = outcomes.clean, outcomes.adversarial
    if denominator == "all":
        return torch.ones_like(clean[target])
    if denominator == "all_models_right":
        return torch.stack(list(clean.values())).all(0)
    if (source, source) not in adversarial or (target, target) not in adversarial:
        return None
    tests = [clean[source], clean[target], ~adversarial[source, source], ~adversarial[target, target]]
    count = torch.stack(tests).sum(0)
    return count == 4 if denominator == "pair" else count % 2 == 0


def transfer_rates(
    outcomes: Outcomes, denominators: Iterable[str] = DENOMINATORS[:2], limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield rows (percent): transferability, and with noise transferability_noisy, nr_conditional and nr_ratio.

    Args:
        outcomes: of a matrix.
        denominators: see above.
        limit: at most this many samples of a denominator, the first ones.
    """
    levels = sorted({level for _, _, level in outcomes.noisy})
    for (source, target), right in outcomes.adversarial.items():
        for denominator in denominators:
            chosen = denominator_mask(outcomes, source, target, denominator)
            if chosen is None:
                continue
            index = chosen.nonzero().squeeze(1)[:limit]
            pair = {"source": source, "target": target, "denominator": denominator, "samples": len(index)}
            value = {"transferability": percent_true(~right[index])}
            yield from _rows({**pair, "noise": 0.0, "draws": 0}, value)
            for level in levels:
                right_noisy = outcomes.noisy[source, target, level][:, index]
                conditional, ratio = nullified_ratios(right[index], right_noisy)
                values = {
                    "transferability_noisy": percent_true(~right_noisy),
                    "nr_conditional": conditional,
                    "nr_ratio": ratio,
                }
                yield from _rows({**pair, "noise": level, "draws": len(right_noisy)}, values)


def transfer_matrix(
    sources: Mapping[str, Classifier],
    targets: Mapping[str, Classifier],
    x: Tensor,
    y: Tensor,
    attack: AttackSpec,
    eps: float | Tensor,
    *,
    seed: int,
    noise: Sequence[float] = (),
    draws: int = 3,
    denominators: Iterable[str] = DENOMINATORS[:2],
    limit: int | None = None,
    batch_size: int = BATCH_SIZE,
) -> list[dict[str, Any]]:
    """Return tidy rows (source, target, noise, denominator, metric, value, ...) of one attack.

    Args:
        sources: models to craft on, by name.
        targets: models to evaluate, by name; a name in both is one model.
        x: inputs (N, ...).
        y: labels (N,).
        attack: how to craft.
        eps: perturbation budget, or one per sample (N,).
        seed: of attack and noise.
        noise: levels of added noise, as multiples of eps; the noise is the same for all sources and targets.
        draws: number of draws of the noise, over which rates are averaged.
        denominators: see above.
        limit: at most this many samples of a denominator, the first ones.
        batch_size: samples of a pass; no result depends on it.
    """
    protocol = {
        "attack": attack.attack,
        "norm": attack.norm,
        "attack_eps": float(torch.as_tensor(eps, dtype=torch.float64).mean()),
        "eps_per_sample": isinstance(eps, Tensor),
        "model_mode": attack.model_mode,
        **attack_settings(attack),
    }
    outcomes = transfer_outcomes(
        sources, targets, x, y, attack, eps, seed=seed, noise=noise, draws=draws, batch_size=batch_size
    )
    return [{**row, **protocol} for row in transfer_rates(outcomes, denominators, limit)]


def _rows(factors: dict[str, Any], values: dict[str, float]) -> Iterator[dict[str, Any]]:
    for metric, value in values.items():
        yield {**factors, "metric": metric, "value": value, "unit": "percent"}
