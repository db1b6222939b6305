"""liu2020, section 4: eps and learning rate over training (figures 11 and 12), from the schedules that training uses.

    eps_cos(d) = (1 - cos(p pi)) / 2 (eps_max - eps_min) + eps_min,  eps_lin(d) = p (eps_max - eps_min) + eps_min

in the period [T_{i-1}, T_i) with p = (d - T_{i-1}) / (T_i - T_{i-1}), then clipped at the target; eps_min = 0.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape.config.recipes import Schedule
from robustscape.training.schedules import schedule_factor


def schedules(
    *,
    quantity: Literal["eps", "learning_rate"],
    target: Annotated[float, Field(gt=0)],
    epochs: Annotated[int, Field(ge=1)],
    schedules: dict,  # type: ignore[type-arg]
    fine: Annotated[int, Field(ge=10)] = 10_000,
) -> list[dict[str, Any]]:
    """Return one row per epoch and schedule with the metric ``quantity`` (target times the schedule's factor).

    There is also one row ``first_of_period`` per schedule and period, and per schedule one row each of ``largest`` (over
    epochs), ``largest_fall`` and ``largest_rise`` (from one epoch to the next within a period) and ``fraction_at_target``: the
    fraction of the first period after which the target is reached if the schedule is followed in ``fine`` steps.

    Args:
        quantity: the scheduled quantity.
        target: the eps of training, or the learning rate.
        epochs: number of training epochs.
        schedules: name -> keys of a recipe's ``eps_schedule`` or ``lr_schedule``.
        fine: number of steps of the first period at which it is tested whether the target is reached.
    """
    rows: list[dict[str, Any]] = []
    for name, keys in schedules.items():
        schedule = Schedule.model_validate(keys)
        values = [target * schedule_factor(schedule, epoch / epochs, epochs) for epoch in range(epochs)]
        rows += [
            {"schedule": name, "epoch": epoch, "metric": quantity, "value": value, "unit": "1"}
            for epoch, value in enumerate(values)
        ]
        starts = [0, *(round(fraction * epochs) for fraction in schedule.restarts)]
        steps = [after - before for before, after in itertools.pairwise(values)]
        inside = [step for epoch, step in enumerate(steps, 1) if epoch not in starts] or [0.0]
        found = {
            "largest": max(values),
            "largest_fall": max(0.0, -min(inside)),
            "largest_rise": max(0.0, *inside),
        }
        length = (schedule.restarts or [1.0])[0]
        followed = schedule.model_copy(update={"hold": "step"})
        reached = [k / fine for k in range(fine) if schedule_factor(followed, length * k / fine) >= 1 - 1e-12]
        if reached:
            found["fraction_at_target"] = reached[0]
        rows += [
            {"schedule": name, "epoch": None, "metric": metric, "value": value, "unit": "1"}
            for metric, value in found.items()
        ]
        rows += [
            {"schedule": name, "period": i, "metric": "first_of_period", "value": values[epoch], "unit": "1"}
            for i, epoch in enumerate(starts, 1)
        ]
    return rows
