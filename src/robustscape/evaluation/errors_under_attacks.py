"""Clean error and the error under each attack of a suite by itself (liu2020 table 4).

Unlike in ``robust_suite``, where an attack only gets what the earlier ones have left, every attack has all samples, so that the
errors can be compared. Cost: those of the attacks.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape.attacks.craft import accuracy as percent
from robustscape.attacks.craft import craft, survives
from robustscape.config.attacks import Suite
from robustscape.landscape._protocol import columns, radius, subset
from robustscape.runs import TrainedRun


def errors_under_attacks(
    run: TrainedRun,
    *,
    suite: Suite,
    names: dict[str, str] = {},  # noqa: B006  (read from the syntax tree as a schema; never changed)
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "test",
) -> list[dict[str, Any]]:
    """Rows clean_test_error (attack ``none``) and robust_test_error, one an attack, in percent; ``train`` likewise.

    Args:
        run: the trained model and its data.
        suite: the attacks; their random streams are the run's seed.
        names: what the rows call an attack of the suite; without an entry, as the configuration does.
        eps: radius; "run" for the run's own.
        samples: first samples of the split; None for all.
        split: which split.
    """
    x, y = subset(run, split, samples)
    size = radius(run, eps)
    clean = 100.0 - percent(survives(run.model, x, y))
    shared = {"norm": None, "attack_eps": 0.0, "split": split, "samples": len(y), "unit": "percent"}
    rows: list[dict[str, Any]] = [{**shared, "attack": "none", "metric": f"clean_{split}_error", "value": clean}]
    for name, attack in suite.attacks:
        found = craft(run.model, x, y, attack, size, seed=run.seed)
        error = 100.0 - percent(survives(run.model, found, y))
        settings = columns(attack, size, split, len(y))
        settings["steps"] = settings["steps"] or attack.parameters.get("iterations")
        measured = {"attack": names.get(name, name), "metric": f"robust_{split}_error", "value": error}
        rows.append({**settings, **measured, "unit": "percent"})
    return rows
