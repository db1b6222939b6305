"""Gradients with respect to inputs, and nothing else.

An attack step needs one forward and the input half of one backward pass: 2 forward-equivalents, not 3. Freezing the
parameters keeps autograd from building what only their gradients would need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustscape.attacks.base.losses import Loss
from robustscape.errors import AttackError

Classifier = Callable[[Tensor], Tensor]

#: Of a search in bf16: where the two highest logits differ by less than this share of the largest, fp32 must decide. Four
#: units of bf16's last place, about twice the largest error seen on ResNets.
CLOSE = 2.0**-6


@contextmanager
def frozen(model: Classifier, *, train: bool = False) -> Iterator[None]:
    """Within the block the parameters take no gradients and the model is in eval mode (``train=True``: train mode).

    Modes and flags are put back afterwards, per module. Anything that is not an ``nn.Module`` is left alone.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    parameters = [p for p in model.parameters() if p.requires_grad]
    modes = [(module, module.training) for module in model.modules()]
    model.train(train)
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
        for module, training in modes:
            module.training = training


def input_gradient(model: Classifier, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (B, C), per-sample losses (B,), and d loss / d x (B, ...), all detached. 1 forward, 1 input backward."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(x)
        losses = loss(logits, y)
        (gradient,) = torch.autograd.grad(losses.sum(), x)
    return logits.detach(), losses.detach(), gradient


def predict(model: Classifier, x: Tensor) -> Tensor:
    """Logits (B, C), outside of any autograd graph. 1 forward."""
    with torch.inference_mode():
        logits = model(x)
    return logits.clone()  # an ordinary tensor: inference tensors cannot be changed or differentiated later


def misclassified(logits: Tensor, y: Tensor) -> Tensor:
    """Which samples are misclassified, bool (B,)."""
    return logits.argmax(1) != y


def confirmed(model: Classifier, x: Tensor, y: Tensor, claimed: Tensor) -> Tensor:
    """Which of the samples ``claimed`` (B,) to be misclassified are so in fp32. 1 fp32 forward of those, or none.

    A model that searches in lower precision (``MixedPrecision``) names its fp32 form ``in_fp32``, and an attack asks it
    before it gives a sample up as broken. What any other model claims is believed.
    """
    exact = in_fp32(model)
    rows = claimed.nonzero().squeeze(1)
    if exact is model or not len(rows):
        return claimed
    return claimed.index_copy(0, rows, misclassified(predict(exact, x[rows]), y[rows]))


def in_fp32(model: Classifier) -> Classifier:
    """The fp32 form of a model that searches in lower precision; any other model itself."""
    exact: Classifier = getattr(model, "in_fp32", model)
    return exact


def rough(model: Classifier) -> Classifier:
    """The form of a model that searches in lower precision which never passes anything again; any other model itself.

    It is for attacks that spend their time at a boundary, or compare rough answers with each other, and have a verdict of
    their own: they ask ``in_fp32`` before they give a sample up as broken.
    """
    form: Classifier = getattr(model, "rough", model)
    return form


def undecided(logits: Tensor) -> Tensor:
    """Whose two highest logits are too close for bf16 to tell which is higher, bool (B,)."""
    highest = logits.topk(2, dim=1).values
    return highest[:, 0] - highest[:, 1] < CLOSE * logits.abs().amax(1)


def refuse_nan(logits: Tensor) -> None:
    """Raise if a model answers NaN or infinity: every robust accuracy computed from it would be a lie."""
    if not torch.isfinite(logits).all():
        raise AttackError("the model returns NaN or infinite logits, so it cannot be attacked or evaluated.")
