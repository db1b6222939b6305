"""PGD-Meta: untargeted PGD on the meta-classifier of a hierarchical network.

ma2025 section 5.6 and table 5.4. With M the part of the network that classifies superclasses and z* the superclass of y,

    x_0     = x + uniform in the ball              (random_start) or x
    x_{t+1} = P( x_t + step * sign(grad_x CE(M(x_t), z*)) )                     (L2: g / ||g||_2)

The leaf classifiers are not evaluated; the returned inputs are inputs of the whole network. Cost: ``steps`` forward and
input-backward passes of M alone if the network evaluates M first, else of everything up to M.
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


class _MetaOutput(Exception):
    """Ends a forward pass at the meta-classifier and carries its logits; not an error."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


def meta_classifier(model: Classifier, name: str) -> Classifier:
    """Return M as a classifier of the network's inputs, what comes before M (such as normalisation) included.

    Args:
        model: a network with one submodule called ``name``, at any depth.
        name: last part of the submodule's name.

    Raises:
        AttackError: no submodule, or more than one, is called ``name``; or the forward pass does not call it.
    """
    modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
    found = [module for path, module in modules.items() if path.rpartition(".")[2] == name]
    if len(found) != 1:
        raise AttackError(
            f"pgd_meta: 'meta' got '{name}', but the model has {len(found)} submodules of that name, not one; "
            "group_loss_pgd is the same attack for any model."
        )

    def stop(module: nn.Module, inputs: Any, output: Tensor) -> None:
        raise _MetaOutput(output)

    def classify(x: Tensor) -> Tensor:
        hook = found[0].register_forward_hook(stop)
        try:
            model(x)
        except _MetaOutput as found_output:
            if not torch.isfinite(found_output.logits).all():  # no later output of the network would show it
                raise AttackError(
                    "the model returns NaN or infinite logits under attack 'pgd_meta', so it cannot be attacked."
                ) from None
            return found_output.logits
        finally:
            hook.remove()
        raise AttackError(f"pgd_meta: the model's forward pass does not call its submodule '{name}'.")

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
    """Return adversarial inputs of the shape of ``x``, inside the ball and the range of ``threat``.

    Args:
        model: a network with a submodule ``meta`` that maps inputs to superclass logits (B, Z).
        x: inputs (B, ...) inside ``threat.bounds``.
        y: classes (B,), not superclasses.
        threat: norm, eps (a number, or one per sample) and range.
        generator: random streams, one per sample.
        superclass: of class 0, 1, ..., C - 1, numbered as the meta-classifier's logits.
        meta: name of that submodule, which may be at any depth.
        steps: gradient steps.
        step_size: length of a step in input units; None: ``rel_step_size`` times eps.
        rel_step_size: length of a step as a fraction of eps.
        random_start: start at a uniform point of the ball, else at ``x``.
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
