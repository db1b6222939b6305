"""Points where regularisers of the input gradient are taken, and the ball that is left there (ma2025 section 3.3.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Tensor, nn

from robustscape.attacks.base.gradients import frozen, input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.threat import ThreatModel
from robustscape.training.attack import TrainingAttack

Start = Literal["zero", "random", "pgd1"]


def start_point(
    model: nn.Module, x: Tensor, y: Tensor, attack: TrainingAttack, start: Start
) -> tuple[Tensor, ThreatModel]:
    """Return points x' (B, ...), detached, and the ball around them that the regulariser covers.

    "zero": x itself, and the whole ball. "random": a uniform point of the ball, and the whole ball again (the work states the
    radius of the regulariser of SOAR from "pgd1" only; that of FOAR follows it here, "for a fair comparison"). "pgd1": both have
    half the radius, so that together they stay in the ball: a
    uniform point of the half ball, then one step of its radius up the cross-entropy, projected. Cost of "pgd1": 1 forward, 1
    input-backward; of the others nothing.

    Args:
        model: logits (B, C); "pgd1" asks it in the mode of the recipe's attack.
        x: inputs (B, ...).
        y: labels (B,).
        attack: its ball and random streams; it is not called.
        start: which of the three.
    """
    whole = attack.threat
    if start == "zero":
        return x.detach(), whole
    if start == "random":
        return whole.random_point(x, attack.generator), whole
    half = replace(whole, eps=whole.eps / 2)
    point = half.random_point(x, attack.generator)
    with frozen(model, train=attack.train_mode):
        _, _, gradient = input_gradient(model, point, y, cross_entropy)
    return half.project(point + half.eps_like(x) * half.ascent(gradient), x), half
