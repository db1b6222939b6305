"""What each job of a plan takes: operations, seconds at a rate, memory, disk. Imports no torch.

Estimates before anything has run: passes of each run and measurement (``passes``) times the operations of a pass of its network
(``sizes``), in batches. Batches so small that a GPU waits for the start of its kernels take as long as starting them.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustscape import catalog
from robustscape.config.attacks import AttackSpec
from robustscape.config.experiment import Run, kind_and_name
from robustscape.config.recipes import Recipe
from robustscape.config.studies import Comparison, Measurement
from robustscape.errors import ConfigError
from robustscape.numbers import pretty_number
from robustscape.pipeline.cost.passes import (
    Measured,
    Task,
    attack_passes,
    measurement_passes,
    probe_passes,
    update_passes,
)
from robustscape.pipeline.cost.sizes import DataSize, NetSize, data_size, net_key, read_nets
from robustscape.pipeline.jobs import Job
from robustscape.pipeline.plan import Plan

#: Kernels of a layer in a pass: PreActResNet18 has 39 layers and starts 80 a pass.
KERNELS_OF_A_LAYER = 2.05

#: Samples of a pass where something is measured.
MEASURING_BATCH = 256

#: Seconds before a job computes: Python, torch, data.
START = 15.0

#: Samples that the health of a run is measured on: clean passes, and passes under the training attack.
HEALTH_SAMPLES, HEALTH_ATTACKED = 1250, 750

#: Bytes of a process that has imported torch; of its context on a GPU; of a small file.
PROCESS, CONTEXT, SMALL_FILE = 3e9, 7e8, 2e4

#: Numbers that a pass with gradients holds for each number that a layer puts out: it, what its gradient needs, its gradient.
HELD = 2.5

#: Copies of the weights while they are trained: they, the gradient, the optimizer's, the selected and the last ones.
COPIES = 5

#: Comparisons that attack one of their runs; the others are only asked, or attacked by ``by``.
ATTACK_ONE = {"best_robust_accuracies", "blackbox_accuracy", "chosen_each_attack", "transferred_accuracy"}


@dataclass(frozen=True)
class Rate:
    """How fast a device is."""

    tflops: float
    """10^12 operations a second, sustained."""
    microseconds: float = 10.0
    """To start a kernel."""
    source: str = "stated"
    """Where both are from."""

    @property
    def text(self) -> str:
        """In words."""
        return (
            f"{pretty_number(self.tflops)} TFLOP/s and {pretty_number(self.microseconds)} µs a kernel ({self.source})"
        )


#: What a current GPU sustains in TF32, and a core of a CPU in fp32.
GPU, CPU = Rate(30.0), Rate(0.03, 20.0)


def read_rate(path: Path) -> Rate:
    """Return a rate that was measured: a JSON object with ``tflops``, and perhaps ``microseconds`` and ``device``.

    Raises:
        ConfigError: it is not there, is no such object, or a number is not above 0.
    """
    allowed = "allowed is an object with tflops, and perhaps microseconds and device"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        rate = Rate(
            float(found["tflops"]),
            float(found.get("microseconds", GPU.microseconds)),
            f"{path.name}: {found.get('device', 'measured')}",
        )
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}).") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{path} is no measured rate; {allowed}.") from None
    if not (rate.tflops > 0 and rate.microseconds >= 0 and math.isfinite(rate.tflops + rate.microseconds)):
        raise ConfigError(f"{path} has tflops {rate.tflops} and microseconds {rate.microseconds}; {allowed}.")
    return rate


@dataclass(frozen=True)
class Work:
    """Passes of one network in batches of one size."""

    passes: float
    """Forward passes of a sample."""
    batch: int
    net: NetSize

    @property
    def flop(self) -> float:
        """Operations."""
        return self.passes * self.net.flop

    def seconds(self, rate: Rate) -> float:
        """Time at a rate: that of the operations, or of starting the kernels."""
        starts = self.passes / self.batch * self.net.layers * KERNELS_OF_A_LAYER
        return max(self.flop / (rate.tflops * 1e12), starts * rate.microseconds * 1e-6)


@dataclass(frozen=True)
class Price:
    """What a job takes."""

    work: tuple[Work, ...] = ()
    disk: float = 0.0
    """Bytes of its files."""
    memory: float = PROCESS
    """Bytes on the machine, those of a GPU aside."""
    gpu_memory: float = 0.0
    """Bytes on the device that computes."""
    priced: bool = True
    """False: the size of a network or of a data set is not known, and what it takes is not in the others."""

    @property
    def passes(self) -> float:
        """Forward passes of a sample."""
        return sum(work.passes for work in self.work)

    @property
    def flop(self) -> float:
        """Operations."""
        return sum(work.flop for work in self.work)

    def seconds(self, rate: Rate) -> float:
        """Time at a rate, a process's start included."""
        return START + sum(work.seconds(rate) for work in self.work)


