"""The plan of an experiment: which runs, groups of runs and tables there are, and where their files go (contract 2).

What is done with them is in ``jobs`` (every job, with the files it reads and writes) and in ``steps`` (what a job does); what a
result depends on is in ``fingerprints``. Imports no torch.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from robustscape import catalog
from robustscape.claims.expressions import check_claims
from robustscape.config.experiment import Experiment, Planned, Run, kind_and_name
from robustscape.config.studies import Comparison, Item, Measurement
from robustscape.errors import ConfigError, unknown_name
from robustscape.numbers import number_label
from robustscape.pipeline.levels import check_levels
from robustscape.pipeline.rehearsal import rehearsed
from robustscape.storage.run_files import HEALTH, WEIGHTS, run_files

#: Sections of a study whose entries are targets of a command.
Section = Literal["measurements", "comparisons", "theory", "items"]

_SINGULAR: dict[Section, str] = {
    "measurements": "measurement",
    "comparisons": "comparison",
    "theory": "theory check",
    "items": "item",
}


@dataclass(frozen=True)
class Table:
    """A file of rows behind an item, and the runs they are about, with the names the work gives to them."""

    path: Path
    runs: tuple[Planned, ...]
    paper_protocol: bool
    """True if the runs and the sizes of the measurement are the work's own."""

    def common(self, field: str) -> Any:
        """Return the value that all its runs have in a field of ``Planned``; None if they differ."""
        values = {getattr(planned, field) for planned in self.runs}
        return values.pop() if len(values) == 1 else None


@dataclass(frozen=True)
class Group:
    """Runs that a comparison measures together, and the factors they have in common."""

    label: str
    planned: tuple[Planned, ...]
    factors: dict[str, Any]

    @property
    def runs(self) -> list[Run]:
        """The runs, each once."""
        return list(dict.fromkeys(planned.run for planned in self.planned))


