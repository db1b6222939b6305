"""What each job of a plan takes: operations, seconds at a rate, memory, disk. Imports no torch.

Estimates before anything has run: passes of each run and measurement (``passes``) times the operations of a pass of its network
(``sizes``), in batches. Batches so small that a GPU waits for the start of its kernels take as long as starting them.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustscape import catalog
from robustscape.config.experiment import Run, kind_and_name
from robustscape.config.recipes import Recipe
from robustscape.config.studies import Comparison, Measurement
from robustscape.errors import ConfigError
from robustscape.numbers import pretty_number
from robustscape.pipeline.cost.passes import (
    WEIGHT_GRADIENT,
    Measured,
    Task,
    attack_passes,
    choosing_passes,
    measurement_passes,
    meta_passes,
    probe_passes,
    targeted_passes,
    untargeted_passes,
    update_passes,
)
from robustscape.pipeline.cost.sizes import DataSize, NetSize, data_size, has_frozen_encoder, net_key, read_nets
from robustscape.pipeline.jobs import Job
from robustscape.pipeline.plan import Plan

#: Kernels of a layer in a pass: PreActResNet18 has 39 layers and starts 80 a pass.
KERNELS_OF_A_LAYER = 2.05

#: Samples of a pass where something is measured, on a GPU and on a CPU.
GPU_BATCH, CPU_BATCH = 500, 128

#: Seconds before a job computes: Python, torch, data.
START = 15.0

#: Samples that the health of a run is measured on: of the test split clean and attacked, and of the training split.
HEALTH_CLEAN, HEALTH_ROBUST, HEALTH_LOSS = 1000, 500, 250

#: Bytes of a process that has imported torch; of its context on a GPU; of a small file.
PROCESS, CONTEXT, SMALL_FILE = 3e9, 7e8, 2e4

#: Numbers that passes with gradients hold for each one that is kept for the gradients: it, and gradients and buffers in use.
HELD = 1.5

#: The same for training the last layer on an encoder that is frozen: nothing is kept, and a few layers are in use.
HELD_FROZEN = 0.2

#: Copies of the weights while they are trained: they, the gradient, the optimizer's, the selected and the last ones.
COPIES = 5


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


#: About half of what an H100 or H200 can do in fp32 (67 TFLOP/s), and a core of a CPU in fp32.
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

    @property
    def batch(self) -> int:
        """Samples of a pass where something is measured."""
        return CPU_BATCH if self.plan.experiment.scale.device == "cpu" else GPU_BATCH

    def _memory(self, data: DataSize, net: NetSize, batch: int, copies: int, held: float = HELD) -> tuple[float, float]:
        """Return the bytes on the machine and on the device; on a CPU the device is the machine."""
        device = 4 * (held * batch * net.activations + copies * net.weights) + data.bytes
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
        updates, probes = self.recipe_passes(run.recipe, run.eps, data, self._task(run, data))
        batch = min(self.plan.experiment.recipes[run.recipe].batch_size or data.train, data.train)
        # Health and probes are measured in batches of their own.
        machine, device = self._memory(data, net, batch, COPIES)
        if has_frozen_encoder(self.plan.experiment.architectures[run.architecture]):
            machine, device = self._memory(data, net, batch, COPIES, HELD_FROZEN)
        work = (Work(updates, batch, net), Work(probes, self.batch, net))
        return Price(work, weights, machine, device)

    def _task(self, run: Run, data: DataSize) -> Task:
        frozen = has_frozen_encoder(self.plan.experiment.architectures[run.architecture])
        return Task(data.classes, data.coordinates, 1.0 if frozen else WEIGHT_GRADIENT)

    def _recipe_passes(self, name: str, eps: float, data: DataSize, task: Task) -> tuple[float, float]:
        """Return the passes of a recipe's updates, and those of its probes and of the run's health."""
        experiment = self.plan.experiment
        recipe = experiment.recipes[name]
        spec = experiment.attack(recipe.attack) if recipe.attack else None
        updates = sum(update_passes(recipe.in_force(e), spec, task, eps) for e in range(recipe.epochs)) * data.train
        attack = attack_passes(spec, task) if spec is not None and eps > 0 else 0.0
        batch = recipe.batch_size or data.train
        updates += recipe.epochs * min(recipe.recalibrate * batch, data.train) * (attack + 1)
        attacked = (min(HEALTH_ROBUST, data.test) if spec else 0) + min(HEALTH_LOSS, data.train)
        health = min(HEALTH_CLEAN, data.test) + attacked * (attack + 1)
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

    def _measured(self, work: str, name: str, entry: Measurement | Comparison, run: Run) -> Price:
        """Return the price of a measurement of a run."""
        kind, function = kind_and_name(entry)
        if _reads_logs(kind, function):
            return Price()
        batched = function in (
            "update_cost",
            "optimizer_cost",
            "replay",
            "replay_surfaces",
            "second_order_step",
            "bezier",
        )
        return self._asked(work, name, run, lambda m: measurement_passes(function, m), own_batch=batched)

    def _asked(
        self, work: str, name: str, run: Run, passes: Callable[[Measured], float], *, own_batch: bool = False
    ) -> Price:
        """Return the price of some passes of a run's network; in batches of its training with ``own_batch``."""
        sizes = self.sizes(run)
        if sizes is None:
            return Price(priced=False)
        data, net = sizes
        machine, device = self._memory(data, net, self.batch, 2)
        measured = self._input(work, name, run, data)
        batch = measured.batch if own_batch else self.batch
        return Price((Work(passes(measured), batch, net),), 0.0, machine, device)

    def _input(self, work: str, name: str, run: Run, data: DataSize) -> Measured:
        """Return what the passes of a measurement of a run depend on."""
        experiment, task = self.plan.experiment, self._task(run, data)
        recipe = experiment.recipes[run.recipe]
        spec = experiment.attack(recipe.attack) if recipe.attack else None
        now = recipe.in_force(max(recipe.epochs - 1, 0))
        return Measured(
            self.arguments(work, name),
            task,
            data.train,
            data.test,
            update_passes(now, spec, task, run.eps),
            recipe.batch_size or data.train,
            run.eps,
            now.optimizer.parameters.get("inner_steps", 1),
        )

    # -- comparisons ----------------------------------------------------------------------------------------------------

    def _comparison(self, work: str, name: str) -> Price:
        entry = self.plan.studies[work].comparisons[name]
        prices = [
            price for group in self.plan.groups(work, name) for price in self._group(work, name, entry, group.runs)
        ]
        return Price(
            tuple(work for price in prices for work in price.work),
            0.0,
            max((price.memory for price in prices), default=PROCESS),
            max((price.gpu_memory for price in prices), default=0.0),
            all(price.priced for price in prices),
        )

    def _group(self, work: str, name: str, entry: Comparison, runs: list[Run]) -> list[Price]:
        """Return the prices of a comparison of some runs."""

        def asked(of: Iterable[Run], passes: Callable[[Measured], float]) -> list[Price]:
            return [self._asked(work, name, run, passes) for run in of]

        match entry.compare:
            case "bezier":  # between two runs
                return [self._measured(work, name, entry, run) for run in runs[:1]]
            case "optimizer_cost":  # of the first run of each recipe
                first = {(run.dataset, run.recipe): run for run in reversed(runs)}
                return [self._measured(work, name, entry, run) for run in first.values()]
            case "hierarchical_robustness":
                return self._hierarchies(work, name, runs)
            case "chosen_hierarchical_robustness":
                swept = asked(runs, choosing_passes) if len({run.recipe for run in runs}) > 1 else []
                one = next((own for own in _by_recipe(runs).values()), [])
                return swept + [
                    price
                    for seed in sorted({run.seed for run in one})
                    for price in self._hierarchies(work, name, [run for run in one if run.seed == seed])
                ]
            case "best_robust_accuracies":
                every = asked(runs, lambda m: m.samples + m.attacked * m.each("attacks"))
                return every + asked(self._chosen(runs)[0], lambda m: m.attacked * m.together("suite"))
            case "chosen_each_attack":
                chosen, swept_runs = self._chosen(runs)
                found = asked(chosen, lambda m: m.samples + m.attacked * m.each("suite"))
                return found + asked(swept_runs, choosing_passes)
            case "blackbox_accuracy" | "transferred_accuracy":
                return self._transfer(entry, runs, asked)
        return [self._measured(work, name, entry, run) for run in runs]

    def _transfer(
        self,
        entry: Comparison,
        runs: list[Run],
        asked: Callable[[Iterable[Run], Callable[[Measured], float]], list[Price]],
    ) -> list[Price]:
        """Return the prices of examples that are made on sources, one batch a budget, and shown to all other runs."""
        sources = [run for run in runs if run.recipe == entry.parameters["source"]]
        targets = [run for run in runs if run not in sources]
        chosen, swept = self._chosen(targets) if entry.compare == "transferred_accuracy" else (targets, [])
        made_on = sources if entry.compare == "transferred_accuracy" else sources[:1]
        own = entry.parameters.get("eps", "run") == "run"
        budgets = len({run.eps for run in chosen if run.eps > 0}) if own else 1

        def made(m: Measured) -> float:
            return budgets * m.samples * attack_passes(m.arguments["attack"], m.task)

        shown = asked(chosen, lambda m: len(made_on) * m.samples)
        return asked(made_on, made) + shown + asked(swept, choosing_passes)

    def _chosen(self, runs: list[Run]) -> tuple[list[Run], list[Run]]:
        """Return the runs of one setting of each method, and those of the methods that have several, which are compared.

        As in ``evaluation.method_names``: a method is known by data set, architecture, its name, start and attack, and eps.
        """
        groups: dict[tuple[object, ...], list[Run]] = {}
        for run in runs:
            recipe = self.plan.experiment.recipes[run.recipe]
            now = recipe.in_force(max(recipe.epochs - 1, 0))
            attack = recipe.attack if now.method == "adversarial" else None
            place = (run.dataset, run.architecture, now.method, attack, now.parameters.get("init"), run.eps)
            groups.setdefault(place, []).append(run)
        settings = [_by_recipe(own) for own in groups.values()]
        chosen = [run for recipes in settings for run in next(iter(recipes.values()))]
        swept = [run for recipes in settings if len(recipes) > 1 for own in recipes.values() for run in own]
        return chosen, swept

    def _hierarchies(self, work: str, name: str, runs: list[Run]) -> list[Price]:
        """Return the prices of a flat network, and of one of parts: all are passed untargeted, two towards a target."""
        flat = max(runs, key=lambda run: size.classes if (size := self.data(run.dataset)) else 0)
        prices = [self._asked(work, name, flat, lambda m: untargeted_passes(m) + targeted_passes(m))]
        parts = [sizes[1] for run in runs if run != flat and (sizes := self.sizes(run))]
        sizes = self.sizes(flat)
        if sizes is None or not parts:
            return prices
        m = self._input(work, name, flat, sizes[0])
        passes = [untargeted_passes(m)] * len(parts)
        passes[0] += targeted_passes(m) + meta_passes(m)
        passes[1] += targeted_passes(m)
        of_parts = tuple(Work(p, self.batch, net) for p, net in zip(passes, parts, strict=True))
        return [*prices, Price(of_parts, 0.0, prices[0].memory, prices[0].gpu_memory)]


def _by_recipe(runs: Iterable[Run]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.recipe, []).append(run)
    return found


@functools.cache
def _reads_logs(kind: str, name: str) -> bool:
    return catalog.find_entry(kind, name).folder == "evaluation/logs"
