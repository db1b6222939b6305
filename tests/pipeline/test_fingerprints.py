"""A result has one fingerprint, which the plan and the step that makes it compute by the same function (contract 4)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from robustscape import catalog
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.config.loading import load_experiment
from robustscape.pipeline import fingerprints
from robustscape.pipeline.plan import Plan

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(load_experiment(ROOT / "config", "smoke"), Path("results"))


def a_measurement(plan: Plan, measure: str) -> tuple[str, str]:
    """The first measurement of the shipped studies that is made by a function."""
    return next(
        (work, name)
        for work, study in plan.studies.items()
        for name, entry in study.measurements.items()
        if entry.measure == measure
    )


def test_every_argument_of_a_measurement_counts(plan: Plan) -> None:
    work, name = a_measurement(plan, "accuracy")
    entry, arguments = plan.studies[work].measurements[name], plan.arguments(work, name)
    run = plan.planned_runs(work, entry)[0].run
    first = fingerprints.measurement_fingerprint(plan.experiment, entry, arguments, run)
    assert first == fingerprints.measurement_fingerprint(plan.experiment, entry, dict(arguments), run)
    changed: dict[str, Any] = {**arguments, "samples": 7}
    assert first != fingerprints.measurement_fingerprint(plan.experiment, entry, changed, run)
    other = entry.model_copy(update={"weights": "last" if entry.weights == "selected" else "selected"})
    assert first != fingerprints.measurement_fingerprint(plan.experiment, other, arguments, run)


def test_remarks_on_attacks_do_not_count_inside_suites_either() -> None:
    def arguments(about: str, steps: int = 3) -> dict[str, Any]:
        spec = AttackSpec(attack="pgd", parameters={"steps": steps}, about=about)
        return {"attack": spec, "attacks": [spec], "suite": Suite(name="s", attacks=(("pgd", spec),)), "samples": None}

    plain = fingerprints.plain_arguments(arguments("a remark"))
    assert plain == fingerprints.plain_arguments(arguments("another"))
    assert plain != fingerprints.plain_arguments(arguments("a remark", steps=4))
    assert "remark" not in str(plain)


def test_a_comparison_depends_on_its_runs(plan: Plan) -> None:
    work, name = "liu2020", "curve_mnist"
    entry, arguments = plan.studies[work].comparisons[name], plan.arguments(work, name)
    (group,) = plan.groups(work, name)
    first = fingerprints.comparison_fingerprint(plan.experiment, entry, arguments, group)
    fewer = type(group)(group.label, group.planned[:1], group.factors)
    assert first != fingerprints.comparison_fingerprint(plan.experiment, entry, arguments, fewer)


def test_content_that_was_read_counts() -> None:
    one = fingerprints.complete_fingerprint("f", ["a", "b"])
    assert len({one, *(fingerprints.complete_fingerprint("f", c) for c in (["b", "a"], ["a"], [None, "b"], []))}) == 5
    assert one != fingerprints.complete_fingerprint("g", ["a", "b"])


def test_the_code_of_a_precision_counts_only_where_one_is_asked_for(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, name = a_measurement(plan, "robust_suite")
    entry, arguments = plan.studies[work].measurements[name], plan.arguments(work, name)
    asked: list[str] = []
    found, precision = catalog.find_entry, SimpleNamespace(module="robustscape.theory.rows")

    def find(kind: str, name: str) -> Any:
        if kind != "precision":
            return found(kind, name)
        asked.append(name)
        return precision

    monkeypatch.setitem(catalog.KINDS, "precision", (("attacks/precision",), ("model",)))
    monkeypatch.setattr(catalog, "find_entry", find)
    code = fingerprints.measurement_code(plan.experiment, entry, {**arguments, "precision": "fp32"}, [])
    assert asked == []
    assert code != fingerprints.measurement_code(plan.experiment, entry, {**arguments, "precision": "bf16"}, [])
    assert asked == ["bf16"]


def test_what_reads_the_logs_of_a_run_depends_on_them_and_what_reads_weights_does_not(plan: Plan) -> None:
    """A probe with more samples leaves the weights as they are: its column of the history must be read again."""
    record = {"checkpoints": {"model.safetensors": "w"}, "files": {"model.safetensors": "w", "history.csv": "before"}}
    later = {**record, "files": {**record["files"], "history.csv": "after"}}
    for measure, rereads in (("history", True), ("collapse", True), ("accuracy", False)):
        work, name = a_measurement(plan, measure)
        entry = plan.studies[work].measurements[name]
        contents = [fingerprints.contents_of_run(entry, found, "model.safetensors") for found in (record, later)]
        assert (contents[0] != contents[1]) is rereads, measure
        assert contents[0][0] == "w"
