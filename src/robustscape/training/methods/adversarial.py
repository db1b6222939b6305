"""Adversarial training: min_w mean_n max_{x'_n in B(x_n, eps)} loss(f_w(x'_n), y_n).

Madry et al. (2018); yamada2021 eq 4, liu2020 section 1, kim2023 eq 1.3, ma2025 eq 2.7. The inner maximum is the recipe's
attack, detached: by Danskin's theorem the gradient of the maximum is the gradient at the maximiser. With the attack
``random_noise`` this is training on random noise (yamada2021 section 5.1). Cost with PGD-k: k forward and input-backward
passes and 1 forward and backward (2k + 3 forward-equivalents).
"""

from __future__ import annotations

from torch import Tensor, nn

from robustscape.training.attack import TrainingAttack
from robustscape.training.objective import CrossEntropy, CrossEntropyWithError


def adversarial(
    model: nn.Module, x: Tensor, y: Tensor, attack: TrainingAttack, *, log_error: bool = False
) -> CrossEntropy:
    """Return the mean cross-entropy of attacked inputs as an objective; the attack runs once, at the weights before the step.

    Args:
        model: the net, in training mode.
        x: inputs (B, ...).
        y: labels (B,).
        attack: the recipe's attack.
        log_error: also log the running training error, in percent, as the column ``train_error`` of history.csv: that of the
            attacked batches, in the updates' own forward passes.
    """
    x_adv = attack(model, x, y)
    return CrossEntropyWithError(model, x_adv, y, {}) if log_error else CrossEntropy(model, x_adv, y)
