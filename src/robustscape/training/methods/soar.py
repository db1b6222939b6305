"""SOAR: second-order adversarial regularisation (ma2025 section 3.3.4, equations 3.6, 3.12 and 3.14, algorithm 3.1).

    mean_n [ CE(f(x'_n), y_n) + R(x'_n) ],      R(x) = (d eps^2 + 1)/2 ||H z||,   z ~ N(0, I_{d+1})

H is the augmented Hessian of the loss in the input, [[Hess, g], [g^T, 1]] with g = grad_x loss; (d eps^2 + 1)/2 ||H|| - 1/2
bounds what a perturbation adds to the second-order expansion. Its product with z = [z_d; z_1] is
[Hess z_d + z_1 g; g^T z_d + z_1], where

    Hess z_d = ||z_d|| ( grad loss(x + h z_d/||z_d||) - grad loss(x) ) / h      (3.11; h is an L2 length in input units)

or exact, by differentiating twice. In L2 the work's d eps^2 is eps^2. The printed bound has E ||H z||, which its proof takes for
the Frobenius norm; that is sqrt(E ||H z||^2), up to sqrt(pi/2) larger (``bound: frobenius``; theory/ma2025/soar_bound.py). With
a single z both have the same value. Constants (-1/2) are left out, as in the work.

x' begins at x, at a random point, or (the work's choice) one step of PGD away, half of eps for it and half for R. Gradients are
those of each sample's own loss: R of a sample does not depend on its batch, unless the net mixes samples (batch
normalisation in training mode, with which the work finds no gain). Backpropagation goes through the input gradients, so the
model's layers must be twice differentiable. Cost with PGD1 and one z: 3 forward, 4 backward (table 3.5), the last backward
through two graphs of input gradients; "zero" and "random" spare 1 forward and 1 backward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.errors import ConfigError
from robustscape.training.attack import TrainingAttack
from robustscape.training.methods._start import start_point

#: Dimension and radius of R in the work (CIFAR-10, half of 8/255), where its h is 0.01 and its clip 10.
WORKS_DIMENSION, WORKS_RADIUS, WORKS_H, WORKS_CLIP = 3072, 4 / 255, 0.01, 10.0

#: Added to the sum of squares below a root, so that the gradient of the root is finite at 0.
ROOT_FLOOR = 1e-12


def soar(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: TrainingAttack,
    *,
    init: Literal["zero", "random", "pgd1"] = "pgd1",
    draws: Annotated[int, Field(ge=1)] = 1,
    h: Literal["scaled"] | Annotated[float, Field(gt=0)] = 0.01,
    product: Literal["difference", "exact"] = "difference",
    bound: Literal["printed", "frobenius"] = "printed",
    clip: Literal["scaled", "none"] | Annotated[float, Field(gt=0)] = 10.0,
    clip_mode: Literal["value", "rescale"] = "value",
) -> SoarObjective:
    """Return the loss above as an objective; x' and z are drawn once, at the weights before the step.

    Args:
        model: the net, in training mode.
        x: inputs (B, ...).
        y: labels (B,).
        attack: its ball and random streams; it is not called.
        init: where x' begins: at x, at a random point of the ball, or one step of PGD away in half the ball.
        draws: number of z over which R is a mean.
        h: length of the finite difference; "scaled": 0.01 sqrt(d / 3072), which is 0.01 on CIFAR-10.
        product: Hess z by the finite difference, or exact (one backward in place of one forward and one backward).
        bound: R from the mean of ||H z||, as printed, or from the root of the mean square, which bounds the loss.
        clip: upper bound of a sample's R; "scaled": in proportion to (d eps^2 + 1)/2, 10 on CIFAR-10 at 8/255; "none": no bound.
        clip_mode: "value": a sample above the bound has R = clip and no gradient of R; "rescale": R is multiplied by
            clip / R, and keeps its direction.

    Raises:
        ConfigError: training is in a lower precision than fp32, and ``product`` is a finite difference.
    """
    if product != "exact" and (torch.backends.cuda.matmul.allow_tf32 or torch.is_autocast_enabled(x.device.type)):
        raise ConfigError(
            "soar: a finite difference of gradients is rounded away in tf32 and bf16; give the recipe `precision: fp32`, or the "
            "method `product: exact`."
        )
    point, ball = start_point(model, x, y, attack, init)
    size = x[0].numel()
    most = scaled_clip(size, attack.threat) if clip == "scaled" else None if clip == "none" else float(clip)
    return SoarObjective(
        model=model,
        x=point,
        y=y,
        z=torch.stack([draw_directions(attack.generator.fork(number), size) for number in range(draws)]).to(x),
        factor=bound_factor(size, ball),
        h=None if product == "exact" else scaled_h(size) if isinstance(h, str) else h,
        bound=bound,
        clip=most,
        clip_mode=clip_mode,
    )


@dataclass(frozen=True)
class SoarObjective:
    """The loss of SOAR at the model's current weights, at fixed points and directions.

    ``logged``: ``regulariser`` (mean R after the clip), ``clipped_share`` (of the batch's samples, in [0, 1]).

    Args:
        model: the net.
        x: x' (B, ...), detached.
        y: labels (B,).
        z: directions (n, B, d + 1).
        factor: (d eps^2 + 1)/2.
        h: length of the finite difference; None: exact products.
        bound: how the n norms make R.
        clip: upper bound of R; None: none.
        clip_mode: how it is kept.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    z: Tensor
    factor: float
    h: float | None
    bound: Literal["printed", "frobenius"]
    clip: float | None
    clip_mode: Literal["value", "rescale"]
    logged: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self) -> Tensor:
        """Return the mean over the batch, 0-dim, in nats."""
        return self.per_sample().mean()

    def per_sample(self, index: Tensor | None = None) -> Tensor:
        """Return the losses (n,) of the samples ``index``, all by default; logs what ``logged`` has, of these samples."""
        x, y, z = (self.x, self.y, self.z) if index is None else (self.x[index], self.y[index], self.z[:, index])
        losses, r = loss_and_regulariser(self.model, x, y, z, self.factor, h=self.h, bound=self.bound)
        above = torch.zeros_like(r, dtype=torch.bool) if self.clip is None else r.detach() > self.clip
        if self.clip is not None:
            r = r.clamp(max=self.clip) if self.clip_mode == "value" else r * (self.clip / r.detach()).clamp(max=1.0)
        self.logged.update(regulariser=r.detach().mean(), clipped_share=above.double().mean().to(r))
        return losses + r


