"""``robustscape.evaluate`` and ``robustscape.attack``: the robust accuracy of a model, and adversarial examples, in one call."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustscape import devices
from robustscape.attacks.base.gradients import frozen_copy
from robustscape.attacks.base.search import SearchModel
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.config.hierarchy import check_hierarchy, check_taken, hierarchy_for
from robustscape.config.shipped import Norm, find_attack, find_suite
from robustscape.errors import ConfigError
from robustscape.evaluation.harness import inputs
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.harness.suite import Known, SuiteProgress, run_suite
from robustscape.evaluation.own_model.fitting import (
    ProtocolWarning,
    check_fit,
    check_hierarchies,
    check_inputs,
    check_normalisations,
    check_precision,
    note_short_steps,
    refuse_masked,
)
from robustscape.evaluation.own_model.result import Evaluation, EvaluationSeries, describe_protocol
from robustscape.numbers import number_label, pretty_number
from robustscape.storage.checkpoints import content_hash

Array = Tensor | NDArray[Any]
Model = Callable[[Tensor], Tensor]

#: The stage of a larger budget at which the points found within smaller ones are checked.
SMALLER = "smaller eps"


@overload
def evaluate(
    model: Model,
    x: Array,
    y: Array,
    *,
    eps: float | str | Tensor | None = ...,
    suite: str | Suite | AttackSpec | Sequence[str] = ...,
    norm: Norm | None = ...,
    seed: int = ...,
    batch_size: int | None = ...,
    precision: str = ...,
    superclass: Sequence[int] | Array | None = ...,
    state: str | Path | None = ...,
    progress: bool | SuiteProgress = ...,
) -> Evaluation: ...


@overload
def evaluate(
    model: Model,
    x: Array,
    y: Array,
    *,
    eps: list[float] | list[str] | tuple[float | str, ...],
    suite: str | Suite | AttackSpec | Sequence[str] = ...,
    norm: Norm | None = ...,
    seed: int = ...,
    batch_size: int | None = ...,
    precision: str = ...,
    superclass: Sequence[int] | Array | None = ...,
    state: str | Path | None = ...,
    progress: bool | SuiteProgress = ...,
) -> EvaluationSeries: ...


def evaluate(
    model: Model,
    x: Array,
    y: Array,
    *,
    suite: str | Suite | AttackSpec | Sequence[str] = "autoattack",
    eps: float | str | Tensor | list[float] | list[str] | tuple[float | str, ...] | None = None,
    norm: Norm | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    precision: str = "fp32",
    superclass: Sequence[int] | Array | None = None,
    state: str | Path | None = None,
    progress: bool | SuiteProgress = False,
) -> Evaluation | EvaluationSeries:
    """Return clean and robust accuracy of ``model``, adversarial examples, costs and the signs that the numbers may mislead.

    The model is asked in eval mode, as a copy: the one given is left as it is. Inputs are moved to its device batch by batch.

    Args:
        model: logits (B, C) from inputs (B, ...) in [0, 1]; normalisation is part of it (``robustscape.models.Normalize``).
        x: inputs (N, ...), a floating tensor or array.
        y: labels (N,), integers.
        suite: name of a suite (`robustscape list suites`) or of an attack (`list protocols`), a list of attacks, or one of your
            own; worst case per sample.
        eps: perturbation budget, such as 8 / 255 or "8/255"; a tensor (N,): one per sample; a list: one evaluation each, in its
            order, in which a sample broken within a smaller budget counts as broken, and is not attacked again, within the larger
            ones. None: 8/255 in Linf; in L2 and L1 it must be given.
        norm: "Linf", "L2" or "L1", of all attacks; None: the suite's own, which is Linf unless its name says otherwise. L1 has
            suites and attacks of its own: "autoattack" is "autoattack_l1" there.
        seed: of the attacks' random numbers.
        batch_size: samples of a pass; None: what suits the device. It changes nothing but rounding, see ``flag_batch_dependent``.
        precision: of the search, "fp32", "bf16" or "auto"; whether a sample is broken is always decided in fp32.
        superclass: (C,), the superclass of each class 0, 1, ..., for attacks of a hierarchy. Accuracies stay those of classes.
        state: folder from which an interrupted evaluation goes on, and in which it is kept.
        progress: show a bar for each attack, or call this with (attack, samples done, samples to do).

    Raises:
        UserError: whatever is wrong with what was given; a sentence.
    """
    _refuse_masks(y, eps, superclass)
    hierarchy = None if superclass is None else check_hierarchy(superclass)
    chosen = find_suite(suite, norm, superclass=hierarchy)
    check_taken([spec.attack for _, spec in chosen.attacks], hierarchy)
    inputs.check_model(model)
    check_precision(precision)
    specs = [spec for _, spec in chosen.attacks]
    x = matching_dtype(model, check_inputs(x, [spec.bounds for spec in specs]))
    y = inputs.check_labels(y, len(x))
    if eps is None:
        eps = default_eps(spec.norm for _, spec in chosen.attacks)
    several = isinstance(eps, list | tuple)
    if several and not eps:
        raise ConfigError("eps got an empty list; give at least one budget.")
    budgets = [inputs.check_eps(one, len(x)) for one in (eps if isinstance(eps, list | tuple) else [eps])]
    order = _rising(budgets) if several else [0]
    if several and state is not None:
        _refuse_one_folder([f"eps{number_label(float(one))}" for one in budgets])
    for budget in budgets if len(x) else []:  # all of them now: the largest is the last that is attacked
        inputs.check_budget_fits(budget, specs, x[0].numel())
    for note in note_short_steps(chosen.attacks, budgets):
        warnings.warn(note, ProtocolWarning, stacklevel=2)
    check_fit(model, x, y, chosen)
    data, weights = content_hash({"x": x, "y": y}), model_hash(model)
    found: dict[int, Evaluation] = {}
    known: Known | None = None
    with devices.exact_fp32(), _progress(progress) as show:
        for position in order:
            budget = budgets[position]
            folder = Path(state) if state is not None else None
            if folder is not None and several:
                folder = folder / f"eps{number_label(float(budget))}"
            result = run_suite(
                model,
                x,
                y,
                chosen,
                budget,
                seed=seed,
                batch_size=batch_size,
                precision=precision,
                state_dir=folder,
                progress=show,
                known=known,
            )
            known = Known(SMALLER, ~result.robust, result.x_adv)
            found[position] = Evaluation(result, y, describe_protocol(result, chosen, data, weights))
    return EvaluationSeries(tuple(found[position] for position in range(len(budgets)))) if several else found[0]


def attack(
    model: Model,
    x: Array,
    y: Array,
    name: str | AttackSpec = "pgd",
    *,
    eps: float | str | Tensor | None = None,
    norm: Norm | None = None,
    targets: Literal["random", "least_likely", "second", "all"] | None = None,
    superclass: Sequence[int] | Array | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    **parameters: Any,
) -> Tensor:
    """Return adversarial examples (N, ...) of one attack; each is in the ball and in the range, misclassified or not.

    Args:
        model: as in ``evaluate``.
        x: inputs (N, ...), a floating tensor or array.
        y: the true labels (N,).
        name: of an attack (`robustscape list attacks`) or of one of its protocols (`list protocols`), such as "pgd50_restarts10".
        eps: perturbation budget; a tensor (N,): one per sample; None: 8/255 in Linf, in L2 and L1 it must be given.
        norm: "Linf", "L2" or "L1"; None: the protocol's own. "apgd", "fab" and "square" have versions in L1.
        targets: the classes a targeted attack aims at; None: untargeted.
        superclass: (C,), the superclass of each class 0, 1, ..., for an attack of a hierarchy, such as "hierarchical_pgd".
        seed: of its random numbers.
        batch_size: samples of a pass; None: what suits the device.
        parameters: of the attack, such as ``steps=20``.

    Raises:
        UserError: whatever is wrong with what was given; a sentence.
    """
    _refuse_masks(y, eps, superclass)
    hierarchy = None if superclass is None else check_hierarchy(superclass)
    spec = name if isinstance(name, AttackSpec) else find_attack(name, norm, parameters, superclass=hierarchy)
    check_taken([spec.attack], hierarchy)
    changes: dict[str, Any] = {"parameters": hierarchy_for(spec.attack, {**spec.parameters, **parameters}, hierarchy)}
    if norm is not None:
        changes["norm"] = norm
    if targets is not None:
        changes["targets"] = targets
    spec = own_attack({**spec.model_dump(), **changes})
    inputs.check_model(model)
    x = matching_dtype(model, check_inputs(x, [spec.bounds]))
    inputs.check_count(len(x), "the number of samples")
    labels, budget = (
        inputs.check_labels(y, len(x)),
        inputs.check_eps(default_eps([spec.norm]) if eps is None else eps, len(x)),
    )
    inputs.check_budget_fits(budget, [spec], x[0].numel())
    for note in note_short_steps([(spec.attack, spec)], [budget]):
        warnings.warn(note, ProtocolWarning, stacklevel=2)
    with devices.exact_fp32():
        copy = frozen_copy(model, x)
        check_normalisations(copy, x)
        check_hierarchies([spec], inputs.count_classes(SearchModel(copy), x, labels, [spec]))
        return craft(model, x, labels, spec, budget, seed=seed, batch_size=batch_size)


def _refuse_masks(y: Any, eps: Any, superclass: Any) -> None:
    """Refuse masked arrays among what is given besides the inputs.

    Raises:
        AttackError: with which it is.
    """
    for what, value in (("labels", y), ("budgets", eps), ("superclasses", superclass)):
        refuse_masked(what, value)


def _rising(budgets: Sequence[float | Tensor]) -> list[int]:
    """Return the positions of the budgets of a list, the smallest budget's first.

    Raises:
        ConfigError: two are the same, or one is a tensor with a budget per sample.
    """
    numbers = [one for one in budgets if not isinstance(one, Tensor)]
    if len(numbers) < len(budgets):
        raise ConfigError(
            "eps got a list with a tensor of one budget per sample; give each such tensor to a call of its own."
        )
    twice = sorted({one for one in numbers if numbers.count(one) > 1})
    if twice:
        raise ConfigError(f"eps got a list in which {pretty_number(twice[0])} stands twice; give each budget once.")
    return sorted(range(len(numbers)), key=numbers.__getitem__)


def _refuse_one_folder(names: Sequence[str]) -> None:
    """Refuse budgets so near to each other that their states would share a folder.

    Raises:
        ConfigError: naming the folder.
    """
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"eps got two budgets whose states would both be in '{name}'; give one of them fewer digits."
            )


def default_eps(norms: Iterable[str]) -> float:
    """Return the budget of attacks for which none is given: 8/255, a usual one in Linf and next to nothing in other norms.

    Raises:
        ConfigError: an attack is in another norm.
    """
    others = sorted({*norms} - {"Linf"})
    if others:
        usual = "12" if others == ["L1"] else "0.5"
        raise ConfigError(f"eps has no default in {others[0]}: give one, such as {usual} for images of 32 x 32 pixels.")
    return 8 / 255


def own_attack(content: dict[str, Any]) -> AttackSpec:
    """Return an attack from its fields; its errors are sentences.

    Raises:
        ConfigError: with the key, what it got and what is allowed.
    """
    from robustscape.config.base import validate_model

    return validate_model(AttackSpec, content, f"attack '{content.get('attack')}'")


def matching_dtype(model: Any, x: Tensor) -> Tensor:
    """Return ``x`` in the precision of the model's weights, float32 or float64: NumPy's arrays are float64 by default."""
    parameter = (
        next((p for p in model.parameters() if p.is_floating_point()), None) if isinstance(model, nn.Module) else None
    )
    wanted = torch.float32 if parameter is None else parameter.dtype
    if parameter is None and x.dtype == torch.float64:
        return x
    return x.to(wanted) if wanted in (torch.float32, torch.float64) else x.float()


def model_hash(model: Any) -> str | None:
    """Return the SHA-256 of a model's weights and buffers; None where none can be seen: of a function, or a model without any.

    The hash of nothing would be the same for all of those, as if they were one model.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else None
    return content_hash(state) if state else None


@contextlib.contextmanager
def _progress(wanted: bool | SuiteProgress) -> Any:
    """Yield what ``run_suite`` calls; bars are closed at the end, also before an error is shown."""
    if callable(wanted):
        yield wanted
    elif wanted:
        with progress_bars() as show:
            yield show
    else:
        yield None


@contextlib.contextmanager
def progress_bars(*, quiet: bool = False) -> Any:
    """Yield a callback (attack, samples done, samples in all) that shows a bar for each attack; none if stderr is no terminal."""
    from tqdm import tqdm

    bars: dict[str, tqdm[Any]] = {}
    make = functools.partial(tqdm, unit="sample", disable=True if quiet else None, leave=True)

    def show(name: str, done: int, total: int) -> None:
        bar = bars.get(name)
        if bar is None or bar.total != total or done < bar.n:
            if bar is not None:
                bar.close()
            bar = bars[name] = make(total=total, desc=name)
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
