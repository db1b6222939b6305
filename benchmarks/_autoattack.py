"""AutoAttack's standard version, the authors' and ours, as ``attacks.py`` and ``gpu_check.py`` compare them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec, Suite
from robustscape.evaluation.harness.suite import SuiteResult, run_suite

THEIR_BATCH = 250  # AutoAttack's default, and every library's here

Candidate = Callable[[Tensor, Tensor], Tensor | SuiteResult]


def spec(attack: str, **parameters: Any) -> AttackSpec:
    """An attack in Linf."""
    return AttackSpec.model_validate({"attack": attack, "parameters": parameters})


class _Told:
    """Stands in for the authors' logger: their progress, printed."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda *message: print("  pyautoattack:", *message, flush=True)


def autoattack(
    model: nn.Module, eps: float, budget: dict[str, int], device: torch.device | str = "cpu"
) -> dict[str, Candidate]:
    """The standard version, as its authors run it, and the suite of the same attacks."""
    return {
        "robustscape": partial(our_autoattack, model, eps, budget, precision="auto"),
        "pyautoattack": their_autoattack(model, eps, budget, device),
    }


def our_autoattack(
    model: nn.Module, eps: float, budget: dict[str, int], x: Tensor, y: Tensor, *, precision: str
) -> SuiteResult:
    """The suite of AutoAttack's attacks, in the order of config/suites.yaml."""
    shared = {"iterations": budget["iterations"]}
    targets = {"n_target_classes": budget["n_target_classes"]}
    suite = Suite(
        name="autoattack",
        attacks=(
            ("apgd_ce", spec("apgd", **shared)),
            ("apgd_t", spec("apgd", loss="dlr_targeted", **shared, **targets)),
            ("square5000", spec("square", queries=budget["queries"], rescale_schedule=False)),
            ("fab_t", spec("fab", **shared, **targets)),
        ),
    )

    def told(name: str, done: int, total: int) -> None:
        print(f"  robustscape: {name} {done}/{total}", flush=True)

    return run_suite(model, x, y, suite, eps, seed=0, batch_size=THEIR_BATCH, precision=precision, progress=told)


def their_autoattack(model: nn.Module, eps: float, budget: dict[str, int], device: torch.device | str) -> Candidate:
    """The authors' code, with ``budget`` in place of its own numbers of iterations, queries and targets.

    Raises:
        ImportError: it is not installed.
    """
    import pyautoattack

    oracle = pyautoattack.AutoAttack(model, eps=eps, seed=0, version="standard", device=device)
    oracle.logger = _Told()
    for part in (oracle.apgd, oracle.apgd_targeted):
        part.n_iter = budget["iterations"]
        part.n_iter_2, part.n_iter_min, part.size_decr = (
            max(int(share * part.n_iter), 1) for share in (0.22, 0.06, 0.03)
        )
    oracle.fab.n_iter, oracle.square.n_queries = budget["iterations"], budget["queries"]
    oracle.fab.n_target_classes = oracle.apgd_targeted.n_target_classes = budget["n_target_classes"]
    return lambda x, y: oracle.run_standard_evaluation(x, y, batch_size=THEIR_BATCH)[0]
