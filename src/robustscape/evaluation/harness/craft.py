"""The driver of all attacks outside of training: batches, randomness, checks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robustscape import catalog
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import (
    Classifier,
    device_of,
    frozen_copy,
    input_gradient,
    misclassified,
    predict,
)
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.search import SearchModel
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec
from robustscape.errors import AttackError, UserError, a_type
from robustscape.evaluation.harness import inputs

Progress = Callable[[int, int], None]

#: Samples of a pass on a CPU: the activations of more no longer fit its caches.
BATCH_SIZE = 128

#: Samples of a pass on a GPU, which needs more to be busy.
GPU_BATCH_SIZE = 500

#: Samples and repetitions of the passes that choose a precision.
TRIAL_SAMPLES, TRIALS = 64, 5

#: How many times as fast as fp32 a lower precision must be.
WORTHWHILE = 1.25


@torch.inference_mode(False)  # in which a caller may be, and in which there are no gradients
def craft(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    spec: AttackSpec,
    eps: float | Tensor,
    *,
    seed: int,
    batch_size: int | None = None,
    index: Tensor | None = None,
    precision: str = "fp32",
    progress: Progress | None = None,
) -> Tensor:
    """Return adversarial inputs, shape and device of ``x``.

    The model is attacked as a frozen copy in the mode the specification names, so neither its weights nor its running
    statistics change. Randomness belongs to a sample (its number and ``seed``), so batch size and order change nothing
    beyond float rounding. Every batch is checked: shape, ball, range, finite (contract 8).

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (N, ...); batches are moved to the model's device.
        y: labels (N,); a targeted specification says at which other classes it aims (``AttackSpec.targets``).
        spec: the attack and its protocol.
        eps: perturbation budget, or one per sample (N,); where it is 0 the input is returned; infinite: noise without a ball.
        seed: of the samples' random streams.
        batch_size: samples of a pass; None: ``default_batch_size``. Runs of an attack may share larger passes (``most_rows``).
        index: numbers of the samples, int64 (N,); None: 0 to N - 1.
        precision: of the search: "fp32"; a name of ``attacks/precision/`` (changes results); "auto": the faster one.
        progress: called with (samples done, N) after each batch.

    Raises:
        AttackError: inputs or labels are not as described, the attack returned an illegal batch, or the model NaN.
        ConfigError: a budget or a batch size that is none.
    """
    seed = inputs.check_seed(seed)
    x, y, eps = checked_arrays(x, y, [spec], eps, unlimited=spec.parameters.get("variance") is not None)
    threat = ThreatModel(spec.norm, eps, spec.bounds)
    numbers = torch.arange(len(x)) if index is None else index.cpu()
    attacked = attacked_form(model, x, y, precision, train=spec.model_mode == "train", batch_size=batch_size)
    inputs.expect_labels(attacked, y)
    result = x.clone()
    rows = torch.arange(len(x))
    if isinstance(eps, Tensor):
        rows = rows[eps.cpu() > 0]
    elif eps == 0:
        rows = rows[:0]
    for batch in batches(rows, batch_size or default_batch_size(model, x)):
        found = craft_batch(attacked, x[batch], y[batch], spec, threat.select(batch), seed, numbers[batch])
        result[batch] = found.to(x)
        if progress is not None:
            progress(int(batch[-1]) + 1, len(x))
    return result


def attacked_form(
    model: Classifier, x: Tensor, y: Tensor, precision: str, *, train: bool = False, batch_size: int | None = None
) -> SearchModel:
    """A frozen copy of ``model`` as attacks see it, searched in ``precision`` (``quickest_precision`` of "auto").

    No precision but fp32 is imported before it is asked for, so that none is part of what other results depend on.
    """
    if precision == "auto":
        precision = quickest_precision(model, x, y)
    if batch_size is not None:
        inputs.check_count(batch_size, "batch_size")
    if train and not isinstance(model, nn.Module):
        raise AttackError(
            "the attack is on a model in training mode, and a function has no mode; give the model itself."
        )
    net = frozen_copy(inputs.check_model(model), x, train=train)
    form: SearchModel = SearchModel(net) if precision == "fp32" else catalog.load_function("precision", precision)(net)
    form.batch_size = batch_size or default_batch_size(model, x)
    return form


def quickest_precision(model: Classifier, x: Tensor, y: Tensor) -> str:
    """Return the precision in which a forward pass and an input gradient of a batch are quickest here, measured.

    A lower precision must be ``WORTHWHILE`` times as fast as fp32, since an attack also needs passes in fp32 to confirm what it
    finds. The machine decides, so a result that must be the same everywhere names its precision.
    """
    if not len(x):
        return "fp32"
    device = device_of(model, x)
    batch, labels = x[:TRIAL_SAMPLES].to(device), y[:TRIAL_SAMPLES].to(device)
    forms = {
        name: attacked_form(model, batch, labels, name) for name in ("fp32", *catalog.catalog_entries("precision"))
    }
    seconds = dict.fromkeys(forms, math.inf)
    for trial in range(TRIALS + 1):  # the first warms up
        for name, form in forms.items():
            started = time.perf_counter()
            predict(form.search, batch)
            input_gradient(form.search, batch, labels, cross_entropy)[2].sum().item()  # waits for the device
            if trial:
                seconds[name] = min(seconds[name], time.perf_counter() - started)
    seconds["fp32"] /= WORTHWHILE
    return min(seconds, key=lambda name: seconds[name])


def craft_batch(
    model: SearchModel, x: Tensor, y: Tensor, spec: AttackSpec, threat: ThreatModel, seed: int, numbers: Tensor
) -> Tensor:
    """Return one checked batch of ``craft``, on the model's device; the input itself where eps is 0."""
    device = device_of(model, x)
    x, y = x.to(device), y.to(device)
    generator = SampleGenerator.seeded(seed, numbers, device)
    if isinstance(threat.eps, Tensor):
        eps = threat.eps.to(device)
        threat, moved = replace(threat, eps=eps), eps > 0
        if not moved.all():
            x_adv, index = x.clone(), moved.nonzero().squeeze(1)
            if len(index):
                x_adv[index] = craft_batch(
                    model, x[index], y[index], spec, threat.select(index), seed, numbers[index.to(numbers.device)]
                )
            return x_adv
    elif threat.eps == 0:
        return x.clone()
    given = x.clone()  # what the attack has is not what its points are compared with
    x_adv = _checked_attack(spec)(model, given, y, threat, generator)
    if not torch.equal(given, x):
        raise inputs.changed_in_place(f"the model or attack '{spec.attack}'")
    model.refuse_nan(spec.attack)
    threat.check(x_adv, x)
    return x_adv


