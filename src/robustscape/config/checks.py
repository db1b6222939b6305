"""Checks across the files of ``config/``: names exist, patterns match something, runs can be trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from robustscape import catalog
from robustscape.config.base import read_yaml
from robustscape.config.experiment import Experiment, Run, kind_and_name, recipe_attacks
from robustscape.config.scales import Scale, StandIns
from robustscape.config.sizing import RECIPE_TAKES
from robustscape.config.studies import Comparison, Measurement, Study
from robustscape.errors import ConfigError, unknown_name

#: Folders of the catalogue whose measurements read the logs of training, or train again from what it has kept.
READS_LOGS = ("evaluation/logs", "training")


#: What shows the names of all recipes.
_RECIPES = "`robustscape list recipes`"


def check_experiment(experiment: Experiment) -> None:
    """Refuse what only shows when the files are read together."""
    for name, suite in experiment.suites.items():
        for attack in suite.attacks:
            _within(f"{_config_file(experiment, 'suites.yaml', name)}: '{name}'", partial(experiment.attack, attack))
    for name, recipe in experiment.recipes.items():
        schedule = recipe.eps_schedule
        file = f"recipes/{name.partition('-')[0]}.yaml"
        where = f"{_config_file(experiment, file)}: '{name}'"
        if recipe.lr_schedule.recipe:
            raise ConfigError(f"{where}: lr_schedule got 'recorded', which eps_schedule alone can be.")
        if schedule.recipe and schedule.recipe not in experiment.recipes:
            problem = unknown_name("recipe in eps_schedule", schedule.recipe, experiment.recipes, _RECIPES)
            raise ConfigError(f"{where}: {problem}")
        for attack in sorted(recipe_attacks(recipe)):
            _within(where, partial(experiment.attack, attack))
    _check_scale(experiment)
    folders: dict[str, Run] = {}
    for study in experiment.studies.values():
        _check_study(experiment, study, folders)


def _config_file(experiment: Experiment, name: str, key: str = "") -> Path:
    """The file of the project's configuration, or else of a plug-in's, that is called ``name`` and has the key."""
    files = [folder / name for folder in (experiment.folder, *catalog.config_folders()) if (folder / name).is_file()]
    if key and len(files) > 1:
        files = [path for path in files if key in read_yaml(path)]
    return files[0] if files else experiment.folder / name


def _check_scale(experiment: Experiment) -> None:
    scale = experiment.scale
    everywhere = StandIns(datasets=scale.datasets, architectures=scale.architectures)
    for pattern, stand_ins in {"": everywhere, **scale.stand_ins}.items():
        file = scale.file_of(pattern)
        for name in stand_ins.datasets.values():
            if name not in experiment.datasets:
                problem = unknown_name("data set of config/datasets.yaml", name, experiment.datasets, "that file")
                raise ConfigError(f"{file}: {problem}")
        for name in stand_ins.architectures.values():
            if name not in experiment.architectures:
                problem = unknown_name(
                    "architecture of config/architectures.yaml", name, experiment.architectures, "that file"
                )
                raise ConfigError(f"{file}: {problem}")
    studies = experiment.studies.items()
    lists = [f"{work}/{name}" for work, study in studies for name in study.runs]
    measured = [f"{work}/{name}" for work, study in studies for name in study.sources]
    _check_patterns(scale, "stand_ins", scale.stand_ins, "run list pattern", lists)
    _check_patterns(scale, "recipes", scale.recipes, "recipe pattern", experiment.recipes)
    _check_patterns(scale, "measurements", scale.measurements, "measurement pattern", measured)
    _check_sizes_are_taken(experiment)
    _check_stand_ins_are_used(experiment)


def _check_sizes_are_taken(experiment: Experiment) -> None:
    """Refuse a size that no recipe or measurement of its pattern takes."""
    for pattern, sizes in experiment.scale.recipes.items():
        recipes = [recipe for name, recipe in experiment.full_recipes.items() if fnmatchcase(name, pattern)]
        for key in sizes.model_dump(exclude_none=True):
            takes, what = RECIPE_TAKES.get(key, (lambda _: True, ""))
            if not any(map(takes, recipes)):
                where = f"{experiment.scale.file_of(pattern)}: recipes: '{pattern}'"
                raise ConfigError(f"{where}: no recipe of that name has {what} to take '{key}'.")
    for pattern, measurement_sizes in experiment.scale.measurements.items():
        entries = [
            catalog.find_entry(*kind_and_name(entry))
            for work, study in experiment.studies.items()
            for name, entry in study.sources.items()
            if fnmatchcase(f"{work}/{name}", pattern)
        ]
        accepted = {key for entry in entries for key in entry.parameters.model_fields}
        for key in measurement_sizes.model_dump(exclude_none=True):
            if key not in accepted:
                functions = ", ".join(sorted({entry.name for entry in entries}))
                where = f"{experiment.scale.file_of(pattern)}: measurements: '{pattern}'"
                raise ConfigError(f"{where}: '{key}' is taken by none of: {functions}.")


def _check_stand_ins_are_used(experiment: Experiment) -> None:
    """Refuse a stand-in that stands in nowhere: nothing has what it replaces, or another one always comes first."""
    scale = experiment.scale
    given = {"": StandIns(datasets=scale.datasets, architectures=scale.architectures), **scale.stand_ins}
    unused = {
        (pattern, field, theirs)
        for pattern, stand_ins in given.items()
        for field in ("datasets", "architectures", "eps")
        for theirs in getattr(stand_ins, field)
    }
    for work, study in experiment.studies.items():
        for name, run_sets in study.runs.items():
            fitting = [p for p in given if not p or fnmatchcase(f"{work}/{name}", p)]
            for run_set in run_sets:
                if run_set.checkpoint is not None:
                    continue  # nothing stands in for what its weights were made for
                places = [("datasets", run_set.dataset), ("architectures", run_set.architecture)]
                for field, theirs in [*places, *(("eps", eps) for eps in run_set.eps)]:
                    deciding = [p for p in fitting if theirs in getattr(given[p], field)]
                    unused -= {(p, field, theirs) for p in deciding[-1:]}
    if unused:
        pattern, field, theirs = min(unused, key=str)
        where = f"{scale.file_of(pattern)}: stand_ins: '{pattern}'" if pattern else scale.file_of()
        raise ConfigError(
            f"{where}: {field}: nothing is there for '{theirs}' to stand in for, or a later stand-in comes first; delete it."
        )


def _check_patterns(scale: Scale, key: str, patterns: Iterable[str], kind: str, names: Iterable[str]) -> None:
    """Refuse a pattern under a key of the scale that fits none of the names."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(f"{scale.file_of(pattern)}: {key}: {unknown_name(kind, pattern, names)}")


