"""Dead ReLU layers and constant classifiers (liu2020 section 3, gradient analysis).

A layer is dead when no unit's pre-activation is above 0 for any instance. Its output is 0, so the logits are the same for
every input, the gradients of all layers before it are exactly 0, attacks do not move, and the test error is that of always
predicting the same class: 88.65 % on MNIST if that is "1".

Cost: one attack, two forward passes and one backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robustscape import devices
from robustscape.attacks.base.gradients import input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns
from robustscape.landscape import hessian
from robustscape.landscape.directions import direction_norm
from robustscape.landscape.mean_loss import mean_loss_gradient
from robustscape.landscape.surface import BATCH

#: Logits closer than this for all inputs are a constant.
CONSTANT = 1e-6


class _Watch(TorchFunctionMode):
    """Calls ``see(number, input)`` for every ReLU, module or function, in the order in which they are computed."""

    def __init__(self, see: Callable[[int, Tensor], None]) -> None:
        super().__init__()
        self.see, self.number = see, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (F.relu, torch.relu, Tensor.relu, F.relu_, torch.relu_):
            self.see(self.number, args[0])
            self.number += 1
        with torch._C.DisableTorchFunction():
            return func(*args, **(kwargs or {}))


@contextmanager
def _watched(see: Callable[[int, Tensor], None]) -> Iterator[_Watch]:
    with _Watch(see) as watch:
        yield watch


@devices.exact_fp32()
def largest_preactivations(model: nn.Module, x: Tensor, batch_size: int = BATCH) -> list[Tensor]:
    """Return the largest pre-activation of each channel (C,) over inputs (N, ...), per ReLU in the order of the forward pass.

    A channel is dead if its value is at most 0, a layer if all its channels are.
    """
    found: list[Tensor] = []

    def see(number: int, before: Tensor) -> None:
        highest = before.flatten(2).amax((0, 2)) if before.dim() > 2 else before.amax(0)
        if number == len(found):
            found.append(highest)
        else:
            found[number] = torch.maximum(found[number], highest)

    with torch.no_grad():
        for part in x.split(batch_size):
            with _watched(see):
                model(part)
    return found


@devices.exact_fp32()
def dead_layers(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return rows about dead layers, over attacked training inputs, and about the predictions on clean test inputs.

    dead_layers (number of ReLU layers), has_dead_layer (1 if there is one), dead_units (percent of all channels and units),
    zero_gradients (percent of training inputs whose gradient is exactly 0, from which an attack does not move), logit_spread
    (largest difference of a logit between two test inputs), constant_classifier (1 if that is below 1e-6), one_answer (percent of
    test inputs with the most frequent prediction), constant_error (percent: the error of always predicting that class), and
    gradient_before_dead (norm of the gradient of the parameters before the last dead layer; no row if none is dead).

    Args:
        run: the trained model and its data.
        attack: how the training inputs are attacked.
        eps: perturbation budget; "run" for the run's own.
        samples: first samples of each split; None for all.
    """
    attack_eps = run.attack_eps(eps)
    x, y = run.subset("train", samples)
    attacked = x if attack_eps == 0 else craft(run.model, x, y, attack, attack_eps, seed=run.seed)
    highest = largest_preactivations(run.model, attacked)
    dead = [layer for layer, values in enumerate(highest) if (values <= 0).all()]
    units = torch.cat(highest)
    has_zero_gradient = torch.cat(
        [
            input_gradient(run.model, part, labels, cross_entropy)[2].flatten(1).abs().amax(1) == 0
            for part, labels in zip(attacked.split(BATCH), y.split(BATCH), strict=True)
        ]
    )
    inputs, labels = run.subset("test", samples)
    with torch.no_grad():
        logits = torch.cat([run.model(part) for part in inputs.split(BATCH)])
    spread = (logits.amax(0) - logits.amin(0)).max().item()
    answers = logits.argmax(1).bincount(minlength=run.num_classes)
    most_frequent = int(answers.argmax())
    values = [
        ("dead_layers", float(len(dead)), "1"),
        ("has_dead_layer", float(bool(dead)), "1"),
        ("dead_units", percent_true(units <= 0), "percent"),
        ("zero_gradients", percent_true(has_zero_gradient), "percent"),
        ("logit_spread", spread, "1"),
        ("constant_classifier", float(spread < CONSTANT), "1"),
        ("one_answer", 100.0 * answers[most_frequent].item() / len(labels), "percent"),
        ("constant_error", percent_true(labels != most_frequent), "percent"),
    ]
    if dead:
        values.append(("gradient_before_dead", _gradient_norm_before(run.model, attacked, y, dead[-1]), "1"))
    shared = {
        **protocol_columns(attack, attack_eps, "train", len(y)),
        "relu_layers": len(highest),
        "answer": most_frequent,
    }
    return [shared | {"metric": metric, "value": value, "unit": unit} for metric, value, unit in values]


def _gradient_norm_before(model: nn.Module, x: Tensor, y: Tensor, layer: int) -> float:
    """The norm of the mean loss's gradient with respect to the parameters that are used before ReLU number ``layer``."""
    used: set[int] = set()
    reached = False

    def see(number: int, before: Tensor) -> None:
        nonlocal reached
        reached = reached or number >= layer

    def note(module: nn.Module, _: Any) -> None:
        if not reached:
            used.update(id(parameter) for parameter in module.parameters(recurse=False))

    handles = [module.register_forward_pre_hook(note) for module in model.modules()]
    with torch.no_grad(), _watched(see):
        model(x[:1])
    for handle in handles:
        handle.remove()
    gradient = mean_loss_gradient(model, x, y, batch_size=hessian.BATCH)
    before = {name: gradient[name] for name, parameter in model.named_parameters() if id(parameter) in used}
    return direction_norm(before).item() if before else 0.0
