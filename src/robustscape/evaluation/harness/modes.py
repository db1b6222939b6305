"""Modules that a model calls and does not own: an evaluation, which copies the model in eval mode, does not reach their mode.

They belong to a function, a method or a ``functools.partial``, or to a module that keeps nets in a list, in a closure or in a
``forward`` that was replaced. Left in training mode they would answer with the statistics of the batch, or with dropout.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from robustscape.attacks.base.gradients import Classifier
from robustscape.errors import AttackError

#: Share of the largest output by which rounding may change outputs.
SAME = 1e-4


@contextmanager
def foreign_parts_in_eval(model: Classifier) -> Iterator[list[nn.Module]]:
    """Put modules that ``model`` calls within the block, and does not own, into eval mode as they are called, then back.

    Yields the list of those that were in training mode, which grows.
    """
    own = {id(module) for module in model.modules()} if isinstance(model, nn.Module) else set()
    found: list[nn.Module] = []

    def look(module: nn.Module, _: Any = None) -> None:
        if module.training and id(module) not in own:
            found.append(module)
            module.training = False

    for module in _held_by(vars(model).get("forward") if isinstance(model, nn.Module) else model):
        look(module)
    handle = register_module_forward_pre_hook(look)
    try:
        yield found
    finally:
        handle.remove()
        for module in found:
            module.training = True


def refuse_training_parts(model: Classifier, sample: Tensor, parts: list[nn.Module]) -> None:
    """Refuse ``model`` if it answers otherwise with ``parts``, which it does not own, in training mode than in eval mode.

    Args:
        model: what is evaluated.
        sample: inputs (B, ...).
        parts: modules that it calls, in training mode; their buffers are left as they are.

    Raises:
        AttackError: it does, with the names of the parts' classes.
    """
    if not parts:
        return
    buffers = [(buffer, buffer.clone()) for part in parts for buffer in part.buffers()]
    with foreign_parts_in_eval(model):
        expected = _answer(model, sample)
    found = _answer(model, sample)
    with torch.no_grad():
        for buffer, value in buffers:
            buffer.copy_(value)
    if found is None or expected is None or not (found - expected).abs().amax() <= SAME * expected.abs().amax():
        kinds = ", ".join(sorted({type(part).__name__ for part in parts}))
        raise AttackError(
            f"the model calls modules in training mode that are none of its own ({kinds}), and so answers as in training: "
            "a function, a closure or a list holds them. Call .eval() on them, or give a module of which they are submodules."
        )


def _answer(model: Classifier, sample: Tensor) -> Tensor | None:
    """The model's answer, with the same random numbers in each call; None where it fails or is no tensor."""
    try:
        with torch.no_grad(), torch.random.fork_rng([sample.device] if sample.is_cuda else []):
            torch.manual_seed(0)
            answer = model(sample.clone())
    except Exception:  # such as batch normalisation of a single value
        return None
    return answer if isinstance(answer, Tensor) else None


def _held_by(function: Any, seen: set[int] | None = None) -> list[nn.Module]:
    """The modules that a function holds and may call in other ways than as modules: ``net.forward``, a partial, a closure."""
    seen = set() if seen is None else seen
    if id(function) in seen:  # functions may hold each other
        return []
    seen.add(id(function))
    if isinstance(function, nn.Module):
        return [function]
    held: list[Any] = []
    if isinstance(function, MethodType):
        held = [function.__self__, function.__func__]
    elif isinstance(function, functools.partial):
        held = [function.func, *function.args, *function.keywords.values()]
    elif isinstance(function, FunctionType):
        held = [_content(cell) for cell in function.__closure__ or ()]
    return [module for one in held for module in _held_by(one, seen)]


def _content(cell: Any) -> Any:
    """What is in the cell of a closure; None if it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