class Plan:
    """Runs, groups, tables and paths of an experiment below ``<results>/<scale>``.

    Args:
        experiment: the experiment.
        results: the folder of all scales.
        works: the works to plan; None for all.
        downloads: the folder of full data sets.
        claims: False leaves the claims unchecked, which takes a second or two: for one of many jobs, none of which reads them.

    Raises:
        ConfigError: a work is unknown, or a claim cannot be judged.
    """

    def __init__(
        self,
        experiment: Experiment,
        results: Path,
        works: Sequence[str] | None = None,
        downloads: Path = Path("downloads"),
        *,
        claims: bool = True,
    ) -> None:
        self.experiment = rehearsed(experiment)
        self.downloads = downloads
        self.root = results / experiment.scale_name
        names = list(experiment.studies) if works is None else list(works)
        for name in names:
            if name not in experiment.studies:
                raise unknown_name("study", name, experiment.studies)
        self.studies = {name: experiment.studies[name] for name in names}
        for study in self.studies.values() if claims else ():
            check_claims(study)
            check_levels(self, study.work)

    def with_made_works(self) -> Plan:
        """Return the plan with, beside its works, those of which an item was made: they stay in the claims and the report."""
        works = [
            work
            for work, study in self.experiment.studies.items()
            if work in self.studies or any(self.item_path(work, name).exists() for name in study.items)
        ]
        return Plan(self.experiment, self.root.parent, works, self.downloads)

    def command(self, *arguments: str) -> str:
        """Return the command line that makes a result of this plan again."""
        return " ".join(["robustscape", "--scale", self.experiment.scale_name, *arguments])

    # -- paths (contract 2) ---------------------------------------------------------------------------------------------

    def data_folder(self, dataset: str) -> Path:
        """Return the folder of a prepared data set."""
        return self.root / "data" / dataset

    def run_folder(self, run: Run) -> Path:
        """Return the folder of a trained run."""
        return self.root / "models" / run.key

    def measurement_path(self, work: str, name: str, run: Run) -> Path:
        """Return the CSV of a measurement of a run; its record has the suffix .json."""
        return self.root / work / "measurements" / name / f"{run.key}.csv"

    def comparison_path(self, work: str, name: str, group: Group) -> Path:
        """Return the CSV of a comparison of a group of runs."""
        return self.root / work / "comparisons" / name / f"{group.label}.csv"

    def theory_path(self, work: str, name: str) -> Path:
        """Return the CSV of a theory check."""
        return self.root / work / "theory" / f"{name}.csv"

    def item_path(self, work: str, name: str) -> Path:
        """Return the CSV of an item."""
        return self.root / work / f"{name}.csv"

    def item_files(self, work: str, name: str) -> list[Path]:
        """Return all files of an item: CSV, table or figure in two formats, record."""
        suffixes = [".md", ".tex"] if self.studies[work].items[name].kind == "table" else [".png", ".svg"]
        csv = self.item_path(work, name)
        return [csv, *(csv.with_suffix(suffix) for suffix in suffixes), csv.with_suffix(".json")]

    @property
    def claims_path(self) -> Path:
        """The CSV of all verdicts."""
        return self.root / "claims.csv"

    @property
    def report_path(self) -> Path:
        """The report page."""
        return self.root / "report" / "index.html"

    def run_files(self, run: Run) -> tuple[str, ...]:
        """Return the names of the files that a run leaves in its folder."""
        if run.recipe in self.experiment.checkpoints:
            return (*WEIGHTS.values(), "run.json", HEALTH)
        return run_files(self.experiment.recipes[run.recipe])

    # -- runs -----------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def works_by_run(self) -> dict[Run, tuple[str, ...]]:
        """Every run -> the works that need it."""
        found: dict[Run, set[str]] = {}
        for work, study in self.studies.items():
            for name in study.runs:
                for planned in self.experiment.runs(work, name):
                    found.setdefault(planned.run, set()).add(work)
        return {run: tuple(sorted(works)) for run, works in found.items()}

    @functools.cached_property
    def runs(self) -> list[Run]:
        """Every run, once, however many studies need it."""
        return sorted(self.works_by_run)

    def find_runs(self, keys: Sequence[str]) -> list[Run]:
        """Return the runs with these keys (folders below ``models/``).

        Raises:
            ConfigError: there is no run of that key.
        """
        known = {run.key: run for run in self.runs}
        for key in keys:
            if key not in known:
                raise unknown_name("run", key, known, "`robustscape list runs`")
        return [known[key] for key in keys]

    def planned_runs(self, work: str, entry: Measurement | Comparison) -> list[Planned]:
        """Return the runs of a measurement or comparison, in the order of its run lists."""
        return [planned for name in entry.runs for planned in self.experiment.runs(work, name)]

    def groups(self, work: str, name: str) -> list[Group]:
        """Return the groups of runs of a comparison: those that agree in the fields it names in ``by``."""
        entry = self.studies[work].comparisons[name]
        found: dict[tuple[Any, ...], list[Planned]] = {}
        for planned in self.planned_runs(work, entry):
            values = tuple(getattr(planned.run, field) for field in entry.by)
            found.setdefault(values, []).append(planned)
        groups = []
        for values, members in found.items():
            factors: dict[str, Any] = dict(zip(entry.by, values, strict=True))
            parts = [f"{field}{number_label(value) if field == 'eps' else value}" for field, value in factors.items()]
            groups.append(Group("-".join(parts) or "all", tuple(members), factors))
        return groups

    # -- stanzas of a study ---------------------------------------------------------------------------------------------

    def find_target(self, section: Section, target: str) -> tuple[str, str]:
        """Return work and name of a target ``work/name`` in a section of the work's study.

        Raises:
            ConfigError: the work or the name is unknown; the message lists what there is.
        """
        work, _, name = target.partition("/")
        if work not in self.studies or not name:
            raise unknown_name("target (WORK/NAME)", target, [f"{work}/..." for work in self.studies])
        if name not in getattr(self.studies[work], section):
            shown_by = "`robustscape list items`" if section == "items" else "its study"
            raise unknown_name(f"{_SINGULAR[section]} of {work}", name, getattr(self.studies[work], section), shown_by)
        return work, name

    def arguments(self, work: str, name: str) -> dict[str, Any]:
        """Return the keyword arguments of a measurement or comparison at this scale, attacks and suites looked up."""
        study = self.studies[work]
        entry = study.measurements.get(name) or study.comparisons[name]
        parameters, _ = self.experiment.sized(work, name, entry)
        return self.experiment.arguments(*kind_and_name(entry), parameters)

    def theory_parameters(self, work: str, name: str) -> dict[str, Any]:
        """Return the parameters of a theory check at this scale."""
        return self.experiment.sized(work, name, self.studies[work].theory[name])[0]

    def tables(self, work: str, name: str) -> list[Table]:
        """Return the tables that a measurement, comparison or theory check of a study writes."""
        study = self.studies[work]
        if name in study.theory:
            return [Table(self.theory_path(work, name), (), False)]
        entry = study.measurements.get(name) or study.comparisons[name]
        resized = self.experiment.sized(work, name, entry)[1]
        if name in study.comparisons:
            files = [(self.comparison_path(work, name, group), group.planned) for group in self.groups(work, name)]
        else:
            files = [(self.measurement_path(work, name, p.run), (p,)) for p in self.planned_runs(work, entry)]
        return [
            Table(path, planned, not resized and all(one.own_protocol for one in planned)) for path, planned in files
        ]

    def item_tables(self, work: str, item: Item) -> list[Table]:
        """Return the tables behind an item, in the order of its ``rows``."""
        return [table for source in item.rows for table in self.tables(work, source.of)]

    def level_is_fixed(self, work: str, name: str, factor: str, level: Any) -> bool:
        """Return whether a level of an item's factor is there at every scale, if at any: one that is missing is then a mistake.

        Data sets, architectures, eps and what recipes and labels say are the work's own at every scale. Another word (a metric
        too) may be missing where the scale exchanges a suite, and with it the names of attacks, or where the function that makes
        the rows names it: some rows are made in some cases only. A number may be missing where the scale changes a size.
        """
        study, item, scale = self.studies[work], self.studies[work].items[name], self.experiment.scale
        recipes = {planned.run.recipe for table in self.item_tables(work, item) for planned in table.runs}
        columns = {column for recipe in recipes for column in self.experiment.factors[recipe]}
        labels = set.intersection(*({c for c, text in s.label.items() if "{" not in str(text)} for s in item.rows))
        if factor in {"dataset", "architecture", "recipe", "eps"} | columns | labels:
            return True
        entries = [study.sources[source.of] for source in item.rows]
        sizes = [
            self.experiment.sized(work, source.of, entry) for source, entry in zip(item.rows, entries, strict=True)
        ]
        if isinstance(level, str):
            exchanged = any(
                e.parameters.get("suite") != new.get("suite") for e, (new, _) in zip(entries, sizes, strict=True)
            )
            texts = [catalog.find_entry(*kind_and_name(entry)).path.read_text(encoding="utf-8") for entry in entries]
            return not exchanged and not any(level in text for text in texts)
        shorter = any(self.experiment.recipes[r] != self.experiment.full_recipes[r] for r in recipes)
        fewer_seeds = scale.seeds is not None or any(stand_ins.seeds for stand_ins in scale.stand_ins.values())
        return not (shorter or fewer_seeds or any(changed for _, changed in sizes))

    def some_items(self, work: str) -> dict[str, list[str]]:
        """Return the names of parts of a work -> their items: of a file of the study, and of one data set.

        ``ma2025_chapter_3``; ``liu2020_on_mnist`` are the items whose runs are all on it.
        """
        files = {f"{work}_{part}": items for part, items in self.studies[work].parts.items() if part != work}
        return files | {f"{work}_on_{dataset}": items for dataset, items in self._items_by_dataset(work).items()}

    def _items_by_dataset(self, work: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, item in self.studies[work].items.items():
            datasets = {planned.dataset for table in self.item_tables(work, item) for planned in table.runs}
            if len(datasets) == 1:
                found.setdefault(datasets.pop(), []).append(name)
        return dict(sorted(found.items()))

    def item_sources(self, work: str, item: Item) -> list[Path]:
        """Return the files an item is made from, each once: its tables, the health of their runs, and the printed numbers."""
        tables = self.item_tables(work, item)
        printed = [self.experiment.paper / f"{item.printed}.csv"] if item.printed else []
        health = [self.run_folder(planned.run) / HEALTH for table in tables for planned in table.runs]
        return list(dict.fromkeys([*(table.path for table in tables), *health, *printed]))


def measurement_stage(entry: Measurement) -> Literal["evaluate", "landscape"]:
    """Return the stage of a measurement, which is the command that makes it: ``landscape`` for those of that package."""
    landscape = catalog.find_entry("measurement", entry.measure).folder == "landscape"
    return "landscape" if landscape else "evaluate"


def check_measurement_stage(stage: str, target: str, entry: Measurement) -> None:
    """Refuse a measurement that belongs to another command.

    Raises:
        ConfigError: it does; the message names the right command.
    """
    if measurement_stage(entry) != stage:
        raise ConfigError(f"{target} is not made by `robustscape {stage}`: use `{measurement_stage(entry)}`.")