def loss_and_regulariser(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    z: Tensor,
    factor: float,
    *,
    h: float | None = WORKS_H,
    bound: Literal["printed", "frobenius"] = "printed",
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy and R of each sample, (B,) each, differentiable in the weights. Cost: see ``augmented_products``.

    Args:
        model: logits (B, C) from inputs.
        x: points (B, ...).
        y: labels (B,).
        z: directions (n, B, d + 1).
        factor: (d eps^2 + 1)/2.
        h: length of the finite difference; None: exact products.
        bound: the mean of the n norms, or the root of their mean square.
    """
    losses, products = augmented_products(model, x, y, z, h)
    squares = torch.stack([product.square().sum(1) for product in products])
    norms = (squares if bound == "printed" else squares.mean(0, keepdim=True)).add(ROOT_FLOOR).sqrt()
    return losses, factor * norms.mean(0)


def augmented_products(
    model: nn.Module, x: Tensor, y: Tensor, z: Tensor, h: float | None
) -> tuple[Tensor, Iterator[Tensor]]:
    """Return the losses (B,) and, one direction after the other, H z (B, d + 1), with their graphs.

    Cost: 1 forward and 1 backward, and for each direction 1 forward and 1 backward with a finite difference, 1 backward with
    exact products.

    Args:
        model: logits (B, C) from inputs.
        x: points (B, ...).
        y: labels (B,).
        z: directions (n, B, d + 1): z_d, then z_1.
        h: length of the finite difference; None: exact products.
    """
    x = x.detach().requires_grad_()
    losses = F.cross_entropy(model(x), y, reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), x, create_graph=True)
    return losses, _products(model, x, y, gradient.flatten(1), z, h)


def _products(model: nn.Module, x: Tensor, y: Tensor, g: Tensor, z: Tensor, h: float | None) -> Iterator[Tensor]:
    """Yield H z (B, d + 1) of each direction; ``g`` (B, d) is the gradient at ``x`` with its graph."""
    for direction in z:
        along, last = direction[:, :-1], direction[:, -1:]
        if h is None:
            (product,) = torch.autograd.grad((g * along).sum(), x, create_graph=True)
            curvature = product.flatten(1)
        else:
            length = torch.linalg.vector_norm(along, dim=1, keepdim=True)
            # Not clamped to the legal range: that would shorten the step.
            beside = (x + h * (along / length).view_as(x)).detach().requires_grad_()
            loss = F.cross_entropy(model(beside), y, reduction="sum")
            (other,) = torch.autograd.grad(loss, beside, create_graph=True)
            curvature = length * (other.flatten(1) - g) / h
        yield torch.cat([curvature + last * g, (g * along).sum(1, keepdim=True) + last], dim=1)


def draw_directions(generator: SampleGenerator, size: int) -> Tensor:
    """Return z ~ N(0, I) of each sample, (B, d + 1), on the generator's device."""
    return generator.normal((size + 1,))


def bound_factor(size: int, ball: ThreatModel) -> float:
    """Return kappa = (d eps^2 + 1)/2 of a ball in d dimensions; (eps^2 + 1)/2 in L2.

    >>> round(bound_factor(3072, ThreatModel("Linf", 4 / 255)), 4)
    0.8779
    """
    eps = float(ball.eps)
    return ((size if ball.norm == "Linf" else 1) * eps * eps + 1) / 2


def scaled_clip(size: int, ball: ThreatModel) -> float:
    """Return 11.39 (d (eps/2)^2 + 1)/2, the clip in proportion to the bound: 10 on CIFAR-10 at 8/255.

    >>> round(scaled_clip(3072, ThreatModel("Linf", 8 / 255)), 12)
    10.0
    """
    half = ThreatModel(ball.norm, float(ball.eps) / 2)
    works = bound_factor(WORKS_DIMENSION, ThreatModel("Linf", WORKS_RADIUS))
    return WORKS_CLIP * bound_factor(size, half) / works


def scaled_h(size: int) -> float:
    """Return 0.01 sqrt(d / 3072): the finite difference changes each coordinate by as much as on CIFAR-10.

    >>> scaled_h(3072)
    0.01
    """
    return WORKS_H * (size / WORKS_DIMENSION) ** 0.5
