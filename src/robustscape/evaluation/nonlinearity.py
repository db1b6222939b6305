"""Nonlinearity of the loss along the single-step perturbation.

kim2023 equation 2.10. With delta = eps sign(grad_x loss(x, y)), not clipped to the legal range (that would bias gamma downwards),

    gamma(x) = loss(x + delta) - loss(x) - eps ||grad_x loss(x, y)||_1

It is 0 if the loss is linear along delta, at least 0 if it is convex along delta (the cross-entropy of a linear classifier is),
and below 0 if the loss rises less than its gradient predicts. Cost: 1 forward and input-backward pass and 1 forward pass.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier, frozen_copy, input_gradient, predict
from robustscape.attacks.base.losses import Loss, cross_entropy
from robustscape.evaluation._method_columns import method_columns
from robustscape.evaluation.percentages import percent_true_fp32
from robustscape.evaluation.trained_run import TrainedRun

#: Samples of a pass.
BATCH = 512


def nonlinearity(
    run: TrainedRun,
    *,
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "train",
) -> list[dict[str, Any]]:
    """Return rows gamma_mean (nats), gamma_negative (percent of samples below 0), and gamma (nats) per sample with its ``index``.

    Args:
        run: the trained model and its data.
        eps: perturbation budget; "run" for the run's own.
        samples: first samples of the split; None for all.
        split: which split.
    """
    attack_eps = run.attack_eps(eps)
    values = loss_nonlinearity(run.model, *run.subset(split, samples), attack_eps)
    shared = {
        **method_columns(run),
        "attack_eps": attack_eps,
        "split": split,
        "samples": len(values),
        "clip": False,
        "model_mode": "eval",
    }
    negative = percent_true_fp32(values < 0)
    return [
        {"metric": "gamma_mean", "value": values.mean().item(), "unit": "nats", **shared},
        {"metric": "gamma_negative", "value": negative, "unit": "percent", **shared},
        *({"index": i, "metric": "gamma", "value": v, "unit": "nats", **shared} for i, v in enumerate(values.tolist())),
    ]


def loss_nonlinearity(model: Classifier, x: Tensor, y: Tensor, eps: float, loss: Loss = cross_entropy) -> Tensor:
    """Return gamma of each sample, (N,), of a model in eval mode; ``loss`` maps logits and labels to losses (N,)."""
    net, gammas = frozen_copy(model, x), []
    for part, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
        _, before, gradient = input_gradient(net, part, labels, loss)
        after = loss(predict(net, part + eps * gradient.sign()), labels)
        gammas.append(after - before - eps * gradient.flatten(1).abs().sum(1))
    return torch.cat(gammas)
