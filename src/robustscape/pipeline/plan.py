"""The plan: every job of an experiment, with the files it reads and writes and what it depends on.

Snakemake's rules, ``dvc.yaml``, ``robustscape run`` and ``robustscape explain`` are all made from this one list. A job's
``fingerprint`` covers the configuration keys it reads and the code it runs, so a comment or a key it does not read changes
nothing (contract 4). Imports no torch.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from robustscape import catalog
from robustscape.claims.expressions import check_claims
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.config.experiment import Experiment, Planned, Run, kind_and_name, recipe_attacks
from robustscape.config.studies import Comparison, Item, Measurement
from robustscape.errors import unknown
from robustscape.numbers import label as number_label
from robustscape.storage.provenance import code_version, config_hash, file_hash
from robustscape.storage.run_files import WEIGHTS, run_files

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """One call of the command line."""

    stage: str
    """data, train, attack, transfer, landscape, theory, item, claims or report."""
    name: str
    arguments: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fingerprint: str
    work: str | None = None


@dataclass(frozen=True)
class Table:
    """A file of rows behind an item, and the runs they speak of, with the names the work gives to them."""

    path: Path
    runs: tuple[Planned, ...]
    paper_protocol: bool
    """Whether the runs and the sizes of the measurement are the work's own."""

    def common(self, field: str) -> Any:
        """What all its runs have in common in a field of ``Planned``; None if they differ."""
        values = {getattr(planned, field) for planned in self.runs}
        return values.pop() if len(values) == 1 else None


@dataclass(frozen=True)
class Group:
    """Runs that a comparison measures together."""

    label: str
    runs: tuple[Planned, ...]
    factors: dict[str, Any]