def price_jobs(plan: Plan, jobs: Iterable[Job], nets: Mapping[tuple[str, ...], NetSize] | None = None) -> list[Price]:
    """Return the price of each job.

    Args:
        plan: the plan that the jobs are of.
        jobs: some of its jobs.
        nets: sizes of networks by ``net_key``; None: those of ``nets.csv``.
    """
    prices = _Prices(plan, read_nets() if nets is None else nets)
    return [prices.of(job) for job in jobs]


class _Prices:
    """The prices of a plan's jobs; what jobs share is worked out once."""

    def __init__(self, plan: Plan, nets: Mapping[tuple[str, ...], NetSize]) -> None:
        self.plan = plan
        self.nets = nets
        self.runs = {run.key: run for run in plan.runs}
        self.data = functools.cache(self._data)
        self.arguments = functools.cache(plan.arguments)
        self.recipe_passes = functools.cache(self._recipe_passes)

    def of(self, job: Job) -> Price:
        """Return the price of a job."""
        match job.stage:
            case "prepare":
                size = self.data(job.name)
                return Price(disk=size.bytes, memory=PROCESS + 6 * size.bytes) if size else Price(priced=False)
            case "train":
                return self._together([self._training(self.runs[key]) for key in job.targets], job)
            case "evaluate" | "landscape":
                return self._together(self._measurements(job.targets), job)
            case "compare":
                return self._together([self._comparison(*job.targets[0].split("/"))], job)
        return Price(disk=SMALL_FILE * len(job.outputs))

    def _together(self, prices: Sequence[Price], job: Job) -> Price:
        """Return the price of a job that does several things one after the other."""
        return Price(
            tuple(work for price in prices for work in price.work),
            sum(price.disk for price in prices) + SMALL_FILE * len(job.outputs),
            max((price.memory for price in prices), default=PROCESS),
            max((price.gpu_memory for price in prices), default=0.0),
            all(price.priced for price in prices),
        )

    # -- sizes ----------------------------------------------------------------------------------------------------------

    def _data(self, name: str) -> DataSize | None:
        return data_size(self.plan.experiment.datasets[name], self.plan.data_folder(name))

    def sizes(self, run: Run) -> tuple[DataSize, NetSize] | None:
        """Return the sizes of a run's data and network; None if one is not known."""
        data = self.data(run.dataset)
        net = self.nets.get(net_key(self.plan.experiment.architectures[run.architecture], data)) if data else None
        return (data, net) if data and net else None

    def _memory(self, data: DataSize, net: NetSize, batch: int, copies: int) -> tuple[float, float]:
        """Return the bytes on the machine and on the device; on a CPU the device is the machine."""
        device = 4 * (HELD * batch * net.activations + copies * net.weights) + data.bytes
        machine = PROCESS + 2 * data.bytes + 4 * copies * net.weights
        return (machine, device + CONTEXT) if self.plan.experiment.scale.device != "cpu" else (machine + device, 0.0)

    # -- runs -----------------------------------------------------------------------------------------------------------

    def _training(self, run: Run) -> Price:
        sizes = self.sizes(run)
        if sizes is None:
            return Price(priced=False)
        data, net = sizes
        weights = 4 * net.weights * sum(name.endswith(".safetensors") for name in self.plan.run_files(run))
        if run.recipe in self.plan.experiment.checkpoints:
            return Price(disk=weights)
        updates, probes = self.recipe_passes(run.recipe, run.eps, data)
        batch = min(self.plan.experiment.recipes[run.recipe].batch_size or data.train, data.train)
        machine, device = self._memory(data, net, batch, COPIES)
        work = (Work(updates, batch, net), Work(probes, MEASURING_BATCH, net))
        return Price(work, weights, machine, device)

    def _recipe_passes(self, name: str, eps: float, data: DataSize) -> tuple[float, float]:
        """Return the passes of a recipe's updates, and those of its probes and of the run's health."""
        experiment = self.plan.experiment
        recipe, task = experiment.recipes[name], Task(data.classes, data.coordinates)
        spec = experiment.attack(recipe.attack) if recipe.attack else None
        updates = sum(update_passes(recipe.in_force(e), spec, task, eps) for e in range(recipe.epochs)) * data.train
        attack = attack_passes(spec, task) if spec is not None and eps > 0 else 0.0
        batch = recipe.batch_size or data.train
        updates += recipe.epochs * min(recipe.recalibrate * batch, data.train) * (attack + 1)
        health = min(HEALTH_SAMPLES, data.train) + min(HEALTH_ATTACKED, data.train) * attack
        return updates, health + self._probes(recipe, eps, data, task)

    def _probes(self, recipe: Recipe, eps: float, data: DataSize, task: Task) -> float:
        total = 0.0
        for probe in recipe.probes.values():
            named = probe.parameters.get("attack")
            spec = self.plan.experiment.attack(named) if isinstance(named, str) else None
            there = data.train if probe.parameters.get("split") == "train" else data.test
            samples = min(probe.parameters.get("samples") or there, there)
            epochs = math.ceil(recipe.epochs / probe.every)
            total += epochs * samples * probe_passes(probe.name, probe.parameters, spec, task, eps)
        return total

    # -- measurements ---------------------------------------------------------------------------------------------------

    def _measurements(self, targets: Sequence[str]) -> list[Price]:
        """Return the prices of ``work/measurement run run ... work/measurement run ...``."""
        prices, work, name = [], "", ""
        for target in targets:
            if target in self.runs:
                entry = self.plan.studies[work].measurements[name]
                prices.append(self._measured(work, name, entry, self.runs[target]))
            else:
                work, _, name = target.partition("/")
        return prices

    def _measured(
        self, work: str, name: str, entry: Measurement | Comparison, run: Run, only: str | None = None
    ) -> Price:
        """Return the price of a measurement of a run; of its attacks, with ``only``, those of one argument."""
        found = self._input(work, name, run)
        if found is None:
            return Price(priced=False)
        measured, data, net = found
        if only is not None:
            kept = {key: v for key, v in measured.arguments.items() if key == only or not _attacks(v)}
            measured = Measured(**{**vars(measured), "arguments": kept})
        kind, function = kind_and_name(entry)
        passes = 0.0 if _reads_logs(kind, function) else measurement_passes(function, measured)
        machine, device = self._memory(data, net, MEASURING_BATCH, 2)
        batch = measured.batch if function in ("update_cost", "optimizer_cost", "replay") else MEASURING_BATCH
        return Price((Work(passes, batch, net),), 0.0, machine, device)

    def _input(self, work: str, name: str, run: Run) -> tuple[Measured, DataSize, NetSize] | None:
        sizes = self.sizes(run)
        if sizes is None:
            return None
        data, net = sizes
        experiment, task = self.plan.experiment, Task(data.classes, data.coordinates)
        recipe = experiment.recipes[run.recipe]
        spec = experiment.attack(recipe.attack) if recipe.attack else None
        update = update_passes(recipe.in_force(recipe.epochs - 1), spec, task, run.eps)
        batch = min(recipe.batch_size or data.train, data.train)
        return Measured(self.arguments(work, name), task, data.train, data.test, update, batch, run.eps), data, net

    def _comparison(self, work: str, name: str) -> Price:
        entry = self.plan.studies[work].comparisons[name]
        prices: list[Price] = []
        for group in self.plan.groups(work, name):
            if entry.compare == "hierarchical_robustness":
                prices += self._hierarchies(work, name, entry, group.runs)
                continue
            own = [self._measured(work, name, entry, run) for run in group.runs]
            if entry.compare in ATTACK_ONE:
                prices.append(max(own, key=lambda price: price.flop))
                own = [self._measured(work, name, entry, run, only="by") for run in group.runs]
            prices += own
        return Price(
            tuple(work for price in prices for work in price.work),
            0.0,
            max(price.memory for price in prices),
            max(price.gpu_memory for price in prices),
            all(price.priced for price in prices),
        )

    def _hierarchies(self, work: str, name: str, entry: Comparison, runs: list[Run]) -> list[Price]:
        """Return the prices of a flat network, and of one of parts, of which a step passes two."""
        flat = max(runs, key=lambda run: size.classes if (size := self.data(run.dataset)) else 0)
        whole = self._measured(work, name, entry, flat)
        parts = [sizes[1] for run in runs if run != flat and (sizes := self.sizes(run))]
        of_parts = [Price((Work(w.passes, w.batch, net),) * 2) for net in parts[:1] for w in whole.work]
        return [whole, *of_parts]


def _attacks(value: object) -> bool:
    """Return whether an argument is an attack or a suite, or several."""
    if isinstance(value, list | tuple):
        return any(_attacks(one) for one in value)
    return isinstance(value, AttackSpec) or hasattr(value, "attacks")


@functools.cache
def _reads_logs(kind: str, name: str) -> bool:
    return catalog.find_entry(kind, name).folder == "evaluation/logs"
