"""The Hessian of the (adversarial) loss with respect to the parameters, as an operator: the one place for curvature.

    L(w) = (1/N) sum_n loss(x'_n, y_n, w),  loss = cross-entropy, batch normalisation in eval mode

Two conventions, for the inputs x'_n = x_n + eta_n depend on w themselves (yamada2021 section 2.5):

    fixed (F)   eta is held where the attack put it: the Hessian that PyHessian and the works compute
    total (T)   eta follows w: the curvature of the loss surface itself, the one the theorems are about

F is exact, by double backward. T is exact for logistic regression (``logistic.py``) and a central difference of the
re-attacked gradient for every other net; where the attack does not respond to w (random noise) they agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call

from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.landscape import logistic
from robustscape.landscape.directions import Direction, flatten, movable, parameters_of, unflatten
from robustscape.landscape.lanczos import Operator, top_eigenpairs
from robustscape.models.logistic_regression import LogisticRegression

#: Samples of a gradient or product; a batch's graph is what has to fit into the caches.
BATCH = 256

#: Bytes of autograd graphs that are kept between products.
KEPT_BYTES = 2**30

#: From so many vectors on (the dense matrix) they go through the graph together: measured 3x faster for a linear
#: model, even for a small convolutional net, and slower for a large one, which is never asked for its dense matrix.
TOGETHER = 16

#: Attacks that converge to the exact worst case of a linear model.
MAXIMISERS = {"pgd", "apgd"}


def size(model: nn.Module) -> int:
    """Number of parameters, P."""
    return sum(parameter.numel() for parameter in model.parameters())


def _require_eval(model: nn.Module) -> None:
    if any(module.training for module in model.modules()):
        raise ValueError("curvature is measured in eval mode; call model.eval() first")


def _gradient_graph(
    model: nn.Module, leaves: dict[str, Tensor], x: Tensor, y: Tensor, samples: int
) -> tuple[Tensor, ...]:
    """The batch's part of the gradient, differentiable once more."""
    losses = cross_entropy(functional_call(model, leaves, (x,)), y)
    return torch.autograd.grad(losses.sum() / samples, tuple(leaves.values()), create_graph=True)


def fixed(model: nn.Module, x: Tensor, y: Tensor, *, batch_size: int = BATCH, kept_bytes: int = KEPT_BYTES) -> Operator:
    """Convention F at the inputs ``x`` (already attacked): products (K, P) -> (K, P) by double backward.

    The gradient's graph does not depend on the vector, so batches' graphs are kept while they fit in ``kept_bytes``: a
    product is then one backward pass through them, without the forward and the first backward pass it is usually
    charged for. Cost of a product: about 2 forward-equivalents where the graph is kept, 5 where it is not.

    The model must be in eval mode and keep its weights while the operator is in use.
    """
    _require_eval(model)
    leaves = {name: tensor.requires_grad_() for name, tensor in parameters_of(model).items()}
    order = tuple(leaves.values())
    batches = list(zip(x.split(batch_size), y.split(batch_size), strict=True))
    kept: list[tuple[Tensor, ...]] = []
    stored = 0

    def weigh(tensor: Tensor) -> Tensor:
        nonlocal stored
        stored += tensor.numel() * tensor.element_size()
        return tensor

    for part, labels in batches:
        with saved_tensors_hooks(weigh, lambda tensor: tensor):
            graph = _gradient_graph(model, leaves, part, labels, len(x))
        if stored > kept_bytes:
            break
        kept.append(graph)

    def products(vectors: Tensor, batched: bool) -> Tensor:
        """H times the rows (K, P) if ``batched``, else times the vector (P,)."""
        lengths = [leaf.numel() for leaf in order]
        pieces = [
            v.reshape(*v.shape[:-1], *leaf.shape) for v, leaf in zip(vectors.split(lengths, -1), order, strict=True)
        ]
        result = torch.zeros_like(vectors)
        for number, (part, labels) in enumerate(batches):
            keep = number < len(kept)
            gradient = kept[number] if keep else _gradient_graph(model, leaves, part, labels, len(x))
            rows = torch.autograd.grad(
                gradient, order, pieces, retain_graph=keep, materialize_grads=True, is_grads_batched=batched
            )
            result += torch.cat([row.flatten(int(batched)) for row in rows], dim=-1)
        return result

    # vmap cannot carry other layouts (channels-last nets) through every double backward.
    plain = all(leaf.is_contiguous() for leaf in order)

    def operator(vectors: Tensor) -> Tensor:
        if plain and len(vectors) >= TOGETHER:
            return products(vectors, batched=True)
        return torch.stack([products(vector, batched=False) for vector in vectors])

    return operator


