"""The largest eigenvalue of the Hessian of a sample's loss with respect to its input (ma2025 table 6.2).

By power iteration with double backward, all samples of a batch together: the loss of a sample depends on its own input alone, so
one product with the sum's Hessian is a product with each. The iteration finds the eigenvalue of the largest magnitude. Of nets
that are linear by pieces (ReLU, max-pooling, batch normalisation in eval mode) it is the largest, since the Hessian is
J^T (diag p - p p^T) J, which has no negative one. Cost: a double backward pass per iteration.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier

ITERATIONS, TOLERANCE = 50, 1e-3


def top_input_eigenvalues(model: Classifier, x: Tensor, y: Tensor, index: Tensor, seed: int) -> Tensor:
    """Return the eigenvalue (B,) of each sample, in nats per squared unit of the input; 0 where the Hessian is 0.

    Args:
        model: logits (B, C), in eval mode.
        x: inputs (B, ...).
        y: labels (B,).
        index: numbers of the samples (B,), of which the first directions are.
        seed: of the first directions.
    """
    point = x.detach().requires_grad_()
    with torch.enable_grad():
        losses = F.cross_entropy(model(point), y, reduction="sum")
        (gradient,) = torch.autograd.grad(losses, point, create_graph=True)
        v = _unit(SampleGenerator.seeded(seed, index, x.device).normal(x.shape[1:]).to(x))
        value = torch.zeros(len(x), device=x.device, dtype=x.dtype)
        for _ in range(ITERATIONS):
            product = _product(gradient, point, v)
            before, value = value, (product * v).flatten(1).sum(1)
            v = _unit(product)
            if bool(((value - before).abs() <= TOLERANCE * value.abs()).all()):
                break
    return value.detach()


def _product(gradient: Tensor, point: Tensor, v: Tensor) -> Tensor:
    if not gradient.requires_grad:  # a linear loss, whose Hessian is 0
        return torch.zeros_like(v)
    (product,) = torch.autograd.grad(gradient, point, v, retain_graph=True, allow_unused=True)
    return torch.zeros_like(v) if product is None else product


def _unit(v: Tensor) -> Tensor:
    length = v.flatten(1).norm(dim=1).clamp_min(torch.finfo(v.dtype).tiny)
    return v / length.view(-1, *[1] * (v.dim() - 1))
