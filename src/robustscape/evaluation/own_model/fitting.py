"""Whether a model has what the attacks on it need: enough classes, a hierarchy of as many, a normalisation that fits the inputs.

Two samples are passed, and only where the attacks, the labels or the model leave a doubt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustscape import catalog
from robustscape.attacks.base.gradients import Classifier, device_of, frozen_copy
from robustscape.attacks.base.losses import LEAST_CLASSES
from robustscape.attacks.base.search import SearchModel
from robustscape.attacks.base.threat import TOLERANCE
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.config.hierarchy import HIERARCHY
from robustscape.errors import AttackError, ConfigError
from robustscape.evaluation.harness import inputs
from robustscape.evaluation.own_model.notes import Doubt
from robustscape.evaluation.own_model.samples import BYTE_SCALE
from robustscape.models import Normalize

#: Attacks that serve any number of classes from 2 on, and are in every norm.
FOR_FEW_CLASSES = ("apgd_ce", "fab_t", "square5000")


def check_inputs(x: Any, bounds: Iterable[inputs.Bounds]) -> Tensor:
    """Return inputs as a floating tensor (N, ...) outside of any graph, see ``inputs.check_samples``.

    Args:
        x: the inputs.
        bounds: the legal ranges they must lie in; None: no range.

    Raises:
        AttackError: whatever is wrong with them; on another scale than [0, 1] it says 255 only where the values do.
    """
    ranges = list(bounds)
    array = check_array(x)
    if (0.0, 1.0) in ranges and isinstance(array, np.ndarray | Tensor):
        _refuse_small_scale(array)
    return inputs.check_samples(array, ranges)


def _refuse_small_scale(x: Any) -> None:
    """Refuse inputs on a scale that is neither [0, 1] nor [0, 255], such as 0 to 16: divided by 255 they would nearly vanish.

    Raises:
        AttackError: with the largest value.
    """
    tensor = torch.as_tensor(np.ascontiguousarray(x)) if isinstance(x, np.ndarray) else x.detach()
    if tensor.dim() < 2 or not tensor.numel() or not (tensor.is_floating_point() or tensor.dtype == torch.uint8):
        return
    low, high = (value.item() for value in torch.aminmax(tensor))
    whole = tensor.dtype == torch.uint8
    if not (low >= 0 and (whole or high > 1.5) and high <= BYTE_SCALE):  # NaN and infinity are refused by their names
        return
    what = (
        f"must be floating numbers, got uint8 from {low:g} to {high:g}" if whole else f"go from {low:.4g} to {high:.4g}"
    )
    raise AttackError(
        f"the inputs {what}, but the range is [0, 1]; rescale to [0, 1]: divide by the largest value that they can have, not by "
        f"255 if that is {high:.4g}."
    )


def refuse_masked(what: str, value: Any) -> None:
    """Refuse a masked array of NumPy: PyTorch would take the values under the mask for valid ones.

    Args:
        what: what it is, in the plural, such as "inputs".
        value: anything.

    Raises:
        AttackError: also where nothing is masked, as a mask has no meaning here.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise AttackError(
            f"the {what} are a masked array, {np.ma.count_masked(value)} of whose {value.size} values are masked; leave these "
            f"samples out, or fill them, and give the array: {what}.filled(...) or {what}.data."
        )


def check_array(x: Any) -> Any:
    """Return inputs that PyTorch can take; what is no array or tensor is returned as it is: ``inputs.check_samples`` refuses it.

    Raises:
        AttackError: an array of other things than numbers, a masked one, or a tensor that is sparse or without values.
    """
    refuse_masked("inputs", x)
    if isinstance(x, np.ndarray):
        if x.dtype.kind not in "fiub" or x.dtype.itemsize > 8:
            raise AttackError(f"the inputs must be floating numbers of at most 64 bits, got {x.dtype}.")
        return x.astype(x.dtype.newbyteorder("="), copy=False)
    if isinstance(x, Tensor) and (x.is_meta or x.layout != torch.strided):
        what = "is on the meta device, without values" if x.is_meta else "is sparse"
        raise AttackError(f"the inputs must be an ordinary tensor (N, ...), the one given {what}.")
    return x


def check_precision(precision: Any) -> None:
    """Refuse the precision of a search that there is not.

    Raises:
        ConfigError: with those that there are.
    """
    allowed = ["fp32", *catalog.catalog_entries("precision"), "auto"]
    if not isinstance(precision, str) or precision not in allowed:
        raise ConfigError(f"precision got {precision!r}, allowed is {', '.join(allowed)}.")


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
    specs = [spec for _, spec in suite.attacks]
    needed = max(map(_least_classes, specs), default=2)
    few = not len(y) or int(y.max()) + 1 < needed  # else the labels show that there are enough
    normalised = isinstance(model, nn.Module) and any(isinstance(part, Normalize) for part in model.modules())
    if not len(x) or not (few or normalised or any(HIERARCHY in spec.parameters for spec in specs)):
        return
    copy = frozen_copy(model, x)
    if normalised:
        check_normalisations(copy, x)
    classes = inputs.count_classes(SearchModel(copy), x, y, [])
    check_hierarchies(specs, classes)
    if classes < needed:
        _refuse_few_classes(suite, classes)


