"""Several models attacked as one: their logits, averaged.

Dong et al. (2018), section 3.3, "ensemble in logits"; ma2025 table 6.9: f(x) = sum_k w_k f_k(x), sum_k w_k = 1, then
any attack on f. Cost of a pass: one of every model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robustscape.errors import AttackError


class LogitEnsemble(nn.Module):
    """The weighted mean of the models' logits, (B, C).

    The models are held, not copied, and stay as they are.

    Args:
        models: classifiers with the same classes.
        weights: one a model, above 0; divided by their sum. None: all the same.
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
                raise AttackError(f"the ensemble's models have different classes: {total.shape} and {logits.shape}.")
            total = total + logits
        return total
