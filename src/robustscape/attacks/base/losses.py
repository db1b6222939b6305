"""The objectives of attacks: one number per sample, from logits (B, C) and labels (B,).

Each is defined from a number of classes on (``LEAST_CLASSES``). Below it a loss may be constant, so that its gradient is zero and
an attack that follows it finds nothing; such a call is refused.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from robustscape.errors import AttackError

Loss = Callable[[Tensor, Tensor], Tensor]

#: The least denominator of the DLR losses, which do not depend on the scale of logits: far below any, and its inverse is finite.
LEAST_RATIO = 1e-30


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(z)_y, shape (B,), and its gradient, as long as exp(-margin) is a number: up to margins of 87 in fp32.

    From a margin of 17 on the label's probability rounds to 1. There the usual formula gives a loss of 0, so that no point is
    better than another, and a gradient without the label's term. Rows with that loss are computed as log(1 + exp(logsumexp of the
    other logits - z_y)); all others keep their bits.
    """
    losses = F.cross_entropy(logits, y, reduction="none")
    saturated = losses == 0
    if not (logits.is_cuda or bool(saturated.any())):  # on a GPU the look would be a wait
        return losses
    others = logits.scatter(1, y[:, None], -torch.inf).logsumexp(1)
    return torch.where(saturated, F.softplus(others - logits.gather(1, y[:, None]).squeeze(1)), losses)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """max_{j != y} z_j - z_y, shape (B,): positive when misclassified (Carlini & Wagner 2017, f_6 without kappa)."""
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.amax(1) - logits.gather(1, y[:, None]).squeeze(1)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio, shape (B,) (Croce & Hein 2020, eq 6): -(z_y - max_{j!=y} z_j) / (z_p1 - z_p3).

    With two classes p3 does not exist, and (z_p2 in its place) the ratio would be -1 or 1 wherever it is defined.

    Raises:
        AttackError: C < 3.
    """
    require_classes("dlr", logits.shape[1])
    ordered = logits.topk(3, dim=1).values
    scale = ordered[:, 0] - ordered[:, -1]
    return margin(logits, y) / scale.clamp_min(LEAST_RATIO)


def dlr_targeted(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Targeted DLR, shape (B,) (Croce & Hein 2020, eq 7): -(z_y - z_t) / (z_p1 - (z_p3 + z_p4)/2).

    Raises:
        AttackError: C < 4.
    """
    require_classes("dlr_targeted", logits.shape[1])
    ordered = logits.topk(4, dim=1).values
    scale = ordered[:, 0] - 0.5 * (ordered[:, 2] + ordered[:, 3])
    label, goal = (logits.gather(1, index[:, None]).squeeze(1) for index in (y, target))
    return (goal - label) / scale.clamp_min(LEAST_RATIO)


def require_classes(loss: str, classes: int) -> None:
    """Refuse a model with fewer classes than a loss of ``LEAST_CLASSES`` is defined for.

    Raises:
        AttackError: naming the loss and what to use.
    """
    least = LEAST_CLASSES[loss]
    if classes < least:
        others = ", ".join(f"'{name}'" for name, count in LEAST_CLASSES.items() if count <= max(classes, 2))
        raise AttackError(
            f"loss '{loss}' needs at least {least} classes, the model has {classes}. Defined for so few: {others}."
        )


#: Loss -> the fewest classes for which it is defined.
LEAST_CLASSES: dict[str, int] = {"cross_entropy": 2, "margin": 2, "dlr": 3, "dlr_targeted": 4}

LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "margin": margin, "dlr": dlr}