class ProtocolWarning(UserWarning):
    """An attack runs as it was asked to, and may be weaker than its name says."""


def note_short_steps(attacks: Iterable[tuple[str, AttackSpec]], budgets: Iterable[float | Tensor]) -> list[str]:
    """Return a doubt for each attack whose steps together are shorter than the largest budget: it cannot come to its end.

    Only a ``step_size``, a length, can be too short for a budget that its protocol was not made for; ``rel_step_size`` is a
    share.
    """
    largest = max((float(torch.as_tensor(eps).max()) for eps in budgets if torch.as_tensor(eps).numel()), default=0.0)
    notes: list[str] = []
    for name, spec in attacks:
        step, steps = spec.parameters.get("step_size"), spec.parameters.get("steps")
        if step is not None and steps is not None and steps * step < largest * (1 - TOLERANCE):
            notes.append(
                Doubt(
                    f"'{name}' takes {steps} steps of {step:.4g}, {steps * step:.4g} in all, and cannot use a budget of "
                    f"{largest:.4g}: robust accuracy is too high; use a protocol with rel_step_size, or another step_size"
                )
            )
    return notes


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


def fault_of_constant(word: str, value: float) -> str | None:
    """Return why a number cannot be a "mean" or a "std" of inputs in [0, 1]: the end of a sentence; None: it can.

    >>> fault_of_constant("mean", 123.7)
    ', but inputs are in [0, 1]; if it is of pixels in [0, 255], divide by 255'
    """
    if not math.isfinite(value) or (word == "std" and value <= 0):
        return f", allowed is a finite number{' above 0' if word == 'std' else ''}"
    return ", but inputs are in [0, 1]; if it is of pixels in [0, 255], divide by 255" if value > 1 else None


def check_normalisations(model: Classifier, x: Tensor) -> None:
    """Pass samples through a frozen copy, and look at what each ``Normalize`` is given: another number of channels broadcasts.

    Args:
        model: a frozen copy.
        x: checked inputs (N, ...), N > 0.

    Raises:
        ConfigError: one is made for other shapes, or its numbers cannot be those of inputs in [0, 1], which it is given.
    """
    parts = [part for part in model.modules() if isinstance(part, Normalize)] if isinstance(model, nn.Module) else []
    if not parts:
        return
    faults: list[str] = []

    def look(part: nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(part, Normalize) and given and isinstance(given[0], Tensor):
            fault = _fault_of_shape(part, given[0]) or _fault_of_numbers(part, given[0])
            if fault:
                faults.append(fault)
                raise ConfigError(f"Normalize in the model {fault}.")

    hooks = [part.register_forward_pre_hook(look) for part in parts]
    try:
        with torch.no_grad():
            model(x[: inputs.TEST_SAMPLES].to(device_of(model, x), copy=True))
    except Exception:  # whatever the model's code raises ``count_classes`` says in words
        if faults:
            raise ConfigError(f"Normalize in the model {faults[0]}.") from None
    finally:
        for hook in hooks:
            hook.remove()


def _fault_of_shape(part: Normalize, given: Tensor) -> str | None:
    """Why ``part`` is not for inputs of the shape of ``given``; None: it is."""
    shape, channels, dims = tuple(given.shape), part.mean.shape[0], part.mean.dim() - 1
    if len(shape) < 2 or len(shape) != dims + 2:
        right = f"; dims={len(shape) - 2} is right for these" if len(shape) >= 2 else ""
        return f"is given inputs of shape {shape}, and is made for {dims} dimensions after the channel{right}"
    if channels not in (1, shape[1]):
        return f"is given inputs of shape {shape}, and has {channels} channels, but these have {shape[1]}"
    return None


def _fault_of_numbers(part: Normalize, given: Tensor) -> str | None:
    """Why the numbers of ``part`` cannot be those of ``given``; None: they can, or it is given other values than [0, 1]."""
    if not bool(((given >= -TOLERANCE) & (given <= 1 + TOLERANCE)).all()):
        return None
    for word, values in (("mean", part.mean), ("std", part.std)):
        for value in values.flatten().tolist():
            if fault := fault_of_constant(word, value):
                return f"has a {word} of {value:g}{fault}"
    return None