def _checked_attack(spec: AttackSpec) -> Callable[..., Tensor]:
    """The attack of ``spec`` with its parameters and targets; what a plug-in does wrong is said with its name."""
    entry = catalog.find_entry("attack", spec.attack)
    attack, own = entry.load(), catalog.PACKAGE in entry.path.parents

    def points(*arguments: Any) -> Tensor:
        try:
            found = attack(*arguments, **spec.parameters)
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # whatever the plug-in's code raises
            if own:
                raise  # a fault of ours, or of the model
            reason = " ".join(str(error).split()) or "no reason given"
            raise AttackError(f"attack '{spec.attack}' fails: {type(error).__name__}: {reason}") from error
        if not isinstance(found, Tensor):
            kind = a_type(found)
            raise AttackError(f"attack '{spec.attack}' returned {kind}, not adversarial inputs (B, ...), a tensor.")
        if not found.is_floating_point():
            raise AttackError(
                f"attack '{spec.attack}' returned {found.dtype}, not floating numbers.".replace("torch.", "")
            )
        return found.detach()

    return points if spec.targets is None else partial(targeted_points, points, rule=spec.targets)


def checked_arrays(
    x: Tensor, y: Tensor, specs: Sequence[AttackSpec], eps: float | Tensor, *, unlimited: bool = False
) -> tuple[Tensor, Tensor, float | Tensor]:
    """Return inputs, labels and budget as attacks of ``specs`` need them; see ``inputs``."""
    x = inputs.check_samples(x, [spec.bounds for spec in specs])
    return x, inputs.check_labels(y, len(x)), inputs.check_eps(eps, len(x), unlimited=unlimited)


def targeted_points(
    attack: Callable[..., Tensor],
    model: SearchModel,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    generator: SampleGenerator,
    rule: Literal["random", "least_likely", "second", "all"],
) -> Tensor:
    """Return the points (B, ...) of a targeted attack that aims at classes other than the labels.

    With "all" it runs for one wrong class after the other, the likeliest first, on the samples that are not yet misclassified: a
    sample keeps the point that broke it, else the last one. Cost: 1 forward pass more, with "all" one for each class.

    Args:
        attack: called with model, inputs, wanted classes, threat model and random streams.
        model: logits (B, C).
        x: inputs (B, ...).
        y: labels (B,).
        threat: the samples' threat model.
        generator: their random streams.
        rule: which classes.
    """
    logits = predict(model, x)
    if rule == "random":
        drawn = generator.fork(0).integers(logits.shape[1] - 1)
        return attack(model, x, drawn + (drawn >= y), threat, generator)
    order = logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)  # the label comes last
    if rule != "all":
        return attack(model, x, order[:, 0 if rule == "second" else -2], threat, generator)
    result, left = x.clone(), torch.arange(len(x), device=x.device)
    for rank in range(logits.shape[1] - 1):
        streams = generator.select(left).fork(rank)
        result[left] = attack(model, x[left], order[left, rank], threat.select(left), streams).detach()
        left = left[~misclassified(model.confirm(result[left]), y[left])]
        if not len(left):
            break
    return result


def correctly_classified(
    model: Classifier, x: Tensor, y: Tensor, *, batch_size: int | None = None, name: str = "the evaluation"
) -> Tensor:
    """The samples classified correctly, bool (N,) on the device of ``x``. The model decides in eval mode."""
    x = inputs.check_samples(x)
    y = inputs.check_labels(y, len(x))
    if batch_size is not None:
        inputs.check_count(batch_size, "batch_size")
    judge = SearchModel(frozen_copy(inputs.check_model(model), x))
    inputs.expect_labels(judge, y)
    device = device_of(judge, x)
    right = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for batch in batches(torch.arange(len(x)), batch_size or default_batch_size(model, x)):
        right[batch] = ~misclassified(judge.confirm(x[batch].to(device)), y[batch].to(device)).to(x.device)
    judge.refuse_nan(name)
    return right


def batches(rows: Tensor, size: int) -> list[Tensor]:
    """``rows`` in pieces of ``size``; none if there are none (``Tensor.split`` would give an empty one)."""
    return list(rows.split(size)) if len(rows) else []


def default_batch_size(model: Classifier, x: Tensor) -> int:
    """Return the samples of a pass that suit the model's device."""
    return GPU_BATCH_SIZE if device_of(model, x).type == "cuda" else BATCH_SIZE
