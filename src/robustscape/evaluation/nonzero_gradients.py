"""The mean number of elements of the input gradient that are not 0: ma2025 appendix 3.F, a sign of gradient masking.

Counted are |d l / d x_j| > 1e-6 of each sample's own loss: the gradient of a batch's mean loss is smaller by its size, and the
count would depend on it. Cost: 1 forward, 1 input-backward.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier, frozen_copy, input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.evaluation.harness.craft import BATCH_SIZE
from robustscape.evaluation.method_names import trained_method_columns
from robustscape.evaluation.trained_run import TrainedRun


def nonzero_gradients(
    run: TrainedRun,
    *,
    threshold: Annotated[float, Field(ge=0)] = 1e-6,
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return rows mean_nonzero_input_gradient_elements over test samples, and share_nonzero (percent of the d elements).

    Args:
        run: the trained model and its data.
        threshold: elements of a larger absolute value count.
        samples: first test samples; None for all.
    """
    x, y = run.subset("test", samples)
    counts = count_nonzero(run.model, x, y, threshold)
    mean = counts.double().mean().item()
    shared = {**trained_method_columns(run), "attack": None, "threshold": threshold, "samples": len(y)}
    return [
        {**shared, "metric": "mean_nonzero_input_gradient_elements", "value": mean, "unit": "count"},
        {**shared, "metric": "share_nonzero", "value": 100.0 * mean / x[0].numel(), "unit": "percent"},
    ]


def count_nonzero(model: Classifier, x: Tensor, y: Tensor, threshold: float) -> Tensor:
    """Return the number of elements above ``threshold`` of the loss's gradient at each input, (N,), in eval mode."""
    net = frozen_copy(model, x)
    found = []
    for batch, labels in zip(x.split(BATCH_SIZE), y.split(BATCH_SIZE), strict=True):
        _, _, gradient = input_gradient(net, batch, labels, cross_entropy)
        found.append((gradient.abs() > threshold).flatten(1).sum(1))
    return torch.cat(found)
