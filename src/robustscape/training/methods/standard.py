"""Standard training: min_w mean_n loss(f_w(x_n), y_n).

Empirical risk minimisation on clean inputs; the eps = 0 row of every table. Cost: 1 forward, 1 backward (3
forward-equivalents).
"""

from __future__ import annotations

from torch import Tensor, nn

from robustscape.training.attack import TrainingAttack
from robustscape.training.objective import CrossEntropy, CrossEntropyWithError


def standard(
    model: nn.Module, x: Tensor, y: Tensor, attack: TrainingAttack, *, log_error: bool = False
) -> CrossEntropy:
    """Return the mean cross-entropy of clean inputs as an objective; no attack is made.

    Args:
        model: the net, in training mode.
        x: inputs (B, ...).
        y: labels (B,).
        attack: not called.
        log_error: also log the running training error, in percent, as the column ``train_error`` of history.csv.
    """
    return CrossEntropyWithError(model, x, y, {}) if log_error else CrossEntropy(model, x, y)
