"""Gradients with respect to inputs only: none are computed for parameters.

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
from robustscape.models import copy_model

Classifier = Callable[[Tensor], Tensor]

#: Samples whose logits show whether a layout changes what the model computes.
LAYOUT_SAMPLES = 2

#: What layers do whose weights autocast rounds.
ROUNDED = {layer.forward for layer in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)}

#: Share of the largest logit by which rounding may change logits.
SAME = 1e-4


@contextmanager
def frozen(model: Classifier, *, train: bool = False) -> Iterator[None]:
    """Within the block the parameters take no gradients and the model is in eval mode (``train=True``: train mode).

    Modes and flags are put back afterwards, per module. Anything that is not an ``nn.Module`` is left alone. Under autocast the
    weights of convolutions and linear layers are rounded once for the block: autocast itself keeps what it rounded only of
    weights that take gradients, and would round these in every pass.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    parameters = [p for p in model.parameters() if p.requires_grad]
    modes = [(module, module.training) for module in model.modules()]
    restore = _round_once(model) if any(map(_under_autocast, parameters)) else lambda: None
    try:
        model.train(train)
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        restore()
        for parameter in parameters:
            parameter.requires_grad_(True)
        for module, training in modes:
            module.training = training


def _under_autocast(tensor: Tensor) -> bool:
    device = tensor.device.type
    return torch.amp.autocast_mode.is_autocast_available(device) and torch.is_autocast_enabled(device)


def _round_once(model: nn.Module) -> Callable[[], None]:
    """Have layers keep what autocast would round in each of their calls, the same bits; return what gives their weights back.

    A call with autocast switched off gets the exact weights. Layers with a forward of their own, or with something that happens
    before it, such as weight normalisation, are left alone: what they do with their weights is not known.
    """
    exact: dict[nn.Parameter, Tensor] = {}
    rounded: dict[nn.Parameter, Tensor] = {}

    def choose(layer: nn.Module, _: object) -> None:
        for parameter in layer.parameters(recurse=False):
            if _under_autocast(parameter) and (parameter in exact or parameter.dtype == torch.float32):
                if parameter not in exact:
                    exact[parameter] = parameter.data
                    rounded[parameter] = parameter.data.to(torch.get_autocast_dtype(parameter.device.type))
                parameter.data = rounded[parameter]
            elif parameter in exact:
                parameter.data = exact[parameter]

    plain = [layer for layer in model.modules() if type(layer).forward in ROUNDED and not layer._forward_pre_hooks]
    hooks = [layer.register_forward_pre_hook(choose) for layer in plain]

    def restore() -> None:
        for hook in hooks:
            hook.remove()
        for parameter, weights in exact.items():
            parameter.data = weights

    return restore


def frozen_copy(model: Classifier, x: Tensor, *, train: bool = False) -> Classifier:
    """A copy of ``model`` for attacks, frozen for good, so that nothing an attack does can reach the original.

    On a CPU convolutions run in channels-last layout: oneDNN otherwise reorders its inputs and outputs at every layer
    (docs/explanation/performance.md has the gain). Results change by float rounding only; where the model's code depends on the
    layout (``x.view(len(x), -1)``, a change in place of ``x.contiguous()``) it stays. A function is returned as it is.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (N, ...); the logits of the first ones, in both layouts, decide.
        train: batch normalisation uses the batch's statistics; the running ones it updates are the copy's.
    """
    if not isinstance(model, nn.Module):
        return model
    try:
        model = copy_model(model).eval()
        for (
            parameter
        ) in model.parameters():  # modules of TorchScript refuse requires_grad_ as a whole, copies are no leaves
            parameter.detach_().requires_grad_(False)
    except Exception as error:  # whatever the parts of the model do when they are copied
        raise AttackError(
            f"the model cannot be copied ({type(error).__name__}: {error}); given as a function, lambda x: model(x), it is "
            "attacked as it is."
        ) from error
    if device_of(model, x).type == "cpu":
        _choose_layout(model, x[:LAYOUT_SAMPLES])
    return model.train(train)


def _choose_layout(model: nn.Module, x: Tensor) -> None:
    """Put convolutions into channels-last layout if the model's logits of ``x`` stay the same."""
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        return
    before = _tried_logits(model, x)
    for module in convolutions:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    after = _tried_logits(model, x)
    if before is None or after is None or not (after - before).abs().amax() <= SAME * before.abs().amax():
        for module in convolutions:
            module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _tried_logits(model: nn.Module, x: Tensor) -> Tensor | None:
    """The model's answer; None where it fails or is no logits, which those who ask in earnest will say."""
    try:
        with torch.no_grad(), torch.random.fork_rng([]):  # it may draw random numbers
            answer = model(x.clone())
    except Exception:
        return None
    return answer if isinstance(answer, Tensor) and answer.numel() else None


def device_of(model: Classifier, x: Tensor) -> torch.device:
    """Return the device of the model's parameters; that of ``x`` if it has none."""
    parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return x.device if parameter is None else parameter.device


def input_gradient(model: Classifier, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (B, C), per-sample losses (B,), and d loss / d x (B, ...), all detached. 1 forward, 1 input backward."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(x)
        losses = loss(logits, y)
        (gradient,) = torch.autograd.grad(losses, x, torch.ones_like(losses))
    return logits.detach(), losses.detach(), gradient


def predict(model: Classifier, x: Tensor) -> Tensor:
    """Logits (B, C), outside of any autograd graph. 1 forward.

    Not in inference mode: a model may keep a tensor that it makes now, such as a mask for the size of the batch, and a later pass
    with gradients may use it.
    """
    with torch.no_grad():
        logits = model(x)
    return logits.clone()  # a model may answer with a tensor that it writes to in the next pass


def misclassified(logits: Tensor, y: Tensor) -> Tensor:
    """The samples whose highest logit is not their label's, bool (B,)."""
    return logits.argmax(1) != y
