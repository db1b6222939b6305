"""Adversarial training on photographs: each is cropped to a random size and mirrored by half, and then attacked.

    min_w mean_n max_{x'_n in B(c(x_n), eps)} CE(f_w(x'_n), y_n)

Wong, Rice and Kolter (2020) train so on ImageNet with a single step from a random start (ma2025 table 6.11). On images below 64
pixels a side, which stand in for photographs, this is ``adversarial``. Cost: that of ``adversarial``.
"""

from __future__ import annotations

from torch import Tensor, nn

from robustscape.training.attack import TrainingAttack
from robustscape.training.methods._photographs import cropped_and_mirrored
from robustscape.training.objective import CrossEntropy


def adversarial_photographs(model: nn.Module, x: Tensor, y: Tensor, attack: TrainingAttack) -> CrossEntropy:
    """Return the mean cross-entropy of attacked crops as an objective; the attack runs once, at the weights before the step.

    Args:
        model: the net, in training mode.
        x: images (B, ...).
        y: labels (B,).
        attack: the recipe's attack.
    """
    return CrossEntropy(model, attack(model, cropped_and_mirrored(x), y), y)
