"""Randomized smoothing (Cohen et al. 2019): the class that most noisy copies of an input are given. Cost: ``votes`` passes."""

from __future__ import annotations

import torch
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, predict


def smoothed_votes(
    model: Classifier, x: Tensor, index: Tensor, seed: int, sigma: float = 0.25, votes: int = 100
) -> Tensor:
    """Return the number of votes (B, C) for each class, of copies with N(0, sigma^2) noise, which are not clipped.

    Args:
        model: logits (B, C), in eval mode.
        x: inputs (B, ...).
        index: numbers of the samples (B,), of which the noise is.
        seed: of the noise.
        sigma: its standard deviation.
        votes: copies of each input.
    """
    counts: Tensor | None = None
    for vote in range(votes):
        noise = SampleGenerator.seeded(seed, index, x.device).fork(vote).normal(x.shape[1:])
        logits = predict(model, x + sigma * noise)
        counts = torch.zeros_like(logits) if counts is None else counts
        counts += torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1])
    return torch.zeros(len(x), 0) if counts is None else counts
