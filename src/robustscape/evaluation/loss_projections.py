"""The effect of the terms of a loss on the margin: inner products of gradients with respect to the weights.

kim2023 part B of chapter 3, figures 3.9 and 3.12. With M the mean margin over some samples, a descent step on a term T changes
M at the rate <-grad T, grad M>. The terms, each a mean over the samples with x* from an attack that is held fixed:

    natural      KL(y || p(x)) = CE(p(x), y)
    adversarial  CE(p(x*), y)
    smoothness   KL(p(x) || p(x*))
    bridged      sum_k KL( p(gamma(k/m)) || p(gamma((k+1)/m)) ), see training.methods.bat

All gradients are taken on the same samples, with BatchNorm in eval mode. Cost: the attack, m + 1 forward passes, and a backward
pass for each term and for the margin.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.margins import probabilistic_margin
from robustscape.evaluation.smoothness import divergence

#: Below it a gradient counts as zero; PyTorch's default, 1e-8, swallows those of a net that is sure of its answers.
LEAST_NORM = 1e-150


def margin_projections(
    model: nn.Module, x: Tensor, y: Tensor, attack: AttackSpec, eps: float, seed: int, bridges: int = 2
) -> dict[str, tuple[float, float]]:
    """Return <-grad T, grad M> and the cosine between the two, by term, of a model in eval mode.

    Args:
        model: the net.
        x: clean inputs (N, ...).
        y: labels (N,).
        attack: makes x*.
        eps: its perturbation budget.
        seed: of its random streams.
        bridges: m of the bridged term.
    """
    x_adv = craft(model, x, y, attack, eps, seed=seed)
    gradients = term_gradients(model, x, x_adv, y, bridges)
    rise = gradients.pop("margin")
    return {
        term: (-(vector @ rise).item(), -F.cosine_similarity(vector, rise, dim=0, eps=LEAST_NORM).item())
        for term, vector in gradients.items()
    }


def weighted_projection(by_term: Mapping[str, tuple[float, float]], weights: Mapping[Any, float]) -> float:
    """Return <-grad L, grad M> of the loss L that is the sum of the terms with these weights."""
    return sum(weight * by_term[term][0] for term, weight in weights.items())


def term_gradients(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, bridges: int) -> dict[str, Tensor]:
    """Return the gradients with respect to all weights, flat (P,) in float64, of "margin" (the mean) and of every term."""
    weights = [p for p in model.parameters() if p.requires_grad]
    path = [torch.lerp(x, x_adv, k / bridges) for k in range(1, bridges)]
    with torch.enable_grad():
        log_p, *inner, log_q = (model(points).log_softmax(1) for points in (x, *path, x_adv))
        ends = [log_p, *inner, log_q]
        segments = [divergence(a, b) for a, b in itertools.pairwise(ends)]
        terms = {
            "margin": probabilistic_margin(log_p.exp(), y).mean(),
            "natural": F.nll_loss(log_p, y),
            "adversarial": F.nll_loss(log_q, y),
            "smoothness": divergence(log_p, log_q).mean(),
            "bridged": torch.stack(segments).sum(0).mean(),
        }
        gradients = {
            name: torch.autograd.grad(term, weights, retain_graph=True, materialize_grads=True)
            for name, term in terms.items()
        }
    return {name: torch.cat([g.double().flatten() for g in parts]) for name, parts in gradients.items()}
