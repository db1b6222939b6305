"""Two-class logistic regression: yamada2021 section 2.1 (equation 1), there without a bias."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.errors import ConfigError


class LogisticRegression(nn.Module):
    """Logits (0, w.x + b) of the flattened input; ``weight`` has shape (1, d), one filter; b is 0 unless there is a bias.

    Cross-entropy of these logits is log(1 + exp(-s (w.x + b))) with s = -1 for class 0 and +1 for class 1.
    """

    def __init__(self, features: int, init_std: float, bias: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1, bias=False)
        nn.init.normal_(self.linear.weight, std=init_std)
        if bias:
            self.linear.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(self.linear(x.flatten(1)), (1, 0))

    @torch.no_grad()
    def input_gradient(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (B, 2), cross-entropy losses (B,) and their gradients (B, ...) with respect to the inputs ``x``.

        The gradient is (softmax(logits)_1 - y) w: what autograd computes, to the last bits. Where the label's probability rounds
        to 1, loss and slope are the other one's, so that neither becomes 0 there.
        """
        logits = self(x)
        log_p = F.log_softmax(logits, dim=1)
        other = log_p.gather(1, 1 - y[:, None]).exp()
        losses = F.nll_loss(log_p, y, reduction="none")
        slope = torch.where(
            losses[:, None] == 0, torch.where(y[:, None] == 1, -other, other), log_p[:, 1:].exp() - y[:, None]
        )
        return logits, torch.where(losses == 0, other.squeeze(1), losses), (slope * self.linear.weight).view_as(x)


def logistic_regression(
    shape: tuple[int, ...], num_classes: int, *, init_std: Annotated[float, Field(gt=0)] = 1e-3, bias: bool = False
) -> nn.Module:
    """Return a model with logits (0, w.x), or (0, w.x + b), for two classes.

    Args:
        shape: shape of one input; inputs are flattened.
        num_classes: must be 2.
        init_std: standard deviation of the initial weights (the work does not state it).
        bias: whether there is a b, initially 0; equation 1 has none.

    Raises:
        ConfigError: ``num_classes`` is not 2.
    """
    if num_classes != 2:
        raise ConfigError(
            f"the architecture 'logistic_regression' is for 2 classes, but the data set has {num_classes}."
        )
    return LogisticRegression(math.prod(shape), init_std, bias)
