"""Shared by SAM and the optimizers derived from it: a step away from the weights and back.

Norms are over all weights together. Nothing here waits for the device. The original tensors are never written to: a
parameter's tensor is exchanged for a displaced copy and put back afterwards, so the way back is exact and costs nothing.
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
Perturbation = Literal["normalised", "constant"]
"""rho g / |g|, or rho g."""


class PerturbedSGD(torch.optim.SGD):
    """PyTorch's SGD with another gradient, for which ``step`` needs a closure.

    The closure clears the gradients, computes the loss of one batch, calls ``backward`` and returns the loss; a step calls it
    as often as it needs to. BatchNorm must update its running statistics in call number ``statistics_pass`` only.

    A subclass defines the gradient: ``gradient(closure, **settings)`` leaves it in ``.grad`` and the weights as they were, and
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
        own = {name: settings.pop(name, default) for name, default in self._gradient_settings().items()}
        super().__init__(params, lr, **settings)
        self.register(**own)

    @classmethod
    def _gradient_settings(cls) -> dict[str, Any]:
        """The hyper-parameters beside SGD's, with their defaults."""
        return cls.gradient.__kwdefaults__ or {}

    def register(self, **settings: Any) -> None:
        """Add hyper-parameters to the defaults and to every parameter group."""
        self.defaults.update(settings)
        for group in self.param_groups:
            for name, value in settings.items():
                group.setdefault(name, value)

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """Make one update; return the loss before it (0-dim)."""
        loss = self.gradient(closure, **{name: self.param_groups[0][name] for name in self._gradient_settings()})
        sgd_update(self)
        return loss


def forward_backward(closure: Closure) -> Tensor:
    """Make one forward and backward pass at the weights as they are; return the loss (0-dim)."""
    with torch.enable_grad():
        return closure()


def weights_with_gradients(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the weights that the last backward pass reached."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def take_gradients(weights: Tensors) -> list[Tensor]:
    """Return the gradients and remove them from the weights, so that the next pass neither adds to them nor clears them."""
    gradients = []
    for weight in weights:
        gradients.append(torch.zeros_like(weight) if weight.grad is None else weight.grad)
        weight.grad = None
    return gradients


def put_gradients(weights: Tensors, gradients: Tensors) -> None:
    """Make ``gradients`` those of the weights: the inverse of ``take_gradients``."""
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient


def total_norm(tensors: Tensors) -> Tensor:
    """Return the L2 norm of all tensors as one vector, 0-dim."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))


def inner_product(a: Tensors, b: Tensors) -> Tensor:
    """Return the inner product of two lists of tensors as vectors, 0-dim."""
    return torch.stack([product.sum() for product in torch._foreach_mul(a, b)]).sum()


def ascent_offsets(gradients: Tensors, rho: float, perturbation: Perturbation) -> tuple[Tensor, ...]:
    """Return the step that raises the loss: rho g / |g| ("normalised"; 0 where g is 0) or rho g ("constant")."""
    if not gradients:
        return ()
    if perturbation == "constant":
        return torch._foreach_mul(gradients, rho)
    return torch._foreach_mul(gradients, rho / (total_norm(gradients) + 1e-12))


def displace(weights: Tensors, offsets: Tensors) -> None:
    """Move the weights by ``offsets`` from where they are; only inside ``restored_afterwards``."""
    if not weights:
        return
    moved = [weight.detach().clone() for weight in weights]  # keeps the layout, and so the last bit of a pass
    torch._foreach_add_(moved, offsets)
    exchange(weights, moved)


def exchange(weights: Tensors, tensors: Tensors) -> None:
    """Make ``tensors`` the data of the weights; only inside ``restored_afterwards``, or to end it.

    Within a step autocast keeps what it rounded of a weight, and would pass that on for the new data too: it is made to forget.
    """
    for weight, tensor in zip(weights, tensors, strict=True):
        weight.data = tensor
    torch.clear_autocast_cache()


@contextmanager
def restored_afterwards(weights: Tensors) -> Iterator[None]:
    """Put back the weights at the end of the block, bit for bit, also after an exception."""
    origin = [weight.data for weight in weights]
    try:
        yield
    finally:
        exchange(weights, origin)


def sgd_update(optimizer: torch.optim.SGD) -> None:
    """Make PyTorch's SGD update with the gradients that the weights hold.

    ``torch.optim.SGD.step`` without its wrappers, which would run the optimizer's step hooks a second time.
    """
    inspect.unwrap(torch.optim.SGD.step)(optimizer)
