"""Transfer of examples made on a source, before and after alignment, to a net behind defences: ma2025 table 6.11.

The target is a net of another seed. It is attacked without knowledge of the defence, which changes its input (fewer bits, JPEG,
feature distillation, a purifier) or its answer (randomized smoothing); one target is an adversarially trained net instead. The
settings are silent in the work ("as in Xie et al. (2019)", which has none): those of ``evaluation.defences``. Images are those
that count for the pair without a defence (``aligned_transfer``, ``pair``, the same for original and aligned source) and that the
defended net classifies correctly; where the target is adversarially trained its own examples need not succeed. Cost: an attack on
original, aligned run and target; passes; ``draws`` passes for smoothing; the training of a purifier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.gradients import predict
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.alignments import (
    base_runs,
    chosen_alignments,
    evaluated_images,
    find_base,
    row_names,
)
from robustscape.evaluation.defences.bit_reduction import reduce_bits
from robustscape.evaluation.defences.feature_distillation import distil_features
from robustscape.evaluation.defences.jpeg import compress_jpeg
from robustscape.evaluation.defences.purifier import train_purifier
from robustscape.evaluation.defences.randomized_smoothing import smoothed_votes
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun, attack_settings

#: Inputs (N, ...) to predicted classes (N,).
Answer = Callable[[Tensor], Tensor]

#: Inputs of a pass.
BATCH = 250


def defended_transfer(
    runs: list[TrainedRun],
    *,
    attack: AttackSpec,
    eps: Annotated[float, Field(gt=0)],
    target: str,
    robust: str,
    by: AttackSpec,
    by_eps: Annotated[float, Field(gt=0)],
    samples: Annotated[int, Field(ge=1)] | None = None,
    target_seed: int = 1,
    held_out: str = "res34",
    draws: Annotated[int, Field(ge=1)] = 100,
    sigma: Annotated[float, Field(gt=0)] = 0.25,
    updates: Annotated[int, Field(ge=1)] = 2000,
    purifier_eps: Annotated[float, Field(gt=0)] = 16 / 255,
) -> list[dict[str, Any]]:
    """Return rows error_rate (percent) by source, model ("original" or "aligned"), defense and draw (the repetition's seed).

    Defenses are none, adversarially_trained, bit_red, jpeg, feature_distillation, randomized_smoothing and nrp.

    Args:
        runs: base nets, the adversarially trained one and the aligned ones, of one data set.
        attack: makes the examples.
        eps: perturbation budget.
        target: name of the defended net, whose run has the seed ``target_seed``.
        robust: name of the adversarially trained net; the seed is the same.
        by: attack by which learning rates are chosen.
        by_eps: its perturbation budget, one for all measurements, so that they choose the same rates.
        samples: first test images that are scanned; the last ones are kept for the choice.
        target_seed: seed of the targets.
        held_out: the net that chooses learning rates and whose embeddings the purifier restores; the target's seed.
        draws: votes of randomized smoothing.
        sigma: its noise.
        updates: of the purifier.
        purifier_eps: ball of the images that it learns to restore (16/255 in its paper).
    """
    base = base_runs(runs)
    judge = find_base(base, held_out, target_seed)
    chosen = chosen_alignments(runs, judge, by, by_eps)
    net, hardened = find_base(base, target, target_seed), find_base(base, robust, target_seed)
    x, y = evaluated_images(runs[0], samples)
    purifier = train_purifier(judge.model, net.train, purifier_eps, updates, net.seed)
    plain = _classes(net)
    answers: dict[str, Answer] = {
        "none": plain,
        "adversarially_trained": _classes(hardened),
        "bit_red": lambda points: plain(reduce_bits(points)),
        "jpeg": lambda points: plain(compress_jpeg(points)),
        "feature_distillation": lambda points: plain(distil_features(points)),
        "randomized_smoothing": lambda points: _smoothed(net, points, sigma, draws),
        "nrp": lambda points: plain(_in_batches(purifier, points)),
    }
    clean = {defence: answer(x) == y for defence, answer in answers.items()}
    rows = []
    for alignment in chosen:
        for run in alignment.repetitions:
            own = craft(net.model, x, y, attack, eps, seed=run.seed)
            fooled_itself = plain(own) != y
            sources = {"original": alignment.original, "aligned": run}
            points = {m: craft(one.model, x, y, attack, eps, seed=run.seed) for m, one in sources.items()}
            passes = torch.ones_like(y, dtype=torch.bool)
            for model, one in sources.items():
                passes &= (_classes(one)(x) == y) & (_classes(one)(points[model]) != y)
            for defence, answer in answers.items():
                counted = passes & clean[defence]
                counted &= (
                    torch.ones_like(counted) if defence == "adversarially_trained" else clean["none"] & fooled_itself
                )
                for model, one in sources.items():
                    rows.append(
                        {
                            **row_names(one),
                            "source": alignment.source,
                            "model": model,
                            "defense": defence,
                            "draw": run.seed,
                            "metric": "error_rate",
                            "value": percent_true((answer(points[model]) != y)[counted]),
                            "unit": "percent",
                            "samples": int(counted.sum()),
                            "candidates": len(y),
                            "clean_accuracy": percent_true(clean[defence]),
                            "attack": attack.attack,
                            "norm": attack.norm,
                            "attack_eps": eps,
                            "model_mode": attack.model_mode,
                            **attack_settings(attack),
                        }
                    )
    return rows


def _classes(run: TrainedRun) -> Answer:
    return lambda points: _in_batches(run.model, points).argmax(1)


def _in_batches(net: torch.nn.Module, points: Tensor) -> Tensor:
    return torch.cat([predict(net, part) for part in points.split(BATCH)])


def _smoothed(run: TrainedRun, points: Tensor, sigma: float, draws: int) -> Tensor:
    index = torch.arange(len(points), device=points.device)
    parts = [
        smoothed_votes(run.model, points[part], part, run.seed, sigma, draws).argmax(1) for part in index.split(BATCH)
    ]
    return torch.cat(parts)
