"""Suites on several CPU threads: the same results, no traces in the process, and everything that goes wrong is heard of."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec, Suite
from robustscape.errors import AttackError
from robustscape.evaluation.harness import threads as crew
from robustscape.evaluation.harness.suite import SuiteResult, run_suite

ATTACKS: dict[str, dict[str, Any]] = {
    "pgd": {"attack": "pgd", "parameters": {"steps": 3, "early_stopping": True}},
    "train": {"attack": "pgd", "parameters": {"steps": 2}, "model_mode": "train"},
    "apgd_t": {"attack": "apgd", "parameters": {"iterations": 4, "loss": "dlr_targeted", "n_target_classes": 2}},
    "linbp": {"attack": "linbp", "parameters": {"steps": 3, "start": 0.0}},
    "square": {"attack": "square", "parameters": {"queries": 20}},
    "fab": {"attack": "fab", "parameters": {"iterations": 3, "n_target_classes": 2}},
}


def suite_of(*names: str) -> Suite:
    return Suite(name="small", attacks=tuple((name, AttackSpec.model_validate(ATTACKS[name])) for name in names))


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    left = torch.get_num_threads()
    torch.set_num_threads(before)
    assert left == 2


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is known of every part that was attacked."""
    seen: list[dict[str, Any]] = []
    original = crew.craft_batch

    def craft_batch(model: Any, x: Tensor, y: Tensor, spec: AttackSpec, *rest: Any) -> Tensor:
        seen.append(
            {
                "attack": spec.attack,
                "samples": len(x),
                "thread": threading.current_thread(),
                "model": model,
                "threads": torch.get_num_threads(),
                "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
            }
        )
        return original(model, x, y, spec, *rest)

    monkeypatch.setattr(crew, "craft_batch", craft_batch)
    return seen


def timeless(result: SuiteResult) -> list[dict[str, Any]]:
    return [row for row in result.rows() if row["metric"] != "seconds"]


def test_two_threads_find_what_one_finds(digits: Any, parts: list[dict[str, Any]]) -> None:
    """In float64, so that no rounding can tell parts from the whole."""
    model, x, y = digits.model.double(), digits.x[:151].double(), digits.y[:151]
    radii = torch.linspace(0.05, 0.15, len(x))
    try:
        both = run_suite(model, x, y, suite_of(*ATTACKS), radii, seed=3, batch_size=140)
        assert torch.get_num_threads() == 2
        used = parts.copy()
        torch.set_num_threads(1)
        alone = run_suite(model, x, y, suite_of(*ATTACKS), radii, seed=3, batch_size=140)
        torch.set_num_threads(2)
    finally:
        digits.model.float()
    assert timeless(both) == timeless(alone)
    for first, other in zip(both.outcomes, alone.outcomes, strict=True):
        assert torch.equal(first.broken, other.broken), first.name
    torch.testing.assert_close(both.x_adv, alone.x_adv, rtol=0, atol=1e-8)
    assert 10 < both.robust_accuracy < both.clean_accuracy - 10
    shared = [part for part in used if part["threads"] == 1]
    assert {part["attack"] for part in shared} == {"pgd", "apgd", "linbp", "square", "fab"}
    assert len(shared) == 2 * 5 and len({part["model"] for part in shared}) == 2
    assert threading.main_thread() not in {part["thread"] for part in shared}
    whole = [part["samples"] for part in used if part["threads"] == 2]
    assert max(whole) > 100 > 2 * crew.SMALLEST  # of the attack in train mode
    assert min(whole) <= 11  # of the second batch


def test_two_threads_in_bf16(digits: Any, parts: list[dict[str, Any]]) -> None:
    results = []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        suite = suite_of("pgd", "apgd_t", "fab", "square")
        results.append(run_suite(digits.model, digits.x, digits.y, suite, 0.12, seed=0, precision="bf16"))
    torch.set_num_threads(2)
    for first, other in zip(*(result.outcomes for result in results), strict=True):
        assert torch.equal(first.broken, other.broken), first.name
    assert [part["samples"] for part in parts[:2]] == [64, 64]


@pytest.mark.parametrize("context", [nullcontext(), torch.no_grad(), torch.autocast("cpu", torch.bfloat16)])
def test_threads_compute_in_the_mode_of_who_asks(
    digits: Any, parts: list[dict[str, Any]], context: AbstractContextManager[Any]
) -> None:
    with context:
        modes = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"))
        run_suite(digits.model, digits.x[:100], digits.y[:100], suite_of("pgd"), 0.1, seed=0)
    assert [(part["threads"], part["modes"]) for part in parts] == [(1, modes)] * 2


class OnClean(nn.Module):
    """``model`` on clean digits; ``fail`` says what happens on any other input."""

    def __init__(self, model: nn.Module, fail: Any) -> None:
        super().__init__()
        self.model, self.fail = model, fail

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits if torch.equal(16 * x, (16 * x).round()) else self.fail(logits)


def test_nan_is_refused_by_the_attacks_name(digits: Any, parts: list[dict[str, Any]]) -> None:
    broken = OnClean(digits.model, lambda logits: logits * torch.nan)
    with pytest.raises(AttackError, match=r"NaN.*'square'"):
        run_suite(broken, digits.x, digits.y, suite_of("square"), 0.1, seed=0)
    assert {part["threads"] for part in parts} == {1}
    assert torch.get_num_threads() == 2


def test_an_error_is_raised_and_ends_all(digits: Any, parts: list[dict[str, Any]]) -> None:
    def fail(_: Tensor) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_suite(OnClean(digits.model, fail), digits.x, digits.y, suite_of("square"), 0.1, seed=0)
    assert {part["threads"] for part in parts} == {1}
    assert torch.get_num_threads() == 2
    assert not any(part["thread"].is_alive() for part in parts)


def test_ctrl_c_ends_all(digits: Any, parts: list[dict[str, Any]]) -> None:
    """The attack itself would take hours."""
    passes = 0

    def interrupt(logits: Tensor) -> Tensor:
        nonlocal passes
        passes += 1
        if passes == 5:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return logits

    endless = AttackSpec.model_validate({"attack": "pgd", "parameters": {"steps": 10**7}})
    suite = Suite(name="endless", attacks=(("pgd", endless),))
    with pytest.raises(KeyboardInterrupt):
        run_suite(OnClean(digits.model, interrupt), digits.x, digits.y, suite, 0.1, seed=0)
    assert torch.get_num_threads() == 2
    for part in parts:
        part["thread"].join(10)  # the pool does not know a thread that was just being started
    assert not any(part["thread"].is_alive() for part in parts)
