"""What SAM and its kin share: a step away from the weights and back, measured by the norm over all weights together.

Nothing here waits for the device. The weights themselves are never touched while away: a parameter's tensor is exchanged
for a moved one and put back afterwards, so that the way back is exact and costs nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

Closure = Callable[[], Tensor]
Tensors = list[Tensor] | tuple[Tensor, ...]
Radius = Literal["normalised", "constant"]


class PerturbedSGD(torch.optim.SGD):
    """PyTorch's SGD with another gradient, for which ``step`` needs a closure.

    The closure clears the gradients, computes the loss of one batch, calls ``backward`` and returns the loss; a step calls it
    as often as it needs to. Normalisation layers must learn their running statistics from call number ``statistics_pass``
    only.

    A subclass says which gradient: ``gradient(closure, **settings)`` leaves it in ``.grad``, the weights as they were, and
    returns the loss. Its keyword-only arguments are hyper-parameters, in ``param_groups`` and so in ``state_dict``; those
    of the first group hold for all weights together.

    Args:
        params: as in ``torch.optim.SGD``.
        lr: learning rate.
        settings: those of ``gradient``, and SGD's.
    """

    statistics_pass = 0
    gradient: Callable[..., Tensor]

    def __init__(self, params: Any, lr: float = 1e-3, **settings: Any) -> None:
        own = {name: settings.pop(name, default) for name, default in self._own().items()}
        super().__init__(params, lr, **settings)
        self.register(**own)

    @classmethod
    def _own(cls) -> dict[str, Any]:
        """The hyper-parameters beside SGD's, with their defaults."""
        return cls.gradient.__kwdefaults__ or {}

    def register(self, **settings: Any) -> None:
        self.defaults.update(settings)
        for group in self.param_groups:
            for name, value in settings.items():
                group.setdefault(name, value)

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """One update; returns the loss before it."""
        loss = self.gradient(closure, **{name: self.param_groups[0][name] for name in self._own()})
        descend(self)
        return loss


def run(closure: Closure) -> Tensor:
    """One forward and backward pass at the weights as they are."""
    with torch.enable_grad():
        return closure()


def reached(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The weights the last backward pass gave a gradient."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def take(weights: Tensors) -> list[Tensor]:
    """The gradients, taken off the weights, so that the next pass neither adds to them nor clears them."""
    gradients = []
    for weight in weights:
        gradients.append(torch.zeros_like(weight) if weight.grad is None else weight.grad)
        weight.grad = None
    return gradients


def give(weights: Tensors, gradients: Tensors) -> None:
    """The inverse of ``take``."""
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient


def norm(tensors: Tensors) -> Tensor:
    """L2 norm of all tensors as one vector, 0-dim."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))


def dot(a: Tensors, b: Tensors) -> Tensor:
    """Inner product of two lists of tensors as vectors, 0-dim."""
    return torch.stack([product.sum() for product in torch._foreach_mul(a, b)]).sum()


def ascent(gradients: Tensors, rho: float, radius: Radius) -> tuple[Tensor, ...]:
    """rho g / |g| (0 where g is) or rho g: the step that raises the loss."""
    if not gradients:
        return ()
    if radius == "constant":
        return torch._foreach_mul(gradients, rho)
    return torch._foreach_mul(gradients, rho / (norm(gradients) + 1e-12))


def move(weights: Tensors, offsets: Tensors) -> None:
    """Go on by ``offsets``; only inside ``elsewhere``."""
    if not weights:
        return
    moved = [weight.detach().clone() for weight in weights]  # keeps the layout, and so the last bit of a pass
    torch._foreach_add_(moved, offsets)
    for weight, tensor in zip(weights, moved, strict=True):
        weight.data = tensor


@contextmanager
def elsewhere(weights: Tensors) -> Iterator[None]:
    """Weights that ``move`` moves inside are back afterwards, bit for bit, whatever happens."""
    origin = [weight.data for weight in weights]
    try:
        yield
    finally:
        for weight, tensor in zip(weights, origin, strict=True):
            weight.data = tensor


def descend(optimizer: torch.optim.SGD) -> None:
    """PyTorch's SGD update with the gradients the weights hold.

    ``torch.optim.SGD.step`` without its wrappers: they would run the optimizer's step hooks a second time.
    """
    inspect.unwrap(torch.optim.SGD.step)(optimizer)
