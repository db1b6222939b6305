"""The suite ``autoattack`` against the authors' standard version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyautoattack
import pytest
import torch

from robustscape.config.attacks import AttackSpec, Suite, SuiteSpec
from robustscape.config.base import read_mapping
from robustscape.evaluation.harness.suite import run_suite

CONFIG = Path(__file__).parents[3] / "config"
STANDARD = {"Linf": "autoattack", "L2": "autoattack_l2", "L1": "autoattack_l1"}

#: Norm -> a budget that breaks some samples and not all.
EPS = {"Linf": 0.12, "L2": 0.8, "L1": 1.5}


def suite(name: str, **budget: int) -> Suite:
    """A suite of config/suites.yaml with smaller budgets."""
    specs: dict[str, AttackSpec] = {}
    for file in sorted((CONFIG / "attacks").glob("*.yaml")):
        specs |= read_mapping(AttackSpec, file)
    names = read_mapping(SuiteSpec, CONFIG / "suites.yaml")[name].attacks
    shorter = {n: {k: min(v, budget[k]) if k in budget else v for k, v in specs[n].parameters.items()} for n in names}
    return Suite(
        name=name,
        attacks=tuple((n, specs[n].model_copy(update={"parameters": shorter[n]})) for n in names),
    )


@pytest.mark.parametrize("norm", STANDARD)
def test_robust_accuracy_is_within_a_third_of_a_point_of_the_authors(digits: Any, norm: Any) -> None:
    eps = EPS[norm]
    x, y = digits.x[:340], digits.y[:340]
    oracle = pyautoattack.AutoAttack(digits.model, norm=norm, eps=eps, seed=0, version="standard")
    for part in (oracle.apgd, oracle.apgd_targeted):
        part.n_iter = 20
        part.n_iter_orig, part.n_iter_2, part.n_iter_min, part.size_decr = 20, 4, 1, 1
    oracle.fab.n_iter, oracle.square.n_queries = 8, 100
    oracle.apgd_targeted.n_target_classes = oracle.fab.n_target_classes = 4
    _, labels = oracle.run_standard_evaluation(x, y, batch_size=340)
    theirs = 100 * (labels == y).float().mean().item()
    result = run_suite(
        digits.model, x, y, suite(STANDARD[norm], iterations=20, n_target_classes=4, queries=100), eps, seed=0
    )
    if norm == "L1":  # our Square attack is the stronger one there, and both begin in noise
        assert theirs - 4 < result.robust_accuracy < theirs + 1
    else:
        assert result.robust_accuracy == pytest.approx(theirs, abs=0.3)
    assert 20 < result.robust_accuracy < result.clean_accuracy - 10


def test_the_configured_budgets_are_the_authors() -> None:
    for norm, name in STANDARD.items():
        attacks = suite(name).attacks
        of_norm = "_l1" if norm == "L1" else ""
        names = [f"apgd{of_norm}", f"apgd{of_norm}", f"square{of_norm}", "fab"]
        assert [(spec.attack, spec.norm) for _, spec in attacks] == [(name, norm) for name in names]
        oracle = pyautoattack.AutoAttack(torch.nn.Identity(), norm=norm, eps=0.1, version="standard")
        ce, targeted, search, boundary = (spec.parameters for _, spec in attacks)
        for ours, theirs in ((ce, oracle.apgd), (targeted, oracle.apgd_targeted)):
            assert (ours["iterations"], ours["restarts"]) == (theirs.n_iter, theirs.n_restarts)
            assert theirs.use_largereps if norm == "L1" else ours["rho"] == theirs.thr_decr
        assert (ce["loss"], targeted["loss"]) == ("cross_entropy", "dlr_targeted")
        assert targeted["n_target_classes"] == oracle.apgd_targeted.n_target_classes
        assert boundary["each_class"]
        for ours_key, theirs_key in (
            ("iterations", "n_iter"),
            ("restarts", "n_restarts"),
            ("alpha_max", "alpha_max"),
            ("eta", "eta"),
            ("beta", "beta"),
            ("n_target_classes", "n_target_classes"),
        ):
            assert boundary[ours_key] == getattr(oracle.fab, theirs_key)
        assert (search["queries"], search["p_init"], search["rescale_schedule"]) == (
            oracle.square.n_queries,
            oracle.square.p_init,
            oracle.square.rescale_schedule,
        )
