"""The shipped configuration, read and resolved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from robustscape.config.inheritance import read_definitions
from robustscape.config.loading import load_experiment
from robustscape.numbers import number_label, parse_number
from robustscape.pipeline.jobs import list_jobs
from robustscape.pipeline.plan import Plan

ROOT = Path(__file__).parents[2]
SCALES = ("smoke", "small", "paper")


@pytest.mark.parametrize("scale", SCALES)
def test_the_shipped_configuration_is_valid(scale: str) -> None:
    plan = Plan(load_experiment(ROOT / "config", scale), Path("results"))
    assert list_jobs(plan)


def without_tuned(value: Any) -> Any:
    """An optimizer, or phases, as plain values without the learning rates and inner steps that a scale may set."""
    if isinstance(value, list):
        return [without_tuned(one) for one in value]
    if hasattr(value, "model_dump"):
        return without_tuned(value.model_dump())
    if isinstance(value, dict):
        return {k: without_tuned(v) for k, v in value.items() if k not in ("lr", "inner_steps")}
    return value


def test_scales_change_sizes_and_stand_ins_only() -> None:
    """Same works, items, claims, eps and seeds at every scale; only names of stand-ins and sizes differ."""
    experiments = [load_experiment(ROOT / "config", scale) for scale in SCALES]
    first = experiments[0]
    for other in experiments[1:]:
        assert other.studies == first.studies
        for name, recipe in first.recipes.items():
            changed = {
                key for key in type(recipe).model_fields if getattr(recipe, key) != getattr(other.recipes[name], key)
            }
            for key in changed & {"optimizer", "phases"}:
                assert without_tuned(getattr(recipe, key)) == without_tuned(getattr(other.recipes[name], key))
            assert changed <= {
                "epochs",
                "batch_size",
                "probes",
                "augmentation",
                "traced_updates",
                "recalibrate",
                "optimizer",
                "phases",
            }


def test_a_run_in_two_places_is_one_run() -> None:
    plan = Plan(load_experiment(ROOT / "config", "small"), Path("results"))
    outputs = [output for job in list_jobs(plan) for output in job.outputs]
    assert len(outputs) == len(set(outputs))
    produced = set(outputs)
    for job in list_jobs(plan):
        for path in job.inputs:
            assert path in produced or Path(ROOT, path).exists() or "resources/paper" in path, path


def names(kind: str, last: int, first: int = 1) -> set[str]:
    return {f"{kind}_{n}" for n in range(first, last + 1)}


#: The tables and figures of each work, or of the part of it that is done.
ITEMS = {
    "yamada2021": names("table", 6) | names("figure", 5),
    "liu2020": names("table", 4) | names("figure", 12),
    "kanai2022": names("table", 3) | names("figure", 7),
    "kim2023": names("figure_2", 16)
    | names("table_2", 2)
    | names("figure_3", 15)
    | names("table_3", 9)
    | names("figure_4", 9)
    | {"table_4_1"}
    | names("figure_5", 6)
    | names("table_5", 3),
}


@pytest.mark.parametrize("work", ITEMS)
def test_every_table_and_figure_of_the_work_is_there(work: str) -> None:
    items = load_experiment(ROOT / "config", "small").studies[work].items
    assert ITEMS[work] == {name for name, item in items.items() if not item.extra}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (8 / 255, "8_255"), (25.5 / 255, "0.1"), (0.2, "0.2"), (1.0, "1"), (76.5 / 255, "0.3")],
)
def test_labels_of_eps(value: float, text: str) -> None:
    assert number_label(value) == text


def test_fractions_are_numbers() -> None:
    assert parse_number("8/255") == 8 / 255 and parse_number("25.5/255") == 0.1 and parse_number(0.3) == 0.3


def test_reading_the_configuration_loads_no_torch() -> None:
    """Planning must not pay for torch: Snakemake reads the plan in every call."""
    code = (
        "import sys; from pathlib import Path; from robustscape.config.loading import load_experiment;"
        "from robustscape.pipeline.jobs import list_jobs; from robustscape.pipeline.plan import Plan;"
        f"list_jobs(Plan(load_experiment(Path({str(ROOT / 'config')!r}), 'small'), Path('results')));"
        "sys.exit('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, check=False).returncode == 0
    )


def test_yaml_files_have_no_unused_entry() -> None:
    """Every recipe is used by a study, or by one that is."""
    experiment = load_experiment(ROOT / "config", "paper")
    used = {name for s in experiment.studies.values() for sets in s.runs.values() for r in sets for name in r.recipe}
    definitions = read_definitions([ROOT / "config"])
    extended = {definition.parent for definition in definitions.values()}
    # A list's grid makes recipes of its own from one that it does not train itself.
    gridded = {name for name in experiment.recipes if any(other.startswith(f"{name}-") for other in used)}
    assert set(experiment.recipes) <= used | extended | gridded
