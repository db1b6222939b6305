"""The loss at the end of an ascent of several steps: kim2023 table 5.1."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape import devices
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape import _ascent as ascent
from robustscape.landscape.directions import movable


@devices.exact_fp32()
def perturbed_loss(
    run: TrainedRun,
    *,
    rho: float | Literal["run"] = "run",
    steps: list[Annotated[int, Field(ge=0)]] = [0, 1, 3, 5],  # noqa: B006  (a schema; never changed)
    batch: Annotated[int, Field(ge=1)] | Literal["run"] | None = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return rows perturbed_loss (training data) and perturbed_test_loss (nats) for each number of ascent steps.

    The thesis says "whole test examples", but its losses are lower than its test errors allow: they are of training data.

    Args:
        run: the trained model and its data.
        rho: length of the whole ascent; "run" for the rho of the training.
        steps: numbers N of ascent steps of rho / N each; 0 is the loss itself.
        batch: samples of an ascent; "run": as many as in training; None: all of them together.
        samples: first samples of each split; None for all.

    Cost: per batch one gradient, and for each N further N - 1 gradients and a forward pass.
    """
    rho, size = ascent.ascent_rho(run, rho), ascent.ascent_batch(run, batch)
    model = ascent.eval_copy(run.model)
    rows = []
    splits: list[tuple[str, Literal["train", "test"]]] = [("perturbed_loss", "train"), ("perturbed_test_loss", "test")]
    for metric, split in splits:
        x, y = run.subset(split, samples)
        sums = dict.fromkeys(steps, 0.0)
        with movable(model) as move:
            for part, labels, weight in ascent.weighted_batches(x, y, size):
                move([], [])
                start = ascent.batch_gradient(model, part, labels)
                for number in steps:
                    if number:
                        ascent.ascend_weights(model, move, part, labels, rho, number, start)
                    else:
                        move([], [])
                    sums[number] += weight * ascent.batch_loss(model, part, labels).item()
        shared = ascent.ascent_columns(run, rho, size, split, len(y))
        rows += [
            {**shared, "n_ascent_eval": number, "metric": metric, "value": value, "unit": "nats"}
            for number, value in sums.items()
        ]
    return rows
