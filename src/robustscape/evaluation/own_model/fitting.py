"""Whether a model has what the attacks on it need: enough classes, a hierarchy of as many, a normalisation that fits the inputs.

Two samples are passed, and only where the attacks, the labels or the model leave a doubt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robustscape.attacks.base.gradients import Classifier, device_of, frozen_copy
from robustscape.attacks.base.losses import LEAST_CLASSES
from robustscape.attacks.base.search import SearchModel
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.config.hierarchy import HIERARCHY
from robustscape.errors import ConfigError
from robustscape.evaluation.harness import inputs
from robustscape.models import Normalize

#: Attacks that serve any number of classes from 2 on, and are in every norm.
FOR_FEW_CLASSES = ("apgd_ce", "fab_t", "square5000")


def check_fit(model: Classifier, x: Tensor, y: Tensor, suite: Suite) -> None:
    """Refuse a model that the attacks of a suite do not fit, before any of them runs.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: checked inputs (N, ...), on any device.
        y: checked labels (N,).
        suite: the attacks.

    Raises:
        AttackError: the model fails, see ``inputs.count_classes``.
        ConfigError: a loss needs more classes than the model has, with the attacks that do not; a hierarchy is of other classes;
            a ``Normalize`` of the model does not fit what it is given.
    """
    check_normalisations(model)
    specs = [spec for _, spec in suite.attacks]
    needed = max(map(_least_classes, specs), default=2)
    few = not len(y) or int(y.max()) + 1 < needed  # else the labels show that there are enough
    normalised = isinstance(model, nn.Module) and any(isinstance(part, Normalize) for part in model.modules())
    if not len(x) or not (few or normalised or any(HIERARCHY in spec.parameters for spec in specs)):
        return
    copy = frozen_copy(model, x)
    if normalised:
        check_shapes(copy, x)
    classes = inputs.count_classes(SearchModel(copy), x, y, [])
    check_hierarchies(specs, classes)
    if classes < needed:
        _refuse_few_classes(suite, classes)


def check_hierarchies(specs: Sequence[AttackSpec], classes: int) -> None:
    """Refuse a hierarchy of more or fewer classes than the model has.

    Raises:
        ConfigError: with both numbers.
    """
    for spec in specs:
        hierarchy = spec.parameters.get(HIERARCHY)
        if hierarchy is not None and len(hierarchy) != classes:
            raise ConfigError(
                f"superclass has {len(hierarchy)} entries, but the model has {classes} classes; give the superclass of each."
            )


def _least_classes(spec: AttackSpec) -> int:
    """The fewest classes for which an attack's loss is defined."""
    return LEAST_CLASSES.get(str(spec.parameters.get("loss")), 2)


def _refuse_few_classes(suite: Suite, classes: int) -> None:
    """Name the attacks that need more classes, and those to use instead.

    Raises:
        ConfigError: always.
    """
    wrong = [(name, spec) for name, spec in suite.attacks if _least_classes(spec) > classes]
    reasons = ", ".join(
        f"'{name}' (loss '{spec.parameters['loss']}', at least {_least_classes(spec)})" for name, spec in wrong
    )
    instead = [name for name, spec in suite.attacks if _least_classes(spec) <= classes]
    if not instead:
        instead = [f"{name}_l1" if wrong[0][1].norm == "L1" else name for name in FOR_FEW_CLASSES]
    raise ConfigError(
        f"suite '{suite.name}' has attacks that need more classes than the model's {classes}: {reasons}. Without them it is "
        f"suite={instead!r}, in the shell --suite {' '.join(instead)}."
    )


def check_normalisations(model: Any) -> None:
    """Refuse a ``Normalize`` in ``model`` whose numbers cannot be those of inputs in [0, 1].

    Raises:
        ConfigError: a mean or a standard deviation is not finite, above 1, or not above 0.
    """
    for part in model.modules() if isinstance(model, nn.Module) else ():
        if isinstance(part, Normalize):
            for word, values in (("mean", part.mean), ("std", part.std)):
                for value in values.flatten().tolist():
                    if fault := fault_of_constant(word, value):
                        raise ConfigError(f"Normalize in the model has a {word} of {value:g}{fault}.")


def fault_of_constant(word: str, value: float) -> str | None:
    """Return why a number cannot be a "mean" or a "std" of inputs in [0, 1]: the end of a sentence; None: it can.

    >>> fault_of_constant("mean", 123.7)
    ', but inputs are in [0, 1]; if it is of pixels in [0, 255], divide by 255'
    """
    if not math.isfinite(value) or (word == "std" and value <= 0):
        return f", allowed is a finite number{' above 0' if word == 'std' else ''}"
    return ", but inputs are in [0, 1]; if it is of pixels in [0, 255], divide by 255" if value > 1 else None


def check_shapes(model: Classifier, x: Tensor) -> None:
    """Pass samples through a frozen copy, and look at what each ``Normalize`` is given: another number of channels broadcasts.

    Args:
        model: a frozen copy.
        x: checked inputs (N, ...), N > 0.

    Raises:
        ConfigError: with both shapes.
    """
    parts = [part for part in model.modules() if isinstance(part, Normalize)] if isinstance(model, nn.Module) else []
    if not parts:
        return
    faults: list[str] = []

    def look(part: nn.Module, given: tuple[Any, ...]) -> None:
        if not isinstance(part, Normalize) or not given or not isinstance(given[0], Tensor):
            return
        shape, channels, dims = tuple(given[0].shape), part.mean.shape[0], part.mean.dim() - 1
        if len(shape) != dims + 2:
            faults.append(f"is made for {dims} dimensions after the channel; dims={len(shape) - 2} is right for these")
        elif channels not in (1, shape[1]):
            faults.append(f"has {channels} channels, but these have {shape[1]}")
        if faults:
            raise ConfigError(f"Normalize in the model is given inputs of shape {shape}, and {faults[0]}.")

    hooks = [part.register_forward_pre_hook(look) for part in parts]
    try:
        with torch.no_grad():
            model(x[: inputs.TEST_SAMPLES].to(device_of(model, x), copy=True))
    except ConfigError:
        if faults:
            raise
    except Exception:  # noqa: S110  (whatever the model's code raises: ``count_classes`` says it in words)
        pass
    finally:
        for hook in hooks:
            hook.remove()
