"""Clean error and the error under each attack of a suite by itself (liu2020 table 4).

Unlike in ``robust_suite``, where an attack only gets what the earlier ones have left, every attack has all samples, so that the
errors can be compared. Cost: those of the attacks.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape.attacks.craft import accuracy as percent
from robustscape.attacks.craft import craft, survives
from robustscape.config.attacks import AttackSpec, Suite
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
    data = run.train if split == "train" else run.test
    x, y = data.inputs(slice(samples)), data.y[:samples]
    size = run.eps if eps == "run" else float(eps)
    clean = 100.0 - percent(survives(run.model, x, y))
    shared = {"split": split, "samples": len(y), "unit": "percent"}
    rows: list[dict[str, Any]] = [{**shared, "attack": "none", "metric": f"clean_{split}_error", "value": clean}]
    for name, attack in suite.attacks:
        found = craft(run.model, x, y, attack, size, seed=run.seed)
        error = 100.0 - percent(survives(run.model, found, y))
        measured = {"attack": names.get(name, name), "metric": f"robust_{split}_error", "value": error}
        rows.append({**shared, **protocol(attack, size), **measured})
    return rows


def protocol(attack: AttackSpec, eps: float) -> dict[str, Any]:
    """The columns of a row that say how it was attacked; Auto-PGD's iterations are its steps."""
    settings = {key: attack.parameters.get(key) for key in ("steps", "restarts", "step_size", "rel_step_size")}
    settings["steps"] = settings["steps"] or attack.parameters.get("iterations")
    return {
        "attack": attack.attack,
        "norm": attack.norm,
        "attack_eps": eps,
        **settings,
        "model_mode": attack.model_mode,
    }
