"""An ensemble of models, attacked through the mean of their logits.

Dong et al. (2018), section 3.3, "ensemble in logits"; ma2025 table 6.9: f(x) = sum_k w_k f_k(x), sum_k w_k = 1; any attack
can then be run on f. Cost of a pass: one pass of every model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robustscape.errors import AttackError


class LogitEnsemble(nn.Module):
    """A classifier whose logits (B, C) are the weighted mean of the models' logits.

    The models are held, not copied.

    Args:
        models: classifiers with the same classes, logits (B, C) each.
        weights: one weight above 0 per model; they are divided by their sum. None: equal weights.

    Raises:
        AttackError: there is no model, or not one weight above 0 for each; when called: numbers of classes differ.
    """

    weights: Tensor

    def __init__(self, models: Sequence[nn.Module], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        chosen = [1.0] * len(models) if weights is None else list(weights)
        if not models or len(chosen) != len(models) or not all(w > 0 for w in chosen):
            raise AttackError(
                f"an ensemble needs at least one model and a weight above 0 for each; got {len(models)} models and "
                f"weights {chosen}."
            )
        self.models = nn.ModuleList(models)
        self.register_buffer("weights", torch.tensor(chosen) / sum(chosen), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weighted = [weight * model(x) for weight, model in zip(self.weights.tolist(), self.models, strict=True)]
        total = weighted[0]
        for logits in weighted[1:]:
            if logits.shape != total.shape:
                raise AttackError(
                    "the models of an ensemble must have the same classes; got logits of shapes "
                    f"{tuple(total.shape)} and {tuple(logits.shape)}."
                )
            total = total + logits
        return total
