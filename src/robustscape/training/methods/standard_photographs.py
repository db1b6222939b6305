"""Standard training on photographs as PyTorch's reference trains ImageNet nets (ma2025 appendix 6.A).

    min_w mean_n CE_smoothed(f_w(x_n), y_n)

Convolutional nets: crops of random size, mirrored by half. Transformers also: RandAugment or TrivialAugment with random erasing,
Mixup and CutMix, and smoothed labels. On images below 64 pixels a side, which stand in for photographs, nothing is changed.
Cost: 1 forward, 1 backward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.training.attack import TrainingAttack
from robustscape.training.methods._photographs import changed_by_policy, cropped_and_mirrored, mixed


def standard_photographs(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: TrainingAttack,
    *,
    classes: Annotated[int, Field(ge=2)] = 1000,
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    policy: Literal["none", "rand", "trivial"] = "none",
    erase: Annotated[float, Field(ge=0, le=1)] = 0.0,
    mixup: Annotated[float, Field(ge=0)] = 0.0,
    cutmix: Annotated[float, Field(ge=0)] = 0.0,
) -> SmoothedCrossEntropy:
    """Return the mean cross-entropy of changed images with smoothed labels as an objective; no attack is made.

    Args:
        model: the net, in training mode.
        x: images (B, ...).
        y: labels (B,).
        attack: not called.
        classes: number of classes of images that are mixed.
        smoothing: weight of the uniform distribution in a label.
        policy: stronger changes of each image: RandAugment or TrivialAugment.
        erase: probability that a rectangle of an image gets the mean colour of the batch.
        mixup: parameter of Mixup; 0: none.
        cutmix: parameter of CutMix; 0: none.
    """
    x = changed_by_policy(cropped_and_mirrored(x), policy, erase)
    return SmoothedCrossEntropy(model, *mixed(x, y, classes, mixup, cutmix), smoothing)


@dataclass(frozen=True)
class SmoothedCrossEntropy:
    """Cross-entropy of fixed images with labels or probabilities of the classes, at the model's current weights.

    Args:
        model: the net.
        x: images (B, ...).
        wanted: labels (B,), or probabilities of the classes (B, C).
        smoothing: weight of the uniform distribution.
    """

    model: nn.Module
    x: Tensor
    wanted: Tensor
    smoothing: float

    def __call__(self) -> Tensor:
        """Return the mean over the batch, 0-dim, in nats."""
        return F.cross_entropy(self.model(self.x), self.wanted, label_smoothing=self.smoothing)
