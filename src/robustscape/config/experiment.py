"""The configuration resolved for one scale: runs, their settings, sizes of measurements.

Imports no torch: planning must be quick.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from robustscape import catalog
from robustscape.config.alignments import NamedRun, runs_read
from robustscape.config.architectures import ArchitectureEntry
from robustscape.config.attacks import AttackSpec, Suite, SuiteSpec
from robustscape.config.datasets import DatasetEntry
from robustscape.config.recipes import Recipe
from robustscape.config.scales import Scale
from robustscape.config.studies import Comparison, Measurement, RunSet, Study, Theory
from robustscape.errors import ConfigError, unknown_name
from robustscape.numbers import number_label, pretty_number

#: Keys of a recipe that change nothing in how it trains.
_NOT_TRAINING = {"about", "extends", "variants", "factors"}


@dataclass(frozen=True, order=True)
class Run:
    """One trained model: what really runs at this scale, stand-ins included."""

    dataset: str
    architecture: str
    recipe: str
    eps: float
    seed: int

    @property
    def key(self) -> str:
        """Its folder below ``models/`` (contract 2)."""
        return f"{self.dataset}/{self.architecture}/{self.recipe}/eps{number_label(self.eps)}/seed{self.seed}"


@dataclass(frozen=True)
class Planned:
    """A run and what the work calls it."""

    run: Run
    dataset: str
    architecture: str
    eps: float
    own_protocol: bool
    """True if data set, architecture, eps and training length are the work's own."""
    checkpoint: str | None = None
    """Name of the file of weights, where they come from outside."""

    @property
    def stand_in(self) -> str:
        """The stand-ins in words, `digits for mnist, ...`; empty if there are none."""
        pairs = (
            (self.run.dataset, self.dataset),
            (self.run.architecture, self.architecture),
            (f"eps {pretty_number(self.run.eps)}", f"eps {pretty_number(self.eps)}"),
            *([(f"weights from outside ({self.checkpoint})", "training here")] if self.checkpoint else []),
        )
        return ", ".join(f"{own} for {theirs}" for own, theirs in pairs if own != theirs)


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights from outside that a run list names: where it is, and the SHA-256 of its content."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Experiment:
    """Every file of ``config/``, at one scale."""

    folder: Path
    paper: Path
    scale_name: str
    scale: Scale
    attacks: dict[str, AttackSpec]
    suites: dict[str, SuiteSpec]
    datasets: dict[str, DatasetEntry]
    architectures: dict[str, ArchitectureEntry]
    recipes: dict[str, Recipe]
    studies: dict[str, Study]
    full_recipes: dict[str, Recipe]
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    """By the name that a run list gives them in place of a recipe's; ``recipes`` has it too, and says nothing there."""

    def with_seeds(self, most: int | None) -> Experiment:
        """The experiment with at most so many seeds of every run list, if that is fewer than the scale's; None: as it is."""
        if most is None:
            return self
        stand_ins = {
            pattern: one.model_copy(update={"seeds": min(one.seeds, most)}) if one.seeds else one
            for pattern, one in self.scale.stand_ins.items()
        }
        changes = {"seeds": min(self.scale.seeds or most, most), "stand_ins": stand_ins}
        return replace(self, scale=self.scale.model_copy(update=changes))

    # -- names -> entries ---------------------------------------------------------------------------------------------

    def attack(self, name: str) -> AttackSpec:
        """An entry of config/attacks/."""
        if name not in self.attacks:
            raise unknown_name("attack of config/attacks/", name, self.attacks, "`robustscape list protocols`")
        return self.attacks[name]

    def suite(self, name: str) -> Suite:
        """An entry of suites.yaml, its attacks looked up."""
        if name not in self.suites:
            raise unknown_name("suite", name, self.suites, "`robustscape list suites`")
        return Suite(name=name, attacks=tuple((n, self.attack(n)) for n in self.suites[name].attacks))

    def arguments(self, kind: str, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Keyword arguments for a catalogue function: names of attacks and suites replaced by what they stand for."""
        references = catalog.find_entry(kind, name).references
        resolved = dict(parameters)
        for key, what in references.items():
            value = parameters.get(key)
            look_up = self.attack if what == "AttackSpec" else self.suite
            if isinstance(value, str):
                resolved[key] = look_up(value)
            elif isinstance(value, (list, tuple)):
                resolved[key] = [look_up(v) for v in value]
        return resolved

    # -- runs ---------------------------------------------------------------------------------------------------------

    def runs(self, work: str, name: str) -> list[Planned]:
        """The runs behind the name of a run list of a study, at this scale."""
        datasets, architectures = dict(self.scale.datasets), dict(self.scale.architectures)
        eps_stand_ins: dict[float, float] = {}
        limit = self.scale.seeds
        for pattern, stand_ins in self.scale.stand_ins.items():
            if fnmatchcase(f"{work}/{name}", pattern):
                datasets |= stand_ins.datasets
                architectures |= stand_ins.architectures
                eps_stand_ins |= stand_ins.eps
                limit = stand_ins.seeds or limit
        found = []
        for run_set in self.studies[work].runs[name]:
            if run_set.checkpoint is not None:
                found.append(self._outside_run(run_set))
                continue
            dataset = datasets.get(run_set.dataset, run_set.dataset)
            architecture = architectures.get(run_set.architecture, run_set.architecture)
            for recipe, eps in itertools.product(run_set.recipe, run_set.eps):
                used = eps_stand_ins.get(eps, eps)
                own = (dataset, architecture, used) == (run_set.dataset, run_set.architecture, eps)
                own = own and self.recipes[recipe] == self.full_recipes[recipe]
                for seed in run_set.seeds if limit is None else run_set.seeds[: max(limit, run_set.least_seeds)]:
                    run = Run(dataset, architecture, recipe, used, seed)
                    found.append(Planned(run, run_set.dataset, run_set.architecture, eps, own))
        return found

    def _outside_run(self, run_set: RunSet) -> Planned:
        """The run whose weights come from outside: nothing stands in for what they were made for, and it reproduces nothing."""
        run = Run(run_set.dataset, run_set.architecture, run_set.recipe[0], run_set.eps[0], run_set.seeds[0])
        name = Path(str(run_set.checkpoint)).name
        return Planned(run, run.dataset, run.architecture, run.eps, own_protocol=False, checkpoint=name)

    def recipe_names(self, work: str, lists: Iterable[str]) -> set[str]:
        """The recipes of some run lists of a study."""
        return {name for runs in lists for run_set in self.studies[work].runs[runs] for name in run_set.recipe}

    @functools.cached_property
    def factors(self) -> dict[str, dict[str, Any]]:
        """Recipe -> what items call it: a column -> its value, with the work's own numbers at every scale."""
        return {name: recipe.factors for name, recipe in self.full_recipes.items()}

    def recorded_run(self, run: Run) -> Run | None:
        """The run whose history this one's eps schedule reads; None if it reads none."""
        recipe = self.recipes[run.recipe].eps_schedule.recipe
        return replace(run, recipe=recipe) if recipe else None

    def aligned_runs(self, run: Run) -> tuple[Run, ...]:
        """The runs that this one reads the weights of, the source that it starts from first; () for all but alignments.

        Raises:
            ConfigError: one of them is not among the runs of the studies, or two architectures have that recipe and seed.
        """
        return tuple(self._named_run(run, named) for named in runs_read(self.recipes[run.recipe]))

    def _named_run(self, reader: Run, named: NamedRun) -> Run:
        found = sorted(self._runs_by_name.get((reader.dataset, named), ()))
        if len(found) != 1:
            there = "which is not among the runs" if not found else f"which is that of {len(found)} runs"
            raise ConfigError(
                f"run {reader.key} reads a run of recipe '{named.recipe}' on '{reader.dataset}' with seed {named.seed}, {there} "
                "of the studies; list it once among the runs."
            )
        return found[0]

    @functools.cached_property
    def _runs_by_name(self) -> dict[tuple[str, NamedRun], set[Run]]:
        """Every run of every study by data set, recipe and seed."""
        found: dict[tuple[str, NamedRun], set[Run]] = {}
        for work, study in self.studies.items():
            for name in study.runs:
                for planned in self.runs(work, name):
                    run = planned.run
                    found.setdefault((run.dataset, NamedRun(run.recipe, run.seed)), set()).add(run)
        return found

    def run_config(self, run: Run) -> dict[str, Any]:
        """Everything that determines a run's result, the code and the data's content aside; JSON-ready."""
        recipe = self.recipes[run.recipe]
        attacks = {
            name: self.attack(name).model_dump(mode="json", exclude={"about"})
            for name in sorted(recipe_attacks(recipe))
        }
        source, trained_by = self.recorded_run(run), recipe.model_dump(mode="json", exclude=_NOT_TRAINING)
        aligned = self.aligned_runs(run)
        if run.recipe in self.checkpoints:
            trained_by |= {
                "method": None,
                "optimizer": {"name": None, "parameters": {}},
                "epochs": 0,
                "batch_size": None,
            }
            trained_by["checkpoint"] = self.checkpoints[run.recipe].sha256
        return {
            **({"recorded": self.run_config(source)} if source else {}),
            **({"aligned": [self.run_config(read) for read in aligned]} if aligned else {}),
            "dataset": {"name": run.dataset, **self.datasets[run.dataset].model_dump(mode="json", exclude={"about"})},
            "architecture": {
                "name": run.architecture,
                **self.architectures[run.architecture].model_dump(mode="json", exclude={"about"}),
            },
            "recipe": {"name": run.recipe, **trained_by},
            "attacks": attacks,
            "eps": run.eps,
            "seed": run.seed,
        }

    # -- measurements ---------------------------------------------------------------------------------------------------

    def sized(self, work: str, name: str, entry: Measurement | Comparison | Theory) -> tuple[dict[str, Any], bool]:
        """Parameters of a measurement at this scale, and whether the scale changed any."""
        accepted = catalog.find_entry(*kind_and_name(entry)).parameters.model_fields
        parameters = dict(entry.parameters)
        for pattern, sizes in self.scale.measurements.items():
            if fnmatchcase(f"{work}/{name}", pattern):
                changes = sizes.model_dump(exclude_none=True)
                parameters.update({key: value for key, value in changes.items() if key in accepted})
        return parameters, parameters != entry.parameters


def kind_and_name(entry: Measurement | Comparison | Theory) -> tuple[str, str]:
    """The catalogue entry that a stanza of a study names."""
    match entry:
        case Measurement():
            return "measurement", entry.measure
        case Comparison():
            return "comparison", entry.compare
        case Theory():
            return "theory", entry.check


def recipe_attacks(recipe: Recipe) -> set[str]:
    """Names of the attacks a recipe uses, for training and in its probes."""
    names = {recipe.attack} if recipe.attack else set()
    for probe in recipe.probes.values():
        for key, what in catalog.find_entry("probe", probe.name).references.items():
            if what == "AttackSpec" and probe.parameters.get(key):
                names.add(probe.parameters[key])
    return names
