"""The cost of a step of each optimizer: passes counted, seconds measured (kim2023 table 5.1, claims K5-4 and K5-14).

Seconds are those that the device spent on the step: CPU time of this process, all its threads together, or time between two
events on the GPU. Wall time on a shared machine measures the others' jobs. All optimizers are timed in one process, in turns,
so that a slow minute (a lower clock rate, a full cache) affects all of them alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape import catalog
from robustscape.evaluation._optimizer_columns import optimizer_columns
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.models import copy_model


class _Batch:
    """A closure over one batch; ``counted``, as a forward hook, counts the passes in units of the whole batch."""

    def __init__(self, run: TrainedRun, size: int) -> None:
        self.model = copy_model(run.model).train()
        for parameter in self.model.parameters():
            parameter.requires_grad_(True)
        self.x, self.y = run.subset("train", size)
        self.forwards = self.backwards = 0.0

    def __call__(self) -> Tensor:
        """Make one forward and backward pass; return the mean loss."""
        self.model.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        return loss

    def per_sample(self, index: Tensor | None = None) -> Tensor:
        """Return the losses (n,) of the samples ``index``, all by default."""
        x, y = (self.x, self.y) if index is None else (self.x[index], self.y[index])
        return F.cross_entropy(self.model(x), y, reduction="none")

    def counted(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        """Count a forward pass, and its backward pass if there is one: a forward hook."""
        passes = len(output) / len(self.y)
        self.forwards += passes
        if output.requires_grad:
            output.register_hook(lambda gradient: self._count_backward(passes))

    def _count_backward(self, passes: float) -> None:
        self.backwards += passes


def optimizer_cost(
    runs: list[TrainedRun],
    *,
    rounds: Annotated[int, Field(ge=1)] = 10,
    warm_up: Annotated[int, Field(ge=1)] = 2,
) -> list[dict[str, Any]]:
    """Return the passes and the time of a step, for the first run of each data set and recipe.

    forward_passes and backward_passes are in units of the whole batch, counted by hooks; time_per_iteration (s) is the median of
    the CPU or GPU time (column ``clock``); time_over_sgd and time_over_passes are medians of the ratios within a round, to a step
    of SGD and to as many plain forward and backward passes of the same batch, without an update, as the step makes.

    Args:
        runs: trained runs; their recipes state optimizer and batch size.
        rounds: number of timed steps.
        warm_up: number of steps before them.

    Cost: per optimizer, ``rounds`` + ``warm_up`` steps of it, as many of SGD, and as many plain passes.
    """
    first = {(run.config["dataset"]["name"], run.config["recipe"]["name"]): run for run in reversed(runs)}
    compared = [_Compared(run) for run in reversed(first.values())]
    for number in range(warm_up + rounds):
        for candidate in compared:
            candidate.time(keep=number >= warm_up)
    return [row | {"rounds": rounds} for candidate in compared for row in candidate.rows()]


class _Compared:
    """A run's optimizer, timed beside plain SGD and plain passes of the same batch."""

    def __init__(self, run: TrainedRun) -> None:
        self.run = run
        recipe = run.config["recipe"]
        size = recipe["batch_size"] or len(run.train.y)
        self.batch, self.plain = _Batch(run, size), _Batch(run, size)
        spec = recipe["optimizer"]
        self.optimizer = catalog.load_function("optimizer", spec["name"])(
            list(self.batch.model.parameters()), **spec["parameters"]
        )
        self.sgd = torch.optim.SGD(self.plain.model.parameters(), lr=1e-3, momentum=0.9)
        handle = self.batch.model.register_forward_hook(self.batch.counted)
        self.optimizer.step(self.batch)
        handle.remove()
        self.seconds: dict[str, list[float]] = {"step": [], "sgd": [], "passes": []}

    def time(self, keep: bool) -> None:
        """Time each of the three once; ``keep`` records the seconds."""
        calls: dict[str, Callable[[], Any]] = {
            "step": lambda: self.optimizer.step(self.batch),
            "sgd": lambda: self.sgd.step(self.plain),
            "passes": self.plain,
        }
        for name, call in calls.items():
            seconds = device_seconds(call, self.run.device)
            if keep:
                self.seconds[name].append(seconds)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of this run."""
        batch, seconds = self.batch, self.seconds
        passes = (batch.forwards + 2 * batch.backwards) / 3  # a backward pass costs two forward passes
        values = {
            "forward_passes": (batch.forwards, "1"),
            "backward_passes": (batch.backwards, "1"),
            "time_per_iteration": (statistics.median(seconds["step"]), "s"),
            "time_over_sgd": (_median_ratio(seconds["step"], seconds["sgd"]), "1"),
            "time_over_passes": (_median_ratio(seconds["step"], seconds["passes"]) / passes, "1"),
        }
        clock = "GPU time" if self.run.device.type == "cuda" else "CPU time"
        shared = {**self.run.names, **optimizer_columns(self.run), "samples": len(batch.y), "clock": clock}
        return [{**shared, "metric": metric, "value": value, "unit": unit} for metric, (value, unit) in values.items()]


def _median_ratio(a: list[float], b: list[float]) -> float:
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def device_seconds(call: Callable[[], Any], device: torch.device) -> float:
    """Make the call; return the seconds that the device spent on it: CPU time of the process, or time on the GPU."""
    if device.type != "cuda":
        began = time.process_time()
        call()
        return time.process_time() - began
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    before.record(torch.cuda.current_stream(device))
    call()
    after.record(torch.cuda.current_stream(device))
    torch.cuda.synchronize(device)
    return float(before.elapsed_time(after)) / 1000
