"""The gate through which all inputs of an evaluation come: samples, labels, budgets and models are checked and converted here.

Each fault has a sentence that names its party: the samples, the labels, the budget or the model, before any attack has run.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robustscape.attacks.base.gradients import Classifier, device_of
from robustscape.attacks.base.losses import LEAST_CLASSES, require_classes
from robustscape.attacks.base.search import SearchModel, fault_of_logits
from robustscape.attacks.base.threat import TOLERANCE
from robustscape.config.attacks import AttackSpec
from robustscape.errors import AttackError, ConfigError
from robustscape.evaluation.harness import modes
from robustscape.numbers import parse_number

Bounds = tuple[float, float] | None

#: Samples of the pass that tests a model.
TEST_SAMPLES = 2


def check_samples(x: Any, bounds: Iterable[Bounds] = ()) -> Tensor:
    """Return inputs as a floating tensor (N, ...) outside of any graph; NumPy arrays are accepted. One look at the data.

    Args:
        x: the inputs.
        bounds: the legal ranges they must lie in, up to rounding (``TOLERANCE``); None: no range.

    Raises:
        AttackError: no tensor or array, integers, fewer than two dimensions, NaN, infinite, or out of range.
    """
    if isinstance(x, np.ndarray):
        x = torch.from_numpy(np.ascontiguousarray(x))
    if not isinstance(x, Tensor):
        raise AttackError(f"the inputs must be a tensor or a NumPy array (N, ...), got a {type(x).__name__}.")
    if x.dim() < 2:
        raise AttackError(
            f"the inputs must have a dimension for the samples and one or more for a sample, got {_shape(x)}."
        )
    if not x.is_floating_point():
        hint = ": divide by 255" if x.dtype == torch.uint8 else ""
        raise AttackError(f"the inputs must be floating numbers, got {_dtype(x)}{hint}.")
    if x.numel():
        low, high = (value.item() for value in torch.aminmax(x.detach()))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise AttackError("the inputs contain NaN or infinity.")
        for limits in bounds:
            if limits is not None:
                _check_range(low, high, limits)
    return _ordinary(x)


def check_labels(y: Any, samples: int) -> Tensor:
    """Return labels as int64 (N,); any integers, NumPy arrays and lists are accepted.

    Raises:
        AttackError: not integers, another number than ``samples``, not one per sample, or negative.
    """
    if not isinstance(y, Tensor):
        try:
            y = torch.as_tensor(np.ascontiguousarray(y))
        except (TypeError, ValueError, RuntimeError):
            raise AttackError(f"the labels must be integers (N,), got a {type(y).__name__}.") from None
    if y.dim() == 2:
        hint = "; for one-hot rows give y.argmax(1)" if y.shape[1] > 1 else "; give y[:, 0]"
        raise AttackError(f"the labels must be integers (N,), one per sample, got {_shape(y)}{hint}.")
    if y.dim() != 1 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise AttackError(f"the labels must be integers (N,), got {_dtype(y)} of {_shape(y)}.")
    if len(y) != samples:
        raise AttackError(f"there are {samples} inputs and {len(y)} labels; give one label per input.")
    y = _ordinary(y.long())
    if len(y) and (lowest := int(y.min())) < 0:
        raise AttackError(f"the labels must be class numbers from 0 on, got {lowest}.")
    return y


def check_eps(eps: Any, samples: int, *, unlimited: bool = False) -> float | Tensor:
    """Return a budget as a number, or as one per sample (N,); ``"8/255"`` and NumPy numbers are accepted.

    Args:
        eps: the budget, 0 or above.
        samples: N.
        unlimited: whether it may be infinite, as for noise without a ball.

    Raises:
        ConfigError: no number, NaN, negative, infinite, or not one per sample.
    """
    if isinstance(eps, np.ndarray) and eps.ndim:
        eps = torch.from_numpy(eps)
    if isinstance(eps, Tensor):
        eps = _ordinary(eps)
    if isinstance(eps, Tensor) and eps.dim():
        if tuple(eps.shape) != (samples,) or eps.dtype == torch.bool or eps.is_complex():
            raise ConfigError(
                f"eps must be a number, or a tensor with one for each of the {samples} samples; got {_dtype(eps)}, {_shape(eps)}."
            )
        eps = eps if eps.is_floating_point() else eps.float()
        low, high = (eps.min().item(), eps.max().item()) if samples else (0.0, 0.0)
        _check_budget(low, unlimited)
        _check_budget(high, unlimited)
        return eps
    try:
        if isinstance(eps, bool | np.bool_):
            raise TypeError("Python takes True for 1")
        value = float(parse_number(eps))
    except (TypeError, ValueError):
        raise ConfigError(f"eps got {eps!r}, allowed is a number such as 8/255 or 0.1.") from None
    _check_budget(value, unlimited)
    return value


def check_budget_fits(eps: float | Tensor, specs: Iterable[AttackSpec], dimensions: int) -> None:
    """Refuse a budget larger than the whole range of inputs, such as 8 for 8/255.

    Args:
        eps: a checked budget.
        specs: the attacks, with their norms and legal ranges.
        dimensions: numbers in an input.

    Raises:
        ConfigError: with the budget that may have been meant.
    """
    largest = (
        float(eps.max()) if isinstance(eps, Tensor) and len(eps) else float(eps) if not isinstance(eps, Tensor) else 0.0
    )
    for spec in specs:
        if spec.bounds is None:
            continue
        width = spec.bounds[1] - spec.bounds[0]
        diameter = width * {"Linf": 1.0, "L2": dimensions**0.5, "L1": float(dimensions)}[spec.norm]
        if largest > diameter * (1 + TOLERANCE):
            hint = f" Did you mean {largest:g}/255?" if width == 1 and spec.norm == "Linf" and largest <= 255 else ""
            low, high = spec.bounds
            raise ConfigError(
                f"eps got {largest:g}, which in {spec.norm} is more than the whole range of inputs, [{low:g}, {high:g}].{hint}"
            )


def check_count(value: Any, name: str) -> int:
    """Return a number of samples, or of samples in a pass.

    Raises:
        ConfigError: it is not an integer of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ConfigError(f"{name} got {value!r}, allowed is an integer of at least 1.")
    return int(value)


