"""What the report says of the runs, the configuration and the code behind an item is read from files that are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_up import vouch_for

from robustscape.config.loading import load_experiment
from robustscape.pipeline.origins import find_origins, run_facts
from robustscape.pipeline.plan import Plan
from robustscape.storage.run_files import HEALTH

ROOT = Path(__file__).parents[2]
GOOD = {
    "clean_accuracy": 99.0,
    "robust_accuracy": 95.0,
    "loss_over_chance": 0.1,
    "updates": 50,
    "classes": 2,
    "diverged": False,
}


@pytest.fixture(scope="module")
def experiment():
    return load_experiment(ROOT / "config", "small")


def trained(plan: Plan, **health) -> Path:
    """The folder of the first run of table 1 of yamada2021, as training leaves it."""
    run = plan.item_tables("yamada2021", plan.studies["yamada2021"].items["table_1"])[0].runs[0].run
    folder = plan.run_folder(run)
    folder.mkdir(parents=True)
    (folder / HEALTH).write_text(json.dumps(GOOD | health))
    weights = {"model.safetensors": "0123456789abcdef" * 4}
    vouch_for(folder / HEALTH, seconds=12.5, epoch_seconds=[1.0, 3.0], checkpoints=weights)
    return folder


def test_every_item_has_its_configuration_and_code(experiment, tmp_path) -> None:
    plan = Plan(experiment, tmp_path)
    origins = find_origins(plan)
    assert origins.runs == {}
    for work, study in plan.studies.items():
        for name in study.items:
            text = (ROOT / origins.configured[work, name]).read_text()
            assert f"\n  {name}:" in text, (work, name)
            assert all((ROOT / path).exists() for path in origins.code[work, name]), (work, name)
    assert origins.configured["kim2023", "table_2_1"] == "config/studies/kim2023/chapter_2.yaml"
    assert "src/robustscape/report/tables/grid.py" in origins.code["kim2023", "table_2_1"]
    assert len(origins.behind["yamada2021", "table_1"]) > 3


def test_facts_of_a_run_are_those_of_its_files(experiment, tmp_path) -> None:
    plan = Plan(experiment, tmp_path, ["yamada2021"])
    trained(plan)
    (facts,) = find_origins(plan).runs.values()
    assert facts.is_trained and (facts.clean, facts.robust, facts.updates) == (99.0, 95.0, 50)
    assert (facts.seconds, facts.epoch_seconds, facts.checkpoints) == (12.5, 2.0, ("0123456789ab",))


def test_a_run_below_the_thresholds_or_with_an_edited_health_is_not_trained(experiment, tmp_path) -> None:
    plan = Plan(experiment, tmp_path, ["yamada2021"])
    folder = trained(plan, clean_accuracy=51.0)
    (facts,) = find_origins(plan).runs.values()
    assert not facts.is_trained and "clean accuracy 51.0 %" in facts.shortfalls[0]
    (folder / HEALTH).write_text(json.dumps(GOOD))
    run = plan.item_tables("yamada2021", plan.studies["yamada2021"].items["table_1"])[0].runs[0].run
    edited = run_facts(plan, run)
    assert not edited.is_trained and "is not the file" in edited.problem
