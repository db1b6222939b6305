"""SGD with a warm-up and a bound on the gradient's norm, for fine-tuning (ma2025 section 6.5.1). One closure call.

    g <- g min(1, c / ||g||);    v <- mu v + g + wd w;    w <- w - lr_t v (g + mu v with Nesterov's momentum)

||g|| is the norm of all gradients together. In update t of the first ``warmup`` T of T updates the rate is the scheduled one
times 0.03 + 0.97 t / (warmup T). T is known to the step that trains, which fills it in; history.csv has the rate without
the factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustscape.errors import ConfigError

#: Factor on the rate of the first update of a warm-up (torchvision's reference has 0.01 to 0.033).
FIRST = 0.03


def clipped_sgd(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)],
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
    nesterov: bool = False,
    max_norm: Annotated[float, Field(gt=0)] | None = None,
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    updates: Annotated[int, Field(ge=1)] | None = None,
) -> torch.optim.Optimizer:
    """Return SGD over ``parameters`` with clipped gradients and a warm-up.

    Args:
        parameters: the weights.
        lr: learning rate.
        momentum: mu above.
        weight_decay: coupled L2 penalty, wd above.
        nesterov: Nesterov's momentum.
        max_norm: c above; None: no bound.
        warmup: share of the updates with a smaller rate.
        updates: T; filled in by the step that trains.

    Raises:
        ConfigError: there is a warm-up, and T is not known.
    """
    if warmup and updates is None:
        raise ConfigError("optimizer 'clipped_sgd' got a warmup, and nothing has filled in the number of updates.")
    return ClippedSGD(
        parameters,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
        max_norm=max_norm,
        warmup_updates=round(warmup * (updates or 0)),
    )


class ClippedSGD(torch.optim.SGD):
    """See the module; ``warmup_updates`` is warmup T. The number of updates done is saved with the parameter group."""

    def __init__(self, parameters: Any, *, max_norm: float | None, warmup_updates: int, **settings: Any) -> None:
        super().__init__(parameters, **settings)
        for group in self.param_groups:
            group.update(max_norm=max_norm, warmup_updates=warmup_updates, done=0)

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Make one update; return the loss of the closure."""
        with torch.enable_grad():
            loss = closure()
        group = self.param_groups[0]
        if group["max_norm"] is not None:
            torch.nn.utils.clip_grad_norm_(group["params"], group["max_norm"])
        scheduled = group["lr"]
        group["lr"] = scheduled * warmup_factor(group["done"], group["warmup_updates"])
        super().step()
        group["lr"], group["done"] = scheduled, group["done"] + 1
        return loss


def warmup_factor(done: int, warmup_updates: int) -> float:
    """Return the factor on the rate after ``done`` updates, from ``FIRST`` to 1 in a line.

    >>> warmup_factor(0, 10), warmup_factor(10, 10), warmup_factor(0, 0)
    (0.03, 1.0, 1.0)
    """
    return 1.0 if done >= warmup_updates else FIRST + (1 - FIRST) * done / warmup_updates
