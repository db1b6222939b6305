"""Similarity of a source and its witness, before and after alignment: ma2025 table 6.1 (section 6.4.1).

KL(f_w || f_s) in nats, without a temperature (direction and temperature are silent); the share of images that both put into the
same class; and the mean cosine of the gradients of the cross-entropy with the true label with respect to the image, over the
images where neither is 0. Cost: 1 forward, 1 input-backward of each of three nets, and the choice of learning rates.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.gradients import input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.alignments import (
    base_runs,
    chosen_alignments,
    evaluated_images,
    find_base,
    row_names,
)
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun

#: Images of a pass.
BATCH = 100


def alignment_similarity(
    runs: list[TrainedRun],
    *,
    by: AttackSpec,
    by_eps: Annotated[float, Field(gt=0)],
    samples: Annotated[int, Field(ge=1)] | None = None,
    target_seed: int = 1,
    held_out: str = "res34",
) -> list[dict[str, Any]]:
    """Return rows kl_divergence, prediction_agreement (percent) and input_gradient_cosine_similarity.

    Columns: source, witness, stage ("before" or "after") and draw, the repetition's seed.

    Args:
        runs: base nets and aligned ones, of one data set.
        by: attack by which learning rates are chosen.
        by_eps: its perturbation budget, one for all measurements, so that they choose the same rates.
        samples: first test images; the last ones are kept for the choice.
        target_seed: seed of the held-out net.
        held_out: the net that chooses learning rates.
    """
    base = base_runs(runs)
    x, y = evaluated_images(runs[0], samples)
    rows = []
    for alignment in chosen_alignments(runs, find_base(base, held_out, target_seed), by, by_eps):
        theirs = _answers(alignment.first_witness.model, x, y)
        for run in alignment.repetitions:
            for stage, one in (("before", alignment.original), ("after", run)):
                values = similarity(_answers(one.model, x, y), theirs)
                rows += [
                    {
                        **row_names(one),
                        "source": alignment.source,
                        "witness": alignment.witness,
                        "stage": stage,
                        "draw": run.seed,
                        "metric": metric,
                        "value": value,
                        "unit": unit,
                        "samples": len(y),
                    }
                    for metric, (value, unit) in values.items()
                ]
    return rows


def _answers(net: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (N, C) and input gradients (N, d)."""
    parts = [input_gradient(net, a, b, cross_entropy) for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[2].flatten(1) for part in parts])


def similarity(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> dict[str, tuple[float, str]]:
    """Return metric -> value and unit, of the logits (N, C) and input gradients (N, d) of source and witness."""
    logits, gradients = zip(ours, theirs, strict=True)
    own, other = (F.log_softmax(one.double(), dim=1) for one in logits)
    lengths = [one.double().norm(dim=1) for one in gradients]
    there = (lengths[0] > 0) & (lengths[1] > 0)
    cosine = F.cosine_similarity(gradients[0].double()[there], gradients[1].double()[there], dim=1, eps=0.0)
    return {
        "kl_divergence": (F.kl_div(own, other, reduction="batchmean", log_target=True).item(), "nats"),
        "prediction_agreement": (percent_true(logits[0].argmax(1) == logits[1].argmax(1)), "percent"),
        "input_gradient_cosine_similarity": (cosine.mean().item(), "1"),
    }
