"""The mean loss over samples and its gradient with respect to the weights, of a model in eval mode."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from robustscape import devices
from robustscape.attacks.base.losses import cross_entropy
from robustscape.landscape.directions import Direction, parameters_of


def require_eval(model: nn.Module) -> None:
    """Raise ValueError if any module of ``model`` is in training mode."""
    if any(module.training for module in model.modules()):
        raise ValueError("curvature is measured in eval mode; call model.eval() first")


@devices.exact_fp32()
def mean_loss(model: nn.Module, x: Tensor, y: Tensor, *, batch_size: int) -> Tensor:
    """Return the mean cross-entropy of inputs (N, ...) with labels (N,), float64, 0-dim."""
    with torch.no_grad():
        total = sum(
            cross_entropy(model(part), labels).double().sum()
            for part, labels in zip(x.split(batch_size), y.split(batch_size), strict=True)
        )
    return torch.as_tensor(total) / len(y)


@devices.exact_fp32()
def mean_loss_gradient(model: nn.Module, x: Tensor, y: Tensor, *, batch_size: int) -> Direction:
    """Return the gradient of ``mean_loss`` with respect to every parameter, zeros for parameters that are not used.

    Raises:
        ValueError: the model is in training mode.
    """
    require_eval(model)
    leaves = {name: tensor.requires_grad_() for name, tensor in parameters_of(model).items()}
    total = {name: torch.zeros_like(tensor) for name, tensor in parameters_of(model).items()}
    for part, labels in zip(x.split(batch_size), y.split(batch_size), strict=True):
        loss = cross_entropy(functional_call(model, leaves, (part,)), labels).sum() / len(y)
        pieces = torch.autograd.grad(loss, tuple(leaves.values()), materialize_grads=True)
        for tensor, piece in zip(total.values(), pieces, strict=True):
            tensor += piece
    return total
