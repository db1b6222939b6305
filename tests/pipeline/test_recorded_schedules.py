"""An eps schedule that another run recorded: its history holds eps itself, the schedule factors of the run's eps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from robustscape.config.experiment import Run
from robustscape.config.loading import load_experiment
from robustscape.errors import ConfigError, MissingData
from robustscape.pipeline.plan import Plan
from robustscape.pipeline.steps import train
from robustscape.training.schedules import schedule_factor

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(load_experiment(ROOT / "config", "smoke"), tmp_path)


def recorded_run(plan: Plan) -> tuple[Run, Run]:
    """A run that follows another one's eps, and that other run."""
    runs = [
        p.run for work, study in plan.studies.items() for name in study.runs for p in plan.experiment.runs(work, name)
    ]
    run = next(run for run in runs if plan.experiment.recorded_run(run))
    source = plan.experiment.recorded_run(run)
    assert source is not None
    return run, source


@pytest.mark.parametrize("eps", [8 / 255, 0.35, 1.0, 2.0])
def test_the_recorded_eps_is_followed_whatever_the_runs_eps(plan: Plan, eps: float) -> None:
    run, source = (replace(each, eps=eps) for each in recorded_run(plan))
    column = str(plan.experiment.recipes[run.recipe].eps_schedule.column)
    recorded = [0.5 * eps, 0.9 * eps, 0.2 * eps]
    folder = plan.run_folder(source)
    folder.mkdir(parents=True)
    pd.DataFrame({"epoch": [1, 2, 3], column: recorded}).to_csv(folder / "history.csv", index=False)
    schedule = train._recipe_of(plan, run).eps_schedule
    followed = [run.eps * schedule_factor(schedule, epoch / 3, 3) for epoch in range(3)]
    assert followed == pytest.approx(recorded)
    assert schedule.values == pytest.approx([0.5, 0.9, 0.2])


def test_without_that_history_or_its_column_training_says_so(plan: Plan) -> None:
    run, source = recorded_run(plan)
    with pytest.raises(MissingData, match="train that run first"):
        train._recipe_of(plan, run)
    plan.run_folder(source).mkdir(parents=True)
    pd.DataFrame({"epoch": [1]}).to_csv(plan.run_folder(source) / "history.csv", index=False)
    with pytest.raises(ConfigError, match="column of eps_schedule"):
        train._recipe_of(plan, run)
