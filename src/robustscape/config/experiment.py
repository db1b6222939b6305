"""The whole configuration, read, cross-checked and resolved for one scale. Imports no torch: planning must be quick."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from robustscape import catalog
from robustscape.config.architectures import ArchitectureEntry
from robustscape.config.attacks import AttackSpec, Suite, SuiteSpec
from robustscape.config.base import check_name, read, read_mapping, read_yaml, validate
from robustscape.config.datasets import DatasetEntry
from robustscape.config.recipes import Probe, Recipe, RecipeSizes, TracedUpdates
from robustscape.config.scales import Scale, StandIns
from robustscape.config.studies import Comparison, Measurement, Part, Study, Theory
from robustscape.errors import ConfigError, unknown
from robustscape.numbers import label


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
        return f"{self.dataset}/{self.architecture}/{self.recipe}/eps{label(self.eps)}/seed{self.seed}"


@dataclass(frozen=True)
class Planned:
    """A run and what the work calls it."""

    run: Run
    dataset: str
    architecture: str
    eps: float
    own_protocol: bool
    """Whether the run is the work's own: its data set, architecture, radius and training length."""

    @property
    def stand_in(self) -> str:
        """What stood in for what, in words; empty if nothing did."""
        pairs = (
            (self.run.dataset, self.dataset),
            (self.run.architecture, self.architecture),
            (f"eps {label(self.run.eps).replace('_', '/')}", f"eps {label(self.eps).replace('_', '/')}"),
        )
        return ", ".join(f"{own} for {theirs}" for own, theirs in pairs if own != theirs)


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

    # -- names -> entries ---------------------------------------------------------------------------------------------

    def attack(self, name: str) -> AttackSpec:
        """An entry of config/attacks/."""
        if name not in self.attacks:
            raise unknown("attack of config/attacks/", name, self.attacks)
        return self.attacks[name]

    def suite(self, name: str) -> Suite:
        """An entry of suites.yaml, its attacks looked up."""
        if name not in self.suites:
            raise unknown("suite", name, self.suites)
        return Suite(name=name, attacks=tuple((n, self.attack(n)) for n in self.suites[name].attacks))

    def arguments(self, kind: str, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Keyword arguments for a catalogue function: names of attacks and suites replaced by what they stand for."""
        references = catalog.find(kind, name).references
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
        radii: dict[float, float] = {}
        limit = self.scale.seeds
        for pattern, stand_ins in self.scale.stand_ins.items():
            if fnmatchcase(f"{work}/{name}", pattern):
                datasets |= stand_ins.datasets
                architectures |= stand_ins.architectures
                radii |= stand_ins.eps
                limit = stand_ins.seeds or limit
        found = []
        for run_set in self.studies[work].runs[name]:
            dataset = datasets.get(run_set.dataset, run_set.dataset)
            architecture = architectures.get(run_set.architecture, run_set.architecture)
            same = self.recipes[run_set.recipe] == self.full_recipes[run_set.recipe]
            for eps in run_set.eps:
                used = radii.get(eps, eps)
                own = same and (dataset, architecture, used) == (run_set.dataset, run_set.architecture, eps)
                for seed in run_set.seeds[:limit]:
                    run = Run(dataset, architecture, run_set.recipe, used, seed)
                    found.append(Planned(run, run_set.dataset, run_set.architecture, eps, own))
        return found

    def recorded_run(self, run: Run) -> Run | None:
        """The run whose history this one's eps schedule reads; None if it reads none."""
        recipe = self.recipes[run.recipe].eps_schedule.recipe
        return replace(run, recipe=recipe) if recipe else None

    def run_config(self, run: Run) -> dict[str, Any]:
        """Everything that determines a run's result, the code and the data's content aside; JSON-ready."""
        recipe = self.recipes[run.recipe]
        attacks = {
            name: self.attack(name).model_dump(mode="json", exclude={"about"})
            for name in sorted(recipe_attacks(recipe))
        }
        source = self.recorded_run(run)
        return {
            **({"recorded": self.run_config(source)} if source else {}),
            "dataset": {"name": run.dataset, **self.datasets[run.dataset].model_dump(mode="json", exclude={"about"})},
            "architecture": {
                "name": run.architecture,
                **self.architectures[run.architecture].model_dump(mode="json", exclude={"about"}),
            },
            "recipe": {"name": run.recipe, **recipe.model_dump(mode="json", exclude={"about", "extends"})},
            "attacks": attacks,
            "eps": run.eps,
            "seed": run.seed,
        }

    # -- measurements ---------------------------------------------------------------------------------------------------

    def sized(self, work: str, name: str, entry: Measurement | Comparison | Theory) -> tuple[dict[str, Any], bool]:
        """Parameters of a measurement at this scale, and whether the scale changed any."""
        accepted = catalog.find(*kind_and_name(entry)).parameters.model_fields
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
        for key, what in catalog.find("probe", probe.name).references.items():
            if what == "AttackSpec" and probe.parameters.get(key):
                names.add(probe.parameters[key])
    return names


# -- reading ------------------------------------------------------------------------------------------------------------


def _merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """``own`` over ``base``; nested mappings merge, but a mapping that names another function replaces its parameters."""
    merged = dict(base)
    for key, value in own.items():
        old = merged.get(key)
        renamed = (
            isinstance(value, dict) and isinstance(old, dict) and value.get("name", old.get("name")) != old.get("name")
        )
        merged[key] = _merge(old, value) if isinstance(value, dict) and isinstance(old, dict) and not renamed else value
    return merged


def _read_recipes(folder: Path) -> dict[str, Recipe]:
    raw = {check_name(path.stem, str(path)): read_yaml(path) for path in sorted(folder.glob("*.yaml"))}

    def complete(name: str, chain: tuple[str, ...]) -> dict[str, Any]:
        content = raw[name]
        parent = content.get("extends")
        if parent is None:
            return content
        if parent not in raw:
            raise ConfigError(f"{folder / name}.yaml: {unknown('recipe in extends', str(parent), raw)}")
        if parent in chain:
            raise ConfigError(
                f"{folder / name}.yaml: recipes extend each other in a circle: {' -> '.join([*chain, parent])}."
            )
        inherited = complete(parent, (*chain, parent))
        if "method" in content and content["method"] != inherited.get("method"):
            inherited = {key: value for key, value in inherited.items() if key != "parameters"}
        return _merge(inherited, content)

    return {name: validate(Recipe, complete(name, (name,)), f"{folder / name}.yaml") for name in raw}


def _read_attacks(folder: Path) -> dict[str, AttackSpec]:
    """The attacks of every file in the folder; a name belongs to one file only."""
    found: dict[str, AttackSpec] = {}
    for path in sorted(folder.glob("*.yaml")):
        for name, spec in read_mapping(AttackSpec, path).items():
            if name in found:
                raise ConfigError(f"{path}: attack '{name}' is also in another file of {folder}; give it another name.")
            found[name] = spec
    return found


def _read_studies(folder: Path) -> dict[str, Study]:
    """The studies by work; a folder beside a study's file holds its other parts."""
    studies = {}
    for path in sorted(folder.glob("*.yaml")):
        raw = read_yaml(path)
        for part in sorted((folder / path.stem).glob("*.yaml")):
            for section, entries in read(Part, part).model_dump(exclude_unset=True).items():
                twice = sorted(set(entries) & set(raw.get(section) or {}))
                if twice:
                    raise ConfigError(f"{part}: {section}: {twice} are also in another file of this study.")
                raw[section] = {**(raw.get(section) or {}), **entries}
        study = validate(Study, raw, str(path))
        if study.work != path.stem:
            raise ConfigError(f"{path}: key 'work' got '{study.work}', allowed is the file's name.")
        for key in [*study.runs, *study.measurements, *study.comparisons, *study.theory, *study.items]:
            check_name(key, str(path))
        studies[path.stem] = study
    return studies


def _resize_probe(probe: Probe, sizes: dict[str, int | None]) -> Probe:
    changes = {key: size for key, size in sizes.items() if size is not None and key in probe.parameters}
    return probe.model_copy(update={"parameters": {**probe.parameters, **changes}})


def _resize(name: str, recipe: Recipe, sizes: dict[str, RecipeSizes]) -> Recipe:
    for pattern, size in sizes.items():
        if fnmatchcase(name, pattern):
            changes = size.model_dump(
                exclude_none=True, exclude={"probe_samples", "probe_points", "traced_updates", "augmentation"}
            )
            if size.augmentation is not None:
                changes["augmentation"] = size.augmentation
            if size.traced_updates is not None:
                first, last = recipe.traced_updates.first, recipe.traced_updates.last
                changes["traced_updates"] = TracedUpdates(
                    first=None if first is None else min(first, size.traced_updates),
                    last=min(last, size.traced_updates),
                )
            fewer = {"samples": size.probe_samples, "points": size.probe_points}
            changes["probes"] = {key: _resize_probe(probe, fewer) for key, probe in recipe.probes.items()}
            recipe = recipe.model_copy(update=changes)
    return recipe


def _check(experiment: Experiment) -> None:
    """Everything that only shows when the files are read together."""
    folder = experiment.folder
    for name, suite in experiment.suites.items():
        for attack in suite.attacks:
            _within(f"{folder}/suites.yaml: '{name}'", lambda attack=attack: experiment.attack(attack))
    for name, recipe in experiment.recipes.items():
        schedule = recipe.eps_schedule
        if recipe.lr_schedule.recipe:
            raise ConfigError(
                f"{folder}/recipes/{name}.yaml: lr_schedule got 'recorded', which eps_schedule alone can be."
            )
        if schedule.recipe and schedule.recipe not in experiment.recipes:
            problem = unknown("recipe in eps_schedule", schedule.recipe, experiment.recipes)
            raise ConfigError(f"{folder}/recipes/{name}.yaml: {problem}")
        for attack in sorted(recipe_attacks(recipe)):
            _within(f"{folder}/recipes/{name}.yaml", lambda attack=attack: experiment.attack(attack))
    scale = f"{folder}/scales/{experiment.scale_name}.yaml"
    everywhere = StandIns(datasets=experiment.scale.datasets, architectures=experiment.scale.architectures)
    for stand_ins in (everywhere, *experiment.scale.stand_ins.values()):
        for name in stand_ins.datasets.values():
            if name not in experiment.datasets:
                raise ConfigError(f"{scale}: {unknown('data set of config/datasets.yaml', name, experiment.datasets)}")
        for name in stand_ins.architectures.values():
            if name not in experiment.architectures:
                problem = unknown("architecture of config/architectures.yaml", name, experiment.architectures)
                raise ConfigError(f"{scale}: {problem}")
    lists = [f"{work}/{name}" for work, study in experiment.studies.items() for name in study.runs]
    for pattern in experiment.scale.stand_ins:
        if not any(fnmatchcase(name, pattern) for name in lists):
            raise ConfigError(f"{scale}: stand_ins: {unknown('run list pattern', pattern, lists)}")
    for pattern in experiment.scale.recipes:
        if not any(fnmatchcase(name, pattern) for name in experiment.recipes):
            raise ConfigError(f"{scale}: recipes: {unknown('recipe pattern', pattern, experiment.recipes)}")
    known = [
        f"{work}/{name}"
        for work, study in experiment.studies.items()
        for name in [*study.measurements, *study.comparisons, *study.theory]
    ]
    for pattern in experiment.scale.measurements:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ConfigError(f"{scale}: measurements: {unknown('measurement pattern', pattern, known)}")
    for study in experiment.studies.values():
        _check_study(experiment, study)


def _check_study(experiment: Experiment, study: Study) -> None:
    where = f"{experiment.folder}/studies/{study.work}.yaml"
    for name, run_sets in study.runs.items():
        for run_set in run_sets:
            if run_set.recipe not in experiment.recipes:
                raise ConfigError(f"{where}: runs '{name}': {unknown('recipe', run_set.recipe, experiment.recipes)}")
            recipe = experiment.recipes[run_set.recipe]
            if recipe.attack is None and any(run_set.eps):
                raise ConfigError(
                    f"{where}: runs '{name}': recipe '{run_set.recipe}' has no attack, so eps must be 0, got {run_set.eps}."
                )
        for planned in experiment.runs(study.work, name):
            run = planned.run
            if run.dataset not in experiment.datasets:
                raise ConfigError(f"{where}: runs '{name}': {unknown('data set', run.dataset, experiment.datasets)}")
            source = experiment.recorded_run(run)
            if source and source not in {p.run for other in study.runs for p in experiment.runs(study.work, other)}:
                raise ConfigError(
                    f"{where}: runs '{name}': recipe '{run.recipe}' reads the history of a run of '{source.recipe}' "
                    f"with the same data set, architecture, eps and seed, which is not among the study's runs."
                )
            if run.architecture not in experiment.architectures:
                problem = unknown("architecture", run.architecture, experiment.architectures)
                raise ConfigError(f"{where}: runs '{name}': {problem}")
    entries: dict[str, Measurement | Comparison] = {**study.measurements, **study.comparisons}
    for name, entry in entries.items():
        parameters, _ = experiment.sized(study.work, name, entry)
        kind, function = kind_and_name(entry)
        _within(
            f"{where}: measurement '{name}'",
            lambda k=kind, f=function, p=parameters: experiment.arguments(k, f, p),
        )
    for name, item in study.items.items():
        if item.printed and not (experiment.paper / f"{item.printed}.csv").exists():
            there = [path.stem for path in experiment.paper.glob("*.csv")]
            raise ConfigError(f"{where}: item '{name}': {unknown('file of resources/paper', item.printed, there)}")


def _within(where: str, action: Any) -> None:
    """Run a check; put the file and key before its sentence."""
    try:
        action()
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


@functools.cache
def load(folder: Path, scale_name: str, paper: Path | None = None) -> Experiment:
    """Read and check the configuration in ``folder`` for a scale.

    Args:
        folder: ``config/``.
        scale_name: name of a file in ``config/scales/``.
        paper: folder of the printed numbers; ``resources/paper`` beside ``folder`` by default.

    Raises:
        ConfigError: with the file, the key, what it got and what is allowed.
    """
    if not folder.is_dir():
        raise ConfigError(f"there is no configuration folder '{folder}'; run from the project's root or give --config.")
    scales = {path.stem for path in (folder / "scales").glob("*.yaml")}
    if scale_name not in scales:
        raise unknown("scale", scale_name, scales)
    scale = read(Scale, folder / "scales" / f"{scale_name}.yaml")
    studies = _read_studies(folder / "studies")
    full = _read_recipes(folder / "recipes")
    experiment = Experiment(
        folder=folder,
        paper=paper or folder.parent / "resources" / "paper",
        scale_name=scale_name,
        scale=scale,
        attacks=_read_attacks(folder / "attacks"),
        suites=read_mapping(SuiteSpec, folder / "suites.yaml"),
        datasets=read_mapping(DatasetEntry, folder / "datasets.yaml"),
        architectures=read_mapping(ArchitectureEntry, folder / "architectures.yaml"),
        recipes={name: _resize(name, recipe, scale.recipes) for name, recipe in full.items()},
        full_recipes=full,
        studies=studies,
    )
    _check(experiment)
    return experiment
