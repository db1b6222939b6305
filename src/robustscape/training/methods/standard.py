"""Standard training: min_w mean_n loss(f_w(x_n), y_n).

Empirical risk minimisation on clean inputs; the eps = 0 row of every table. Cost: 1 forward, 1 backward (3
forward-equivalents).
"""

from __future__ import annotations

from torch import Tensor, nn

from robustscape.training.attack import TrainingAttack
from robustscape.training.objective import CrossEntropy


def standard(model: nn.Module, x: Tensor, y: Tensor, attack: TrainingAttack) -> CrossEntropy:
    """Return the mean cross-entropy of clean inputs ``x`` (B, ...) with labels ``y`` (B,) as an objective; no attack is made."""
    return CrossEntropy(model, x, y)
