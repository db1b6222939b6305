"""Adversarial training with targets outside the meta-class: ma2025 section 5.6.1, PGD10-T.

    min_w mean_n loss( f_w(x'_n), y_n ),     x'_n = the recipe's attack towards t_n, uniform over the classes not in z_n

with z_n the meta-class of y_n: the inner problem *lowers* loss(f(x'), t_n), the outer one is that of adversarial training. Health
is measured with the recipe's attack as it stands, untargeted. Cost with PGD-k: k forward and input-backward passes, a forward
pass of one sample and 1 forward and backward (2k + 3 forward-equivalents).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen
from robustscape.attacks.hierarchical_pgd import uniform_target
from robustscape.errors import ConfigError
from robustscape.training.attack import TrainingAttack
from robustscape.training.objective import CrossEntropy


def targeted_adversarial(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: TrainingAttack,
    *,
    hierarchies: list[list[Annotated[int, Field(ge=1)]]],
) -> CrossEntropy:
    """Return the mean cross-entropy of the attacked inputs with their labels as an objective; the attack runs once.

    Args:
        model: the net, in training mode.
        x: inputs (B, ...).
        y: labels (B,), numbered meta-class after meta-class (``data.hierarchies``).
        attack: the recipe's attack, which must be able to be targeted.
        hierarchies: for each number of classes that a data set may have, how many are in each of its meta-classes: the work's
            data set and what stands in for it at other scales.

    Raises:
        ConfigError: no hierarchy, or more than one, has as many classes as the model, or the attack cannot be targeted.
    """
    if attack.function is None or "targeted" not in attack.parameters:
        raise ConfigError("targeted_adversarial: the recipe's attack must be one that can be targeted, such as pgd.")
    if attack.threat.eps == 0:
        return CrossEntropy(model, x, y)
    with torch.no_grad(), frozen(model):
        classes = model(x[:1]).shape[1]
    goal = target_outside(meta_classes(hierarchies, classes, y.device), y, attack.generator.fork(0))
    towards = replace(attack, parameters={**attack.parameters, "targeted": True})
    return CrossEntropy(model, towards(model, x, goal), y)


def meta_classes(hierarchies: list[list[int]], classes: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the meta-class of each class, int64 (C,), by the hierarchy of that many classes.

    It is made on ``device``: a GPU would be waited for in every step if numbers were copied there.

    Raises:
        ConfigError: none, or more than one, has that many.
    """
    found = [sizes for sizes in hierarchies if sum(sizes) == classes]
    if len(found) != 1 or len(found[0]) < 2:
        have = ", ".join(str(sum(sizes)) for sizes in hierarchies)
        raise ConfigError(
            "targeted_adversarial: 'hierarchies' must hold one hierarchy, of two or more meta-classes, for the model's "
            f"{classes} classes; those it holds have {have}."
        )
    return torch.cat([torch.full((size,), number, device=device) for number, size in enumerate(found[0])])


def target_outside(meta: Tensor, y: Tensor, generator: SampleGenerator) -> Tensor:
    """Return a target of each label, int64 (B,), uniform over the classes of other meta-classes; ``meta`` (C,) has them."""
    return uniform_target(meta[None, :] != meta[y][:, None], generator)
