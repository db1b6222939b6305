"""``each_attack`` of each method's best setting: ma2025's tables of TRADES, MART and MMA, whose beta or margin is swept.

The best has the highest accuracy under PGD-20 (section 3.A; the work does not say on which images: all test images here, so that
every column of a table has the same net). Cost: the attack that chooses on every run, all others on the best.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape.config.attacks import AttackSpec, Suite
from robustscape.evaluation.each_attack import accuracy_rows
from robustscape.evaluation.method_names import Chosen, choose_settings, trained_method_columns
from robustscape.evaluation.trained_run import TrainedRun


def chosen_each_attack(
    runs: list[TrainedRun],
    *,
    suite: Suite,
    by: AttackSpec,
    names: dict[str, str] = {},  # noqa: B006  (read from the syntax tree as a schema)
    eps: Literal["run"] | float = "run",
    rel_eps: Annotated[float, Field(gt=0)] = 1.0,
    samples: Annotated[int, Field(ge=1)] | None = None,
    attacked_samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of ``each_attack`` of the best runs, and rows chosen_beta or chosen_rel_margin with ``attack`` "none".

    Args:
        runs: trained runs, some methods with several recipes.
        suite: the attacks.
        by: the attack that chooses, at each run's own eps.
        names: attack -> its name in the column ``attack``; the others have their own.
        eps: perturbation budget of the attacks; "run" for the run's own.
        rel_eps: factor on eps.
        samples: first test samples; None for all.
        attacked_samples: the first of them that attacks see; None for all.
    """
    rows: list[dict[str, Any]] = []
    for chosen in choose_settings(runs, by):
        run = chosen.run
        found = accuracy_rows(run, suite, names, rel_eps * run.attack_eps(eps), samples, attacked_samples)
        rows += [{**run.names, **row, "settings": chosen.settings} for row in [*found, *chosen_rows(chosen)]]
    return rows


def chosen_rows(chosen: Chosen) -> list[dict[str, Any]]:
    """Return a row for each parameter that was chosen; none where there was one setting only."""
    columns = trained_method_columns(chosen.run)
    shared = {"method": columns["method"], "init": columns["init"], "attack": "none", "unit": "1"}
    if chosen.settings == 1:
        return []
    values = {name: columns[name] for name in ("beta", "rel_margin") if columns[name] is not None}
    return [{**shared, "metric": f"chosen_{name}", "value": float(value)} for name, value in values.items()]
