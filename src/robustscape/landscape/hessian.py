"""The Hessian of the (adversarial) loss with respect to the parameters, as an operator; all curvature is computed here.

    L(w) = (1/N) sum_n loss(x'_n, y_n, w),  loss = cross-entropy, BatchNorm in eval mode

There are two conventions, because the inputs x'_n = x_n + eta_n depend on w (yamada2021 section 3.2):

    fixed (F)   eta is held where the attack put it: the Hessian that PyHessian and the works compute
    total (T)   eta follows w: the curvature of the loss surface itself, which the theorems are about

F is exact, by double backward. T is exact for logistic regression (``logistic.py``), as far as the attack finds the worst case,
and a central difference of the re-attacked gradient for every other net. If the attack does not depend on w (random noise), F
and T are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call

from robustscape import devices
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.landscape import logistic
from robustscape.landscape.directions import Direction, flatten, movable, parameters_of, unflatten
from robustscape.landscape.lanczos import Operator, top_eigenpairs
from robustscape.landscape.mean_loss import mean_loss_gradient, require_eval
from robustscape.models.logistic_regression import LogisticRegression

#: Samples per batch of a gradient or product; the graph of a batch should fit into the caches.
BATCH = 256

#: Upper bound on the bytes of autograd graphs that are kept between products.
KEPT_BYTES = 2**30

#: From this number of vectors (the dense matrix) they go through the graph together: measured 3 times faster for a
#: linear model, equal for a small convolutional net, and slower for a large one, whose dense matrix is never computed.
TOGETHER = 16

#: Attacks that converge to the exact worst case of a linear model, if they have enough steps.
EXACT_FOR_LINEAR_MODELS = {"pgd", "apgd"}

#: The share of the worst case's rise of the loss that an attack must reach for the closed form to be that of its loss.
LEAST_REACHED = 0.999


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters, P."""
    return sum(parameter.numel() for parameter in model.parameters())


def _gradient_graph(
    model: nn.Module, leaves: dict[str, Tensor], x: Tensor, y: Tensor, samples: int
) -> tuple[Tensor, ...]:
    """The contribution of a batch to the gradient, differentiable once more."""
    losses = cross_entropy(functional_call(model, leaves, (x,)), y)
    return torch.autograd.grad(
        losses.sum() / samples, tuple(leaves.values()), create_graph=True, materialize_grads=True
    )


@devices.exact_fp32()
def fixed_operator(
    model: nn.Module, x: Tensor, y: Tensor, *, batch_size: int = BATCH, kept_bytes: int = KEPT_BYTES
) -> Operator:
    """Return the Hessian of convention F at the attacked inputs ``x``, an operator (K, P) -> (K, P) by double backward.

    The graph of the gradient does not depend on the vector, so the graphs of batches are kept as long as they fit into
    ``kept_bytes``: a product is then one backward pass through them, without a forward and a first backward pass. Cost of a
    product: about 2 forward-equivalents if the graph is kept, 5 if it is not.

    The model must be in eval mode and keep its weights while the operator is in use.
    """
    require_eval(model)
    leaves = {name: tensor.requires_grad_() for name, tensor in parameters_of(model).items()}
    order = tuple(leaves.values())
    batches = list(zip(x.split(batch_size), y.split(batch_size), strict=True))
    kept: list[tuple[Tensor, ...]] = []
    stored = 0

    def count_bytes(tensor: Tensor) -> Tensor:
        nonlocal stored
        stored += tensor.numel() * tensor.element_size()
        return tensor

    for part, labels in batches:
        with saved_tensors_hooks(count_bytes, lambda tensor: tensor):
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
            # A parameter that the loss does not use has a gradient of zero that depends on nothing.
            curved = [(slope, piece) for slope, piece in zip(gradient, pieces, strict=True) if slope.requires_grad]
            if not curved:
                continue
            slopes, directions = zip(*curved, strict=True)
            rows = torch.autograd.grad(
                slopes, order, directions, retain_graph=keep, allow_unused=True, is_grads_batched=batched
            )
            filled = (torch.zeros_like(p) if row is None else row for row, p in zip(rows, pieces, strict=True))
            result += torch.cat([row.flatten(int(batched)) for row in filled], dim=-1)
        return result

    # vmap cannot carry other layouts (channels-last nets) through every double backward.
    plain = all(leaf.is_contiguous() for leaf in order)

    @devices.exact_fp32()
    def operator(vectors: Tensor) -> Tensor:
        if plain and len(vectors) >= TOGETHER:
            return products(vectors, batched=True)
        return torch.stack([products(vector, batched=False) for vector in vectors])

    return operator


