"""The signs of catastrophic overfitting that kim2023 monitors (section 2.3), on one batch.

Accuracy clean, under the single step and under PGD; the distortion; the mean size of PGD's perturbation per pixel; and the norm
of the gradient with respect to the input, which jumps when the loss becomes steep. Cost: both attacks, the distortion, 3 forward
passes, and a forward and input-backward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustscape.attacks.base.gradients import Classifier, frozen_copy, input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.harness.distorted import FGSM, distorted, percent_of
from robustscape.evaluation.percentages import percent_true_fp32

#: Samples of a pass.
BATCH = 512

UNITS = {
    "clean_accuracy": "percent",
    "fgsm_accuracy": "percent",
    "pgd_accuracy": "percent",
    "distortion": "percent",
    "mean_abs_delta_pgd": "1",
    "input_grad_norm_l2": "nats",
    "input_grad_norm_l2_squared": "nats squared",
}


def overfitting_signs(
    model: nn.Module, x: Tensor, y: Tensor, attack: AttackSpec, eps: float, points: int, seed: int
) -> dict[str, float]:
    """Return the quantities of ``UNITS`` by name, of a model in eval mode.

    Args:
        model: the net.
        x: clean inputs (N, ...).
        y: labels (N,).
        attack: the multi-step attack.
        eps: perturbation budget of both attacks.
        points: interior points of the distortion's segment.
        seed: of the attacks' random streams.
    """
    fgsm, pgd = (craft(model, x, y, spec, eps, seed=seed) for spec in (FGSM, attack))
    norms = input_gradient_norms(model, x, y)
    return {
        "clean_accuracy": percent_true_fp32(correctly_classified(model, x, y)),
        "fgsm_accuracy": percent_true_fp32(correctly_classified(model, fgsm, y)),
        "pgd_accuracy": percent_true_fp32(correctly_classified(model, pgd, y)),
        "distortion": percent_of(*distorted(model, x, y, eps, points)),
        "mean_abs_delta_pgd": (pgd - x).abs().mean().item(),
        "input_grad_norm_l2": norms.mean().item(),
        "input_grad_norm_l2_squared": norms.square().mean().item(),
    }


def input_gradient_norms(model: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """Return ||grad_x loss||_2 of each sample, (N,), of a model in eval mode; batch size does not scale it."""
    net = frozen_copy(model, x)
    parts = zip(x.split(BATCH), y.split(BATCH), strict=True)
    return torch.cat(
        [input_gradient(net, part, labels, cross_entropy)[2].flatten(1).norm(dim=1) for part, labels in parts]
    )
