"""Transfer of examples made on a source, before and after alignment, to a net behind defences: ma2025 table 6.11.

The target is a net of another seed. It is attacked without knowledge of the defence, which changes its input (fewer bits, JPEG,
feature distillation, a purifier) or its answer (randomized smoothing); one target is an adversarially trained net instead. The
settings are silent in the work ("as in Xie et al. (2019)", which has none): those of ``evaluation.defences``. Original and
aligned source have each its own images: those that count for the pair of it and the target without a defence (``pair`` of
``aligned_transfer``) and that the defended net classifies correctly; where the target is adversarially trained it is that net
whose own examples must succeed. Cost: an attack on original, aligned run and both targets; passes; ``draws`` passes for
smoothing; the training of a purifier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.gradients import predict
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.aligned_transfer import image_mask
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
from robustscape.evaluation.transfer import Outcomes

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
    limit: Annotated[int, Field(ge=1)] | None = None,
    target_seed: int = 1,
    held_out: str = "res34",
    draws: Annotated[int, Field(ge=1)] = 100,
    sigma: Annotated[float, Field(gt=0)] = 0.25,
    updates: Annotated[int, Field(ge=1)] = 2000,
    purifier_eps: Annotated[float, Field(gt=0)] = 16 / 255,
) -> list[dict[str, Any]]:
    """Return rows error_rate (percent) by source, model ("original" or "aligned"), defense and draw (the repetition's seed).

    Defenses are none, adversarially_trained, bit_red, jpeg, feature_distillation, randomized_smoothing and small_purifier.

    Args:
        runs: base nets, the adversarially trained one and the aligned ones, of one data set.
        attack: makes the examples.
        eps: perturbation budget.
        target: name of the defended net, whose run has the seed ``target_seed``.
        robust: name of the adversarially trained net; the seed is the same.
        by: attack by which learning rates are chosen.
        by_eps: its perturbation budget, one for all measurements, so that they choose the same rates.
        samples: first test images that are scanned; the last ones are kept for the choice.
        limit: at most this many images count for a pair, the first ones.
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
        "small_purifier": lambda points: plain(_in_batches(purifier, points)),
    }
    clean = {defence: answer(x) == y for defence, answer in answers.items()}
    rows = []
    for alignment in chosen:
        for run in alignment.repetitions:
            # By its own examples a target is found to be fooled; a defence is no part of it, and adversarial training is.
            withstood = {"none": _withstood(net, x, y, attack, eps, run.seed)}
            withstood["adversarially_trained"] = _withstood(hardened, x, y, attack, eps, run.seed)
            for model, one in (("original", alignment.original), ("aligned", run)):
                points = craft(one.model, x, y, attack, eps, seed=run.seed)
                of_source = (_classes(one)(x) == y, _classes(one)(points) == y)
                for defence, answer in answers.items():
                    target_name = defence if defence in withstood else "none"
                    counted = _pair_mask(of_source, (clean[target_name], withstood[target_name])) & clean[defence]
                    index = counted.nonzero().squeeze(1)[:limit]
                    rows.append(
                        {
                            **row_names(one),
                            "source": alignment.source,
                            "model": model,
                            "defense": defence,
                            "draw": run.seed,
                            "metric": "error_rate",
                            "value": percent_true(answer(points)[index] != y[index]),
                            "unit": "percent",
                            "samples": len(index),
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


def _withstood(target: TrainedRun, x: Tensor, y: Tensor, attack: AttackSpec, eps: float, seed: int) -> Tensor:
    """Return whether a net classifies the examples made on itself correctly, bool (N,)."""
    return _classes(target)(craft(target.model, x, y, attack, eps, seed=seed)) == y


def _pair_mask(source: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
    """Return which images count for a pair, bool (N,), from whether each net is right on the images and on its own examples."""
    outcomes = Outcomes(
        {"source": source[0], "target": target[0]}, {("source", "source"): source[1], ("target", "target"): target[1]}
    )
    return image_mask(outcomes, "target", "pair")


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