def _check_budgets(where: str, experiment: Experiment, recipe: str, budgets: Iterable[float]) -> None:
    """Refuse a budget larger than the whole range of inputs, such as 8 for 8/255."""
    name = experiment.recipes[recipe].attack
    spec = None if name is None else experiment.attack(name)
    if spec is None or spec.norm != "Linf" or spec.bounds is None:
        return
    low, high = spec.bounds
    for eps in budgets:
        if eps > high - low:
            hint = f" Did you mean {eps:g}/255?" if high - low == 1 and eps <= 255 else ""
            raise ConfigError(
                f"{where}: eps got {eps:g}, and recipe '{recipe}' attacks inputs in [{low:g}, {high:g}] in Linf.{hint}"
            )


def _check_study(experiment: Experiment, study: Study, folders: dict[str, Run]) -> None:
    """Refuse a study that names what is not there; ``folders`` are those of the runs of all studies so far, each with its run."""
    for name, run_sets in study.runs.items():
        where = f"{study.file_of('runs', name)}: runs '{name}'"
        for run_set in run_sets:
            for recipe in run_set.recipe:
                if recipe not in experiment.recipes:
                    raise ConfigError(f"{where}: {unknown_name('recipe', recipe, experiment.recipes, _RECIPES)}")
                if not run_set.checkpoint and experiment.recipes[recipe].attack is None and any(run_set.eps):
                    raise ConfigError(f"{where}: recipe '{recipe}' has no attack, so eps must be 0, got {run_set.eps}.")
                _check_budgets(where, experiment, recipe, run_set.eps)
        for planned in experiment.runs(study.work, name):
            run = planned.run
            if folders.setdefault(run.key, run) != run:
                raise ConfigError(
                    f"{where}: eps {run.eps!r} and {folders[run.key].eps!r} would have the same folder "
                    f"'{run.key}'; give one of them fewer digits."
                )
            if run.dataset not in experiment.datasets:
                raise ConfigError(
                    f"{where}: {unknown_name('data set', run.dataset, experiment.datasets, 'config/datasets.yaml')}"
                )
            source = experiment.recorded_run(run)
            if source and run.eps == 0:
                raise ConfigError(
                    f"{where}: recipe '{run.recipe}' has an eps schedule that another run recorded, in units of "
                    "the run's eps, so eps must be above 0, got 0."
                )
            if source and source not in {p.run for other in study.runs for p in experiment.runs(study.work, other)}:
                raise ConfigError(
                    f"{where}: recipe '{run.recipe}' reads the history of a run of '{source.recipe}' "
                    f"with the same data set, architecture, eps and seed, which is not among the study's runs."
                )
            _check_alignment(experiment, run, where)
            if run.architecture not in experiment.architectures:
                problem = unknown_name(
                    "architecture", run.architecture, experiment.architectures, "config/architectures.yaml"
                )
                raise ConfigError(f"{where}: {problem}")
    entries: dict[str, Measurement | Comparison] = {**study.measurements, **study.comparisons}
    for name, entry in entries.items():
        section = "measurements" if name in study.measurements else "comparisons"
        where = f"{study.file_of(section, name)}: measurement '{name}'"
        parameters, _ = experiment.sized(study.work, name, entry)
        kind, function = kind_and_name(entry)
        if catalog.find_entry(kind, function).folder in READS_LOGS:
            for runs in entry.runs:
                if any(run_set.checkpoint for run_set in study.runs[runs]):
                    raise ConfigError(
                        f"{where}: '{function}' reads the logs of training, which the checkpoints of runs "
                        f"'{runs}' do not have."
                    )
        _within(
            where,
            partial(experiment.arguments, kind, function, parameters),
        )
        if entry.weights == "as_trained":
            for recipe in sorted(experiment.recipe_names(study.work, entry.runs)):
                if not experiment.recipes[recipe].recalibrate:
                    raise ConfigError(
                        f"{where}: weights got 'as_trained', but recipe '{recipe}' estimates no statistics "
                        "anew (recalibrate): what training left is what it selected; use 'selected'."
                    )
    for name, item in study.items.items():
        if item.printed and not (experiment.paper / f"{item.printed}.csv").exists():
            there = [path.stem for path in experiment.paper.glob("*.csv")]
            where = f"{study.file_of('items', name)}: item '{name}'"
            raise ConfigError(f"{where}: {unknown_name('file of resources/paper', item.printed, there, 'that folder')}")


def _check_alignment(experiment: Experiment, run: Run, where: str) -> None:
    """Refuse a run that reads others which are not there, or starts from weights of another architecture than its own."""
    try:
        aligned = experiment.aligned_runs(run)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    if aligned and aligned[0].architecture != run.architecture:
        raise ConfigError(
            f"{where}: run {run.key} starts from the weights of {aligned[0].key}, so architecture must be "
            f"'{aligned[0].architecture}', got '{run.architecture}'."
        )
    for read in aligned:
        if experiment.aligned_runs(read):
            raise ConfigError(f"{where}: run {run.key} reads {read.key}, which reads other runs itself.")


def _within(where: str, action: Callable[[], object]) -> None:
    """Run a check; put the file and key before its sentence."""
    try:
        action()
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
