"""The plan: every job of an experiment, with the files it reads and writes and what it depends on.

Snakemake's rules, ``dvc.yaml``, ``robustscape run`` and ``robustscape explain`` are all made from this one list. A job's
``fingerprint`` covers the configuration keys it reads and the code it runs, so a comment or a key it does not read changes
nothing (contract 4). Imports no torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from robustscape import catalog
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.config.experiment import Experiment, Run, recipe_attacks
from robustscape.config.studies import Item, Measurement, RunSet, Study
from robustscape.errors import unknown
from robustscape.layout import RUN_FILES, WEIGHTS
from robustscape.provenance import code_version, config_hash, file_hash


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
class Labelled:
    """A run in an item: its measurement file and the names the work gives to what ran."""

    run: Run
    path: Path
    dataset: str
    architecture: str
    paper_protocol: bool


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

    def run_sets(self, study: Study, names: Iterable[str]) -> list[RunSet]:
        """The run sets behind the names of a study's run lists."""
        return [run_set for name in names for run_set in study.runs[name]]

    def study_runs(self, study: Study) -> list[Run]:
        """Every run of a study, once."""
        return sorted({run for run_sets in study.runs.values() for s in run_sets for run in self.experiment.runs(s)})

    @functools.cached_property
    def runs(self) -> list[Run]:
        """Every run, once, however many studies need it."""
        return sorted({run for study in self.studies.values() for run in self.study_runs(study)})

    def labelled(self, work: str, name: str) -> list[Labelled]:
        """The runs of a measurement, with the work's names for them."""
        study = self.studies[work]
        measurement = study.measurements[name]
        _, resized = self.experiment.sized(work, name, measurement)
        return [
            Labelled(
                run,
                self.measurement(work, name, run),
                run_set.dataset,
                run_set.architecture,
                self.experiment.own_protocol(run_set) and not resized,
            )
            for run_set in self.run_sets(study, measurement.runs)
            for run in self.experiment.runs(run_set)
        ]

    def sources(self, work: str, item: Item) -> list[Path]:
        """The files an item is made from: measurements, checks, printed numbers."""
        study = self.studies[work]
        paths = [
            path
            for source in item.rows
            for path in (
                [self.theory(work, source.of)]
                if source.of in study.theory
                else [entry.path for entry in self.labelled(work, source.of)]
            )
        ]
        printed = [self.experiment.paper / f"{item.printed}.csv"] if item.printed else []
        return list(dict.fromkeys([*paths, *printed]))

    def item_files(self, work: str, name: str) -> list[Path]:
        """Everything an item consists of."""
        suffixes = [".md", ".tex"] if self.studies[work].items[name].kind == "table" else [".png", ".svg"]
        csv = self.item(work, name)
        return [csv, *(csv.with_suffix(suffix) for suffix in suffixes), csv.with_suffix(".json")]

    # -- fingerprints -----------------------------------------------------------------------------------------------------

    def run_code(self, run: Run) -> str:
        """Version of the code that trains a run: the loop, and the functions its recipe names."""
        recipe = self.experiment.recipes[run.recipe]
        entries = [
            catalog.find("method", recipe.method),
            catalog.find("optimizer", recipe.optimizer.name),
            catalog.find("architecture", self.experiment.architectures[run.architecture].architecture),
            *(catalog.find("probe", probe.name) for probe in recipe.probes.values()),
            *(catalog.find("attack", self.experiment.attacks[name].attack) for name in recipe_attacks(recipe)),
        ]
        return code_version("robustscape.training.loop", *sorted({entry.module for entry in entries}))

    def measurement_arguments(self, work: str, name: str) -> dict[str, Any]:
        """Keyword arguments of a measurement at this scale, attacks and suites looked up."""
        entry = self.studies[work].measurements[name]
        parameters, _ = self.experiment.sized(work, name, entry)
        return self.experiment.arguments("measurement", entry.measure, parameters)

    def measurement_code(self, work: str, name: str, run: Run) -> str:
        """Version of the code that measures a run."""
        entry: Measurement = self.studies[work].measurements[name]
        specs = _specs(self.measurement_arguments(work, name).values())
        modules = {catalog.find("attack", spec.attack).module for spec in specs}
        architecture = self.experiment.architectures[run.architecture].architecture
        return code_version(
            "robustscape.runs",
            catalog.find("measurement", entry.measure).module,
            catalog.find("architecture", architecture).module,
            *sorted(modules),
        )

    # -- jobs -------------------------------------------------------------------------------------------------------------

    def chunks(self, runs: Iterable[Run], kind: Callable[[Run], Sequence[str]]) -> list[tuple[str, list[Run]]]:
        """Runs of one kind share a process, at most ``runs_per_job`` of them: starting one costs seconds.

        Returns a name and the runs of each; the name counts only where a kind has several chunks.
        """
        size, parts = self.experiment.scale.runs_per_job, []
        for names, group in groupby(sorted(runs, key=lambda run: (kind(run), run)), key=kind):
            members = list(group)
            starts = range(0, len(members), size)
            for number, start in enumerate(starts, 1):
                label = _rule_name(*names, *([str(number)] if len(starts) > 1 else []))
                parts.append((label, members[start : start + size]))
        return parts

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
        """One job a chunk of runs of one data set, architecture and recipe."""
        jobs = []
        for name, runs in self.chunks(self.runs, lambda run: (run.dataset, run.architecture, run.recipe)):
            data = self.data(runs[0].dataset)
            outputs = tuple(f"{self.model(run)}/{file}" for run in runs for file in RUN_FILES)
            fingerprint = config_hash([[self.experiment.run_config(run), self.run_code(run)] for run in runs])
            arguments = ("train", *(run.key for run in runs))
            jobs.append(
                Job("train", name, arguments, (f"{data}/card.json", f"{data}/data.safetensors"), outputs, fingerprint)
            )
        return jobs

    def measurement_jobs(self) -> list[Job]:
        """One job a measurement and chunk of runs of one data set and architecture."""
        jobs = []
        for work, study in self.studies.items():
            for name, entry in study.measurements.items():
                module = catalog.find("measurement", entry.measure).module
                stage = "landscape" if ".landscape." in module else "attack"
                arguments = {key: _plain(value) for key, value in self.measurement_arguments(work, name).items()}
                runs = {labelled.run for labelled in self.labelled(work, name)}
                for label, chunk in self.chunks(runs, lambda run: (run.dataset, run.architecture)):
                    models = tuple(f"{self.model(run)}/{WEIGHTS[entry.weights]}" for run in chunk)
                    tables = [self.measurement(work, name, run) for run in chunk]
                    code = [self.measurement_code(work, name, run) for run in chunk]
                    jobs.append(
                        Job(
                            stage,
                            _rule_name(work, name, label),
                            ("measure", f"{work}/{name}", *(run.key for run in chunk)),
                            (*models, f"{self.data(chunk[0].dataset)}/card.json"),
                            tuple(str(path) for csv in tables for path in (csv, csv.with_suffix(".json"))),
                            config_hash([entry.measure, entry.weights, arguments, code]),
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

    def item_jobs(self) -> list[Job]:
        """One job a table or figure."""
        jobs = []
        for work, study in self.studies.items():
            for name, item in study.items.items():
                code = code_version("robustscape.report.items", catalog.find(item.kind, item.draw).module)
                labels = [
                    [entry.dataset, entry.architecture, entry.paper_protocol]
                    for source in item.rows
                    if source.of in study.measurements
                    for entry in self.labelled(work, source.of)
                ]
                jobs.append(
                    Job(
                        "item",
                        f"{work}_{name}",
                        ("item", f"{work}/{name}"),
                        tuple(str(path) for path in self.sources(work, item)),
                        tuple(str(path) for path in self.item_files(work, name)),
                        config_hash([item.model_dump(mode="json", exclude={"claims"}), labels, code]),
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
        fingerprint = config_hash([claims, code_version("robustscape.report.claims")])
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