def gradient(model: nn.Module, x: Tensor, y: Tensor, *, batch_size: int = BATCH) -> Tensor:
    """The gradient of the mean loss at ``x`` as one vector (P,)."""
    _require_eval(model)
    leaves = {name: tensor.requires_grad_() for name, tensor in parameters_of(model).items()}
    total = torch.zeros_like(flatten(leaves)).detach()
    for part, labels in zip(x.split(batch_size), y.split(batch_size), strict=True):
        loss = cross_entropy(functional_call(model, leaves, (part,)), labels).sum() / len(x)
        total += torch.cat(
            [g.reshape(-1) for g in torch.autograd.grad(loss, tuple(leaves.values()), materialize_grads=True)]
        )
    return total


def differenced(model: nn.Module, attacked: Callable[[], Tensor], y: Tensor, step: float) -> Operator:
    """Convention T for any net: H v = (grad L(w + h v) - grad L(w - h v)) / 2h for unit v, attacked anew at both.

    By the envelope theorem the gradient of the maximum is the gradient at the maximiser, so each side is an attack
    and one gradient. ``h`` is ``step`` times ||w||: large enough that float32 gradients differ, small enough that the
    surface is nearly quadratic within it; the truncation error falls as h^2. Not exactly symmetric, which
    Lanczos assumes: read the residuals.

    Args:
        model: any net in eval mode; its weights move during a product and are put back bit for bit.
        attacked: attacks the model at its present weights, with the same random numbers each time; returns (N, ...).
        y: labels (N,).
        step: the h above, relative to ||w||.
    """
    _require_eval(model)
    like = parameters_of(model)
    h = step * torch.linalg.vector_norm(flatten(like)).item()

    def one(vector: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(vector).clamp_min(torch.finfo(vector.dtype).tiny)
        direction = unflatten(vector / norm, like)
        sides = []
        with movable(model) as move:
            for sign in (1.0, -1.0):
                move([direction], [sign * h])
                sides.append(gradient(model, attacked(), y))
        return (sides[0] - sides[1]) * (norm / (2 * h))

    def operator(vectors: Tensor) -> Tensor:
        return torch.stack([one(vector) for vector in vectors])

    return operator


def _is_bare_logistic(model: nn.Module) -> bool:
    net, normalize = getattr(model, "net", model), getattr(model, "normalize", None)
    return isinstance(net, LogisticRegression) and (normalize is None or isinstance(normalize, nn.Identity))


def total(
    model: nn.Module, x: Tensor, y: Tensor, spec: AttackSpec, eps: float, *, seed: int, step: float
) -> tuple[Operator, str]:
    """Convention T at the clean inputs ``x``, and how it is found: "closed form" or "central difference"."""
    plain = not spec.parameters.get("targeted") and spec.parameters.get("loss", "cross_entropy") == "cross_entropy"
    if _is_bare_logistic(model) and spec.attack in MAXIMISERS and plain:
        weight = flatten(parameters_of(model))
        matrix = logistic.total_hessian(weight, x.flatten(1), y, ThreatModel(spec.norm, eps, spec.bounds)).to(weight)
        return lambda vectors: vectors @ matrix, "closed form"
    return differenced(model, lambda: craft(model, x, y, spec, eps, seed=seed), y, step), "central difference"


def adversarial(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    spec: AttackSpec,
    eps: float,
    *,
    convention: str,
    seed: int,
    step: float = 1e-2,
) -> tuple[Operator, dict[str, Any]]:
    """The Hessian of the adversarial loss on clean inputs ``x``, and the columns that say how it was computed."""
    if convention == "total" and eps > 0:
        operator, derivative = total(model, x, y, spec, eps, seed=seed, step=step)
        relative = step if derivative == "central difference" else None
        return operator, {"convention": convention, "derivative": derivative, "difference_step": relative}
    x_adv = x if eps == 0 else craft(model, x, y, spec, eps, seed=seed)
    return fixed(model, x_adv, y), {"convention": convention, "derivative": "double backward", "difference_step": None}


def top_directions(
    model: nn.Module, x: Tensor, y: Tensor, attack: AttackSpec, eps: float, number: int, *, seed: int
) -> list[Direction]:
    """The eigenvectors of the ``number`` largest eigenvalues of the adversarial Hessian (attack held fixed), unit norm.

    Their signs are arbitrary; the largest entry is made positive, so that the same model always gives the same vectors.
    """
    operator, _ = adversarial(model, x, y, attack, eps, convention="fixed", seed=seed)
    like = parameters_of(model)
    pairs = top_eigenpairs(operator, size(model), number, flatten(like), seed=seed)
    return [unflatten(v * torch.sign(v[v.abs().argmax()]), like) for v in pairs.vectors]