def difference_operator(model: nn.Module, attacked: Callable[[], Tensor], y: Tensor, step: float) -> Operator:
    """Return the Hessian of convention T of any net: H v = (grad L(w + h v) - grad L(w - h v)) / 2h, attacked anew at both.

    v has norm 1. By the envelope theorem the gradient of the maximum is the gradient at the maximiser, so each side costs an
    attack and one gradient. ``h`` is ``step`` times ||w||: large enough that float32 gradients differ, small enough that the
    surface is nearly quadratic within it; the truncation error falls as h^2. The operator is not exactly symmetric, which
    Lanczos assumes: check the residuals.

    Args:
        model: any net in eval mode; its weights move during a product and are put back bit for bit.
        attacked: returns the inputs (N, ...) attacked at the model's present weights, with the same random numbers each time.
        y: labels (N,).
        step: the h above, relative to ||w||.
    """
    require_eval(model)
    like = parameters_of(model)
    h = step * torch.linalg.vector_norm(flatten(like)).item()

    def product(vector: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(vector).clamp_min(torch.finfo(vector.dtype).tiny)
        direction = unflatten(vector / norm, like)
        sides = []
        with movable(model) as move:
            for sign in (1.0, -1.0):
                move([direction], [sign * h])
                sides.append(flatten(mean_loss_gradient(model, attacked(), y, batch_size=BATCH)))
        return (sides[0] - sides[1]) * (norm / (2 * h))

    @devices.exact_fp32()
    def operator(vectors: Tensor) -> Tensor:
        return torch.stack([product(vector) for vector in vectors])

    return operator


def _is_bare_logistic(model: nn.Module) -> bool:
    net, normalize = getattr(model, "net", model), getattr(model, "normalize", None)
    plain = normalize is None or isinstance(normalize, nn.Identity)
    return plain and isinstance(net, LogisticRegression) and net.linear.bias is None


def has_closed_form(model: nn.Module, spec: AttackSpec) -> bool:
    """Return whether the attack, with enough steps, finds the worst case of this model: one without a bias (``logistic``)."""
    plain = not spec.parameters.get("targeted") and spec.parameters.get("loss", "cross_entropy") == "cross_entropy"
    return _is_bare_logistic(model) and spec.attack in EXACT_FOR_LINEAR_MODELS and plain


def worst_case_reached(model: nn.Module, x: Tensor, y: Tensor, x_adv: Tensor, spec: AttackSpec, eps: float) -> float:
    """Return the share of the rise of the mean loss in the worst case of a linear model that an attack reaches, 1 if it is found.

    Args:
        model: one that ``has_closed_form``.
        x: clean inputs (N, ...).
        y: labels (N,).
        x_adv: what the attack made of them, (N, ...).
        spec: the attack.
        eps: its perturbation budget.
    """
    weight = flatten(parameters_of(model)).double()
    worst = logistic.worst_case(weight, x.flatten(1), y, ThreatModel(spec.norm, eps, spec.bounds))
    clean, reached, most = (logistic.losses(weight, points.flatten(1), y).mean().item() for points in (x, x_adv, worst))
    return (reached - clean) / (most - clean) if most > clean else 1.0


def total_operator(
    model: nn.Module, x: Tensor, y: Tensor, spec: AttackSpec, eps: float, *, seed: int, step: float
) -> tuple[Operator, dict[str, Any]]:
    """Return the Hessian of convention T at the clean inputs ``x``, and the columns ``derivative`` and ``worst_case_reached``.

    The closed form is that of the worst case, of which an attack may reach less: with few steps, or in L2 where pixels are
    clipped. Where it is less than ``LEAST_REACHED`` it is called "closed form of the worst case", and the share is recorded:
    it is not the Hessian of the loss under this attack. Cost: an attack, to see which, where there is a closed form.
    """
    if has_closed_form(model, spec):
        reached = worst_case_reached(model, x, y, craft(model, x, y, spec, eps, seed=seed), spec, eps)
        weight = flatten(parameters_of(model))
        matrix = logistic.total_hessian(weight, x.flatten(1), y, ThreatModel(spec.norm, eps, spec.bounds)).to(weight)
        what = "closed form" if reached >= LEAST_REACHED else "closed form of the worst case"
        return devices.exact_fp32()(lambda vectors: vectors @ matrix), {
            "derivative": what,
            "worst_case_reached": reached,
        }
    operator = difference_operator(model, lambda: craft(model, x, y, spec, eps, seed=seed), y, step)
    return operator, {"derivative": "central difference", "worst_case_reached": None}


@devices.exact_fp32()
def adversarial_operator(
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
    """Return the Hessian of the adversarial loss on clean inputs ``x``, and the columns that state how it was computed.

    Args:
        model: any net in eval mode.
        x: clean inputs (N, ...).
        y: labels (N,).
        spec: the attack.
        eps: its perturbation budget; 0: the clean loss.
        convention: "fixed" or "total".
        seed: of the attack.
        step: of a central difference, relative to ||w||.
    """
    if convention == "total" and eps > 0:
        operator, how = total_operator(model, x, y, spec, eps, seed=seed, step=step)
        relative = step if how["derivative"] == "central difference" else None
        return operator, {"convention": convention, **how, "difference_step": relative}
    x_adv = x if eps == 0 else craft(model, x, y, spec, eps, seed=seed)
    return fixed_operator(model, x_adv, y), {
        "convention": convention,
        "derivative": "double backward",
        "difference_step": None,
    }


@devices.exact_fp32()
def top_directions(
    model: nn.Module, x: Tensor, y: Tensor, attack: AttackSpec, eps: float, number: int, *, seed: int
) -> list[Direction]:
    """Return the eigenvectors of the ``number`` largest eigenvalues of the adversarial Hessian (attack held fixed), unit norm.

    The sign of an eigenvector is arbitrary; its largest entry is made positive, so the same model gives the same vectors.
    """
    operator, _ = adversarial_operator(model, x, y, attack, eps, convention="fixed", seed=seed)
    like = parameters_of(model)
    pairs = top_eigenpairs(operator, parameter_count(model), number, flatten(like), seed=seed)
    return [unflatten(v * torch.sign(v[v.abs().argmax()]), like) for v in pairs.vectors]