def check_seed(seed: Any) -> int:
    """Return a seed as Python's integer; NumPy's are accepted.

    Raises:
        ConfigError: it is not an integer.
    """
    try:
        return operator.index(seed)
    except TypeError:
        raise ConfigError(f"seed got {seed!r}, allowed is an integer.") from None


def check_model(model: Any) -> Classifier:
    """Return ``model`` if it can be called as a classifier.

    Raises:
        AttackError: it is no model, such as a class, a state dict or a path, or its weights have no values.
    """
    if isinstance(model, type):
        raise AttackError(f"the model must be an instance, got the class {model.__name__}: call it first.")
    if not callable(model):
        what = "a state dict: load it into a module" if isinstance(model, dict) else f"a {type(model).__name__}"
        raise AttackError(f"the model must be a function from inputs (B, ...) to logits (B, C), got {what}.")
    if isinstance(model, nn.Module) and any(p.is_meta for p in model.parameters() if not is_lazy(p)):
        raise AttackError("the model is on the meta device, where its weights have no values; load them first.")
    classifier: Classifier = model
    return classifier


def count_classes(judge: SearchModel, x: Tensor, y: Tensor, specs: Iterable[AttackSpec]) -> int:
    """Return the number of classes that one pass of the first samples shows; everything is refused here that would fail later.

    Args:
        judge: the model in eval mode.
        x: checked inputs (N, ...), N > 0.
        y: checked labels (N,).
        specs: the attacks to come.

    Raises:
        AttackError: the model fails, changes its input, calls what is not its own in training mode, or returns no logits; a
            label is no class of it; a loss is not defined for so few classes.
    """
    sample = x[:TEST_SAMPLES].to(device_of(judge, x), copy=True)
    given = sample.clone()
    with modes.foreign_parts_in_eval(judge.model) as parts:
        answer = _tried(judge.model, sample)
    modes.refuse_training_parts(judge.model, given, parts)
    _tried(judge.model, sample[:1].clone())  # a batch may end with a single sample
    if fault := fault_of_logits(answer, len(sample)):
        raise AttackError(f"the model must return logits, a floating tensor (B, C); {fault}.")
    if not torch.equal(sample, given):
        raise changed_in_place("the model")
    if not torch.isfinite(answer).all():
        raise AttackError(
            "the model returns NaN or infinite logits on clean inputs, so it cannot be attacked or evaluated."
        )
    classes = int(answer.shape[1])
    if classes < 2:
        raise AttackError("the model returns logits of 1 class; there is nothing to attack.")
    highest = int(y.max())
    if highest >= classes:
        counted = " Are they counted from 1?" if highest == classes and int(y.min()) > 0 else ""
        raise AttackError(
            f"the labels reach {highest}, but the model has {classes} classes, 0 to {classes - 1}.{counted}"
        )
    for spec in specs:
        loss = spec.parameters.get("loss")
        if loss in LEAST_CLASSES:
            require_classes(loss, classes)
    return classes


def _ordinary(x: Tensor) -> Tensor:
    """``x`` without a graph; a copy if it was made in inference mode, since such a tensor has no gradient."""
    if not x.is_inference():
        return x.detach()
    with torch.inference_mode(False):
        return x.clone()


def changed_in_place(who: str) -> AttackError:
    """The error of ``who`` changes what it is given."""
    return AttackError(
        f"{who} changes its input in place, and so the samples that are evaluated; have it work on a copy."
    )


def expect_labels(judge: SearchModel, y: Tensor) -> None:
    """Have ``judge`` refuse logits of fewer classes than the checked labels ``y`` (N,) speak of."""
    if len(y):
        highest = int(y.max())
        judge.expect_classes(highest + 1, f"the labels reach {highest}")


def _tried(model: Classifier, sample: Tensor) -> Any:
    """The model's answer, whatever it is."""
    try:
        with torch.no_grad():
            return model(sample)
    except Exception as error:  # whatever the model's code raises
        reason = " ".join(str(error).split()) or "no reason given"
        if "Half" in reason or "BFloat16" in reason:
            reason += (
                ". Inputs stay in float32; use model.float(), or cast inside a function: lambda x: model(x.half())"
            )
        raise AttackError(
            f"the model fails on inputs of shape {tuple(sample.shape)}, {_dtype(sample)}: {type(error).__name__}: {reason}"
        ) from error


def _check_range(low: float, high: float, bounds: tuple[float, float]) -> None:
    least, most = bounds
    if least - TOLERANCE <= low and high <= most + TOLERANCE:
        return
    hint = ""
    if bounds == (0.0, 1.0):
        if low < 0:
            hint = (
                "; if they are normalised, put the normalisation into the model, so that eps is in units of the image"
            )
        elif 1.5 < high <= 255:
            hint = "; they are in [0, 255]: divide by 255"
    raise AttackError(f"the inputs go from {low:.4g} to {high:.4g}, but the range is [{least:g}, {most:g}]{hint}.")


def _check_budget(value: float, unlimited: bool) -> None:
    if math.isnan(value) or value < 0 or (math.isinf(value) and not unlimited):
        raise ConfigError(f"eps got {value:g}, allowed is a finite number of at least 0, such as 8/255.")


def _shape(x: Tensor) -> str:
    return f"shape {tuple(x.shape)}"


def _dtype(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")
