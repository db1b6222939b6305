"""Smoothness of predictions between an input and its attacked copy, and the contributions of two classes.

kim2023 section 3.3 of part B: KL(p || p*) = sum_i p_i log alpha_i with alpha = p(x) / p(x*), lower is smoother. A
misclassifying attack lowers the true class (log alpha_y > 0) and raises the class it aims at (log alpha_t < 0, with
t = argmax_{i != y} p*_i).
"""

from __future__ import annotations

import torch
from torch import Tensor


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(p || q) of each sample, (N,), in nats, from log-probabilities (N, C)."""
    return (log_p.exp() * (log_p - log_q)).sum(1)


def log_ratios(log_p: Tensor, log_q: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return log alpha of the true class and of the class that the attack aims at, (N,) each.

    Args:
        log_p: log-probabilities (N, C) at x.
        log_q: log-probabilities (N, C) at x*.
        y: labels (N,).
    """
    alpha, true = log_p - log_q, y[:, None]
    target = log_q.scatter(1, true, -torch.inf).argmax(1, keepdim=True)
    return alpha.gather(1, true).squeeze(1), alpha.gather(1, target).squeeze(1)