class Plan:
    """Jobs and paths of an experiment below ``<results>/<scale>``."""

    def __init__(self, experiment: Experiment, results: Path, works: Sequence[str] | None = None) -> None:
        self.experiment = experiment
        self.root = results / experiment.scale_name
        names = list(experiment.studies) if works is None else list(works)
        for name in names:
            if name not in experiment.studies:
                raise unknown("study", name, experiment.studies)
        self.studies = {name: experiment.studies[name] for name in names}
        for study in self.studies.values():
            check_claims(study, experiment.folder)

    # -- paths (contract 2) ---------------------------------------------------------------------------------------------

    def data(self, dataset: str) -> Path:
        """Folder of a prepared data set."""
        return self.root / "data" / dataset

    def model(self, run: Run) -> Path:
        """Folder of a run."""
        return self.root / "models" / run.key

    def measurement(self, work: str, name: str, run: Run) -> Path:
        """CSV of a measurement of a run; its sidecar has the suffix .json."""
        return self.root / work / "measurements" / name / f"{run.key}.csv"

    def comparison(self, work: str, name: str, group: Group) -> Path:
        """CSV of a comparison of a group of runs."""
        return self.root / work / "comparisons" / name / f"{group.label}.csv"

    def theory(self, work: str, name: str) -> Path:
        """CSV of a theory check."""
        return self.root / work / "theory" / f"{name}.csv"

    def item(self, work: str, name: str) -> Path:
        """CSV of an item."""
        return self.root / work / f"{name}.csv"

    @property
    def claims(self) -> Path:
        """CSV of all verdicts."""
        return self.root / "claims.csv"

    @property
    def report(self) -> Path:
        """The page."""
        return self.root / "report" / "index.html"

    # -- what belongs to what -------------------------------------------------------------------------------------------

    def study_runs(self, work: str) -> list[Run]:
        """Every run of a study, once."""
        return sorted({planned.run for name in self.studies[work].runs for planned in self.experiment.runs(work, name)})

    @functools.cached_property
    def works(self) -> dict[Run, tuple[str, ...]]:
        """Every run and the works that need it."""
        found: dict[Run, list[str]] = {}
        for work in self.studies:
            for run in self.study_runs(work):
                found.setdefault(run, []).append(work)
        return {run: tuple(sorted(works)) for run, works in found.items()}

    @functools.cached_property
    def runs(self) -> list[Run]:
        """Every run, once, however many studies need it."""
        return sorted(self.works)

    def planned(self, work: str, entry: Measurement | Comparison) -> list[Planned]:
        """The runs of a measurement or comparison, in the order of its lists."""
        return [planned for name in entry.runs for planned in self.experiment.runs(work, name)]

    def groups(self, work: str, name: str) -> list[Group]:
        """The groups of runs of a comparison."""
        entry = self.studies[work].comparisons[name]
        found: dict[tuple[Any, ...], list[Planned]] = {}
        for planned in self.planned(work, entry):
            values = tuple(getattr(planned.run, field) for field in entry.by)
            found.setdefault(values, []).append(planned)
        groups = []
        for values, members in found.items():
            parts = [
                f"{field}{number_label(v) if field == 'eps' else v}" for field, v in zip(entry.by, values, strict=True)
            ]
            factors: dict[str, Any] = {field: getattr(members[0].run, field) for field in entry.by}
            groups.append(Group("-".join(parts) or "all", tuple(members), factors))
        return groups

    def tables(self, work: str, name: str) -> list[Table]:
        """The files of a measurement, comparison or theory check."""
        study = self.studies[work]
        if name in study.theory:
            return [Table(self.theory(work, name), (), False)]
        if name in study.comparisons:
            _, resized = self.experiment.sized(work, name, study.comparisons[name])
            return [
                Table(
                    self.comparison(work, name, group),
                    group.runs,
                    not resized and all(planned.own_protocol for planned in group.runs),
                )
                for group in self.groups(work, name)
            ]
        entry = study.measurements[name]
        _, resized = self.experiment.sized(work, name, entry)
        return [
            Table(self.measurement(work, name, planned.run), (planned,), planned.own_protocol and not resized)
            for planned in self.planned(work, entry)
        ]

    def sources(self, work: str, item: Item) -> list[Path]:
        """The files an item is made from: measurements, checks, printed numbers."""
        paths = [table.path for source in item.rows for table in self.tables(work, source.of)]
        printed = [self.experiment.paper / f"{item.printed}.csv"] if item.printed else []
        return list(dict.fromkeys([*paths, *printed]))

    def item_files(self, work: str, name: str) -> list[Path]:
        """Everything an item consists of."""
        suffixes = [".md", ".tex"] if self.studies[work].items[name].kind == "table" else [".png", ".svg"]
        csv = self.item(work, name)
        return [csv, *(csv.with_suffix(suffix) for suffix in suffixes), csv.with_suffix(".json")]

    def run_files(self, run: Run) -> tuple[str, ...]:
        """What a run leaves in its folder."""
        return run_files(self.experiment.recipes[run.recipe])

    # -- fingerprints -----------------------------------------------------------------------------------------------------

    def run_code(self, run: Run) -> str:
        """Version of the code that trains a run: the loop, and the functions its recipe names."""
        recipe = self.experiment.recipes[run.recipe]
        source = self.experiment.recorded_run(run)
        entries = [
            catalog.find("method", recipe.method),
            catalog.find("optimizer", recipe.optimizer.name),
            *(catalog.find("method", phase.method) for phase in recipe.phases if phase.method),
            *(catalog.find("optimizer", phase.optimizer.name) for phase in recipe.phases if phase.optimizer),
            catalog.find("architecture", self.experiment.architectures[run.architecture].architecture),
            *(catalog.find("probe", probe.name) for probe in recipe.probes.values()),
            *(catalog.find("trace", trace.name) for trace in recipe.traces.values()),
            *(catalog.find("attack", self.experiment.attacks[name].attack) for name in recipe_attacks(recipe)),
        ]
        version = code_version("robustscape.training.loop", *sorted({entry.module for entry in entries}))
        return config_hash([version, self.run_code(source)]) if source else version

    def arguments(self, work: str, name: str) -> dict[str, Any]:
        """Keyword arguments of a measurement or comparison at this scale, attacks and suites looked up."""
        study = self.studies[work]
        entry = study.measurements.get(name) or study.comparisons[name]
        parameters, _ = self.experiment.sized(work, name, entry)
        return self.experiment.arguments(*kind_and_name(entry), parameters)

    def measurement_code(self, work: str, name: str, runs: Iterable[Run]) -> str:
        """Version of the code that measures runs."""
        study = self.studies[work]
        entry = study.measurements.get(name) or study.comparisons[name]
        specs = _specs(self.arguments(work, name).values())
        modules = {catalog.find("attack", spec.attack).module for spec in specs}
        for run in runs:
            architecture = self.experiment.architectures[run.architecture].architecture
            modules.add(catalog.find("architecture", architecture).module)
        return code_version(
            "robustscape.evaluation.trained_run", catalog.find(*kind_and_name(entry)).module, *sorted(modules)
        )

    # -- jobs -------------------------------------------------------------------------------------------------------------

    def chunks(self, parts: Iterable[T], kind: Callable[[T], Sequence[str]]) -> list[tuple[str, list[T]]]:
        """Parts of one kind share a process, at most ``runs_per_job`` of them: starting one costs seconds.

        Returns a name and the parts of each; the name counts only where a kind has several chunks.
        """
        size, found = self.experiment.scale.runs_per_job, []
        for names, group in groupby(sorted(parts, key=lambda part: (kind(part), part)), key=kind):
            members = list(group)
            count = -(-len(members) // size)
            bounds = [len(members) * number // count for number in range(count + 1)]
            for number, (start, end) in enumerate(itertools.pairwise(bounds), 1):
                label = _rule_name(*names, *([str(number)] if count > 1 else []))
                found.append((label, members[start:end]))
        return found

    def data_jobs(self) -> list[Job]:
        """One job a data set."""
        jobs = []
        for name in sorted({run.dataset for run in self.runs}):
            entry = self.experiment.datasets[name]
            module = catalog.find("dataset", entry.dataset).module
            folder = self.data(name)
            jobs.append(
                Job(
                    "data",
                    name,
                    ("prepare", name),
                    (),
                    (f"{folder}/data.safetensors", f"{folder}/card.json"),
                    config_hash(
                        [entry.model_dump(mode="json", exclude={"about"}), code_version("robustscape.data", module)]
                    ),
                )
            )
        return jobs

    def train_jobs(self) -> list[Job]:
        """One job a chunk of a study's runs of one data set and architecture; after them those that read their histories."""
        jobs = []

        def kind(run: Run) -> tuple[str, ...]:
            after = ["after"] if self.experiment.recorded_run(run) else []
            recipe = [run.recipe] if self.experiment.scale.runs_per_job == 1 else []
            return *self.works[run], run.dataset, run.architecture, *recipe, *after

        for name, runs in self.chunks(self.runs, kind):
            data = self.data(runs[0].dataset)
            outputs = tuple(f"{self.model(run)}/{file}" for run in runs for file in self.run_files(run))
            fingerprint = config_hash([[self.experiment.run_config(run), self.run_code(run)] for run in runs])
            arguments = ("train", *(run.key for run in runs))
            read = {source for run in runs if (source := self.experiment.recorded_run(run))}
            inputs = (
                f"{data}/card.json",
                f"{data}/data.safetensors",
                *(f"{self.model(source)}/history.csv" for source in sorted(read)),
            )
            jobs.append(Job("train", name, arguments, inputs, outputs, fingerprint))
        return jobs

    def measurement_jobs(self) -> list[Job]:
        """One job a chunk of a study's measurements of the runs of one data set and architecture."""
        return [
            self._measurement_job(work, stage, f"{work}_{name}", pairs)
            for work, study in self.studies.items()
            for stage in ("attack", "landscape")
            for name, pairs in self.chunks(
                {
                    (measured, planned.run)
                    for measured, entry in study.measurements.items()
                    if _stage("measurement", entry.measure) == stage
                    for planned in self.planned(work, entry)
                },
                lambda pair: (pair[1].dataset, pair[1].architecture),
            )
        ]

    def _measurement_job(self, work: str, stage: str, name: str, pairs: list[tuple[str, Run]]) -> Job:
        """Measurements of runs that share a process."""
        study, words = self.studies[work], ["measure"]
        models: dict[str, None] = {}
        outputs: list[str] = []
        reads: list[Any] = []
        for measured, members in groupby(pairs, key=lambda pair: pair[0]):
            entry, runs = study.measurements[measured], [run for _, run in members]
            words += [f"{work}/{measured}", *(run.key for run in runs)]
            models |= {f"{self.model(run)}/{WEIGHTS[entry.weights]}": None for run in runs}
            tables = [self.measurement(work, measured, run) for run in runs]
            outputs += [str(path) for csv in tables for path in (csv, csv.with_suffix(".json"))]
            arguments = {key: _plain(value) for key, value in self.arguments(work, measured).items()}
            code = [self.measurement_code(work, measured, [run]) for run in runs]
            reads.append([entry.measure, entry.weights, arguments, code])
        inputs = (*models, f"{self.data(pairs[0][1].dataset)}/card.json")
        return Job(stage, _rule_name(name), tuple(words), inputs, tuple(outputs), config_hash(reads), work)

    def comparison_jobs(self) -> list[Job]:
        """One job a comparison."""
        jobs = []
        for work, study in self.studies.items():
            for name, entry in study.comparisons.items():
                groups = self.groups(work, name)
                runs = list(dict.fromkeys(planned.run for group in groups for planned in group.runs))
                tables = [self.comparison(work, name, group) for group in groups]
                arguments = {key: _plain(value) for key, value in self.arguments(work, name).items()}
                reads = [entry.compare, entry.by, entry.weights, arguments, self.measurement_code(work, name, runs)]
                jobs.append(
                    Job(
                        "transfer",
                        _rule_name(work, name),
                        ("compare", f"{work}/{name}"),
                        (
                            *(f"{self.model(run)}/{WEIGHTS[entry.weights]}" for run in runs),
                            *(f"{self.data(dataset)}/card.json" for dataset in sorted({run.dataset for run in runs})),
                        ),
                        tuple(str(path) for csv in tables for path in (csv, csv.with_suffix(".json"))),
                        config_hash([*reads, [[group.label, [p.run.key for p in group.runs]] for group in groups]]),
                        work,
                    )
                )
        return jobs

    def theory_fingerprint(self, work: str, name: str) -> str:
        """What a check depends on: its parameters at this scale and its code."""
        entry = self.studies[work].theory[name]
        parameters, _ = self.experiment.sized(work, name, entry)
        return config_hash([entry.check, parameters, code_version(catalog.find("theory", entry.check).module)])

    def theory_jobs(self) -> list[Job]:
        """One job a chunk of a work's checks."""
        jobs, size = [], self.experiment.scale.runs_per_job
        for work, study in self.studies.items():
            names = list(study.theory)
            chunks = [names[start : start + size] for start in range(0, len(names), size)]
            for number, chunk in enumerate(chunks, 1):
                tables = [self.theory(work, name) for name in chunk]
                jobs.append(
                    Job(
                        "theory",
                        _rule_name(work, *([str(number)] if len(chunks) > 1 else [])),
                        ("theory", *(f"{work}/{name}" for name in chunk)),
                        (),
                        tuple(str(path) for csv in tables for path in (csv, csv.with_suffix(".json"))),
                        config_hash([self.theory_fingerprint(work, name) for name in chunk]),
                        work,
                    )
                )
        return jobs

    def item_fingerprint(self, work: str, name: str) -> str:
        """What an item depends on, the content of its sources aside."""
        item = self.studies[work].items[name]
        labels = [
            [[p.dataset, p.architecture, p.eps, p.run.key] for p in table.runs] + [table.paper_protocol]
            for source in item.rows
            for table in self.tables(work, source.of)
        ]
        code = code_version("robustscape.report.items", catalog.find(item.kind, item.draw).module)
        return config_hash([item.model_dump(mode="json", exclude={"claims"}), labels, code])

    def item_jobs(self) -> list[Job]:
        """One job a chunk of a work's tables and figures."""
        jobs, size = [], self.experiment.scale.runs_per_job
        for work, study in self.studies.items():
            names = list(study.items)
            for number, start in enumerate(range(0, len(names), size), 1):
                chunk = names[start : start + size]
                sources = dict.fromkeys(path for name in chunk for path in self.sources(work, study.items[name]))
                jobs.append(
                    Job(
                        "item",
                        _rule_name(work, *(chunk if size == 1 else [str(number)])),
                        ("item", *(f"{work}/{name}" for name in chunk)),
                        tuple(str(path) for path in sources),
                        tuple(str(path) for name in chunk for path in self.item_files(work, name)),
                        config_hash([self.item_fingerprint(work, name) for name in chunk]),
                        work,
                    )
                )
        return jobs

    def claims_job(self) -> Job:
        """The verdicts of all claims."""
        claims = [
            [work, name, claim.model_dump(mode="json")]
            for work, study in self.studies.items()
            for name, item in study.items.items()
            for claim in item.claims
        ]
        items = tuple(str(self.item(work, name)) for work, study in self.studies.items() for name in study.items)
        fingerprint = config_hash([claims, code_version("robustscape.claims.verdicts")])
        return Job("claims", "claims", ("claims", *self.studies), items, (str(self.claims),), fingerprint)

    def report_job(self) -> Job:
        """The page that shows all of it."""
        files = [
            path for work, study in self.studies.items() for name in study.items for path in self.item_files(work, name)
        ]
        described = [
            [s.title, s.reference, [[i.title, i.caption] for i in s.items.values()]] for s in self.studies.values()
        ]
        templates = [file_hash(path) for path in sorted((catalog.PACKAGE / "report" / "templates").iterdir())]
        fingerprint = config_hash([described, templates, code_version("robustscape.report.page")])
        inputs = (*(str(path) for path in files), str(self.claims))
        return Job("report", "report", ("report", *self.studies), inputs, (str(self.report),), fingerprint)

    @functools.cached_property
    def jobs(self) -> list[Job]:
        """Every job, each after those it needs."""
        return [
            *self.data_jobs(),
            *self.train_jobs(),
            *self.measurement_jobs(),
            *self.comparison_jobs(),
            *self.theory_jobs(),
            *self.item_jobs(),
            self.claims_job(),
            self.report_job(),
        ]

    def stage(self, *names: str) -> list[Job]:
        """The jobs of some stages."""
        return [job for job in self.jobs if job.stage in names]


def _rule_name(*parts: str) -> str:
    """The parts in letters, digits and underscores."""
    return "".join(c if c.isalnum() else "_" for c in "_".join(parts))


def _stage(kind: str, name: str) -> str:
    """The stage of a measurement: the package its function is in."""
    return "landscape" if ".landscape." in catalog.find(kind, name).module else "attack"


def _specs(values: Iterable[Any]) -> list[AttackSpec]:
    """Attack specifications among the arguments of a measurement."""
    found = []
    for value in values:
        if isinstance(value, AttackSpec):
            found.append(value)
        elif isinstance(value, Suite):
            found += [spec for _, spec in value.attacks]
        elif isinstance(value, (list, tuple)):
            found += _specs(value)
    return found


def _plain(value: Any) -> Any:
    """An argument as JSON."""
    if isinstance(value, (AttackSpec, Suite)):
        return value.model_dump(mode="json", exclude={"about"})
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
