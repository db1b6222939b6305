"""A schedule of eps that another run recorded, in units of the run's own eps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_up import vouch_for

from robustscape.config.loading import load_experiment
from robustscape.errors import ConfigError, CorruptFile, MissingData
from robustscape.pipeline.plan import Plan
from robustscape.pipeline.steps import train
from robustscape.training.schedules import schedule_factor

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize("eps", [1.0, 0.25, 8 / 255])
def test_the_run_is_trained_with_the_eps_that_was_recorded(tmp_path: Path, eps: float) -> None:
    plan = Plan(load_experiment(CONFIG, "paper"), tmp_path)
    name, recipe = next(
        (name, recipe) for name, recipe in plan.experiment.recipes.items() if recipe.eps_schedule.kind == "recorded"
    )
    run = next(
        planned.run
        for work, study in plan.studies.items()
        for runs in study.runs
        for planned in plan.experiment.runs(work, runs)
        if planned.run.recipe == name
    )
    run = replace(run, eps=eps)
    source = plan.experiment.recorded_run(run)
    assert source is not None and source.eps == eps and source.recipe == recipe.eps_schedule.recipe
    with pytest.raises(MissingData, match=r"history\.csv is not there"):
        train._recipe_of(plan, run)
    history = plan.run_folder(source) / "history.csv"
    history.parent.mkdir(parents=True)
    recorded = [0.1 * eps, 0.5 * eps, eps, 0.75 * eps]
    history.write_text(f"epoch,{recipe.eps_schedule.column}\n" + "".join(f"1,{value!r}\n" for value in recorded))
    vouch_for(history)
    schedule = train._recipe_of(plan, run).eps_schedule
    used = [eps * schedule_factor(schedule, epoch / 4, 4) for epoch in range(4)]
    assert used == pytest.approx(recorded)
    history.write_text("epoch,other\n1,2\n")
    with pytest.raises(CorruptFile, match=r"history\.csv is not the file that run\.json was written for"):
        train._recipe_of(plan, run)
    vouch_for(history)
    with pytest.raises(ConfigError, match="column of eps_schedule"):
        train._recipe_of(plan, run)
