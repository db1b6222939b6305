"""PGD-Meta: untargeted PGD on the meta-classifier inside a hierarchical network.

ma2025 section 5.6 and table 5.4. With M the part of the network that tells superclasses apart and z* that of y,

    x_0     = x + uniform in the ball              (random_start) or x
    x_{t+1} = P( x_t + step * sign(grad_x CE(M(x_t), z*)) )                     (L2: g / ||g||_2)

The leaf classifiers are not asked; what is returned is for the whole network. Cost: ``steps`` forward and
input-backward passes of M alone, if the network evaluates M first (else its forward passes up to M).
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd
from robustscape.errors import AttackError


class _Reached(Exception):
    """Carries the meta-classifier's output out of a forward pass whose rest nobody needs; not an error."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


def meta_classifier(model: Classifier, name: str) -> Classifier:
    """M as a classifier of the network's own inputs: whatever stands before M (normalisation) is passed too.

    Raises:
        AttackError: no submodule, or more than one, is called ``name``; or it is never asked.
    """
    modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
    found = [module for path, module in modules.items() if path.rpartition(".")[2] == name]
    if len(found) != 1:
        raise AttackError(
            f"pgd_meta attacks the part of a hierarchical network called '{name}', and the model has {len(found)} of "
            "them; group_loss_pgd is the same attack for any model."
        )

    def stop(module: nn.Module, inputs: Any, output: Tensor) -> None:
        raise _Reached(output)

    def classify(x: Tensor) -> Tensor:
        hook = found[0].register_forward_hook(stop)
        try:
            model(x)
        except _Reached as reached:
            return reached.logits
        finally:
            hook.remove()
        raise AttackError(f"the model never asks its part '{name}'.")

    return classify


def pgd_meta(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    *,
    superclass: list[int],
    meta: str = "meta",
    steps: Annotated[int, Field(ge=1)] = 20,
    step_size: Annotated[float, Field(gt=0)] | None = None,
    rel_step_size: Annotated[float, Field(gt=0)] = 0.25,
    random_start: bool = True,
) -> Tensor:
    """Adversarial inputs, shape and range of ``x``.

    Args:
        model: a network with a submodule ``meta`` that maps inputs to superclass logits (B, Z).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: classes (B,), not superclasses.
        threat: norm, eps (a number, or one per sample) and range.
        generator: the samples' random streams.
        superclass: of class 0, 1, ..., C - 1, numbered as the meta-classifier's logits.
        meta: name of that submodule, wherever in the network it is.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        random_start: start uniformly in the ball, else at ``x``.
    """
    goal = torch.tensor(superclass, device=y.device)[y]
    return pgd(
        meta_classifier(model, meta),
        x,
        goal,
        threat,
        generator,
        steps=steps,
        step_size=step_size,
        rel_step_size=rel_step_size,
        random_start=random_start,
    )
