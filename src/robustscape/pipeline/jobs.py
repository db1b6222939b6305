"""Every job of a plan, with the files it reads and writes and its fingerprint.

Snakemake's rules, ``dvc.yaml`` and ``robustscape run`` are all made from this one list. A job is one call of the command line;
its stage is the command. Imports no torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, TypeVar

from robustscape.config.experiment import Run
from robustscape.config.studies import Comparison, Measurement
from robustscape.pipeline import fingerprints
from robustscape.pipeline.fingerprints import combine_fingerprints
from robustscape.pipeline.plan import Plan, measurement_stage
from robustscape.storage.run_files import EVERY_RUN, HEALTH, WEIGHTS

T = TypeVar("T")

Stage = Literal["prepare", "train", "evaluate", "landscape", "compare", "theory", "item", "claims", "report"]


@dataclass(frozen=True)
class Job:
    """One call of the command line: ``robustscape <stage> <targets>``."""

    stage: Stage
    name: str
    """Distinguishes the jobs of a stage; letters, digits and underscores."""
    targets: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fingerprint: str
    work: str | None = None
    """The work it belongs to; None where works share it."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command and its targets."""
        return (self.stage, *self.targets)


def list_jobs(plan: Plan) -> list[Job]:
    """Return every job of the plan, each after those it needs."""
    return [
        *_prepare_jobs(plan),
        *_train_jobs(plan),
        *_measurement_jobs(plan),
        *_compare_jobs(plan),
        *_theory_jobs(plan),
        *_item_jobs(plan),
        _claims_job(plan),
        _report_job(plan),
    ]


# -- data sets and runs ------------------------------------------------------------------------------------------------


def _prepare_jobs(plan: Plan) -> list[Job]:
    """One job per data set."""
    jobs = []
    for name in sorted({run.dataset for run in plan.runs}):
        folder = plan.data_folder(name)
        outputs = (f"{folder}/data.safetensors", f"{folder}/card.json")
        fingerprint = fingerprints.dataset_fingerprint(plan.experiment.datasets[name], plan.downloads)
        jobs.append(Job("prepare", name, (name,), (), outputs, fingerprint))
    return jobs


def _train_jobs(plan: Plan) -> list[Job]:
    """Jobs of up to ``runs_per_job`` runs of the same works, data set and architecture.

    Runs that read the history or the weights of other runs are in jobs of their own, and so are those whose weights come from
    outside.
    """

    def kind(run: Run) -> tuple[str, ...]:
        after = ["after"] if plan.experiment.recorded_run(run) else []
        recipe = [run.recipe] if plan.experiment.scale.runs_per_job == 1 else []
        outside = ["outside"] if run.recipe in plan.experiment.checkpoints else []
        aligned = ["aligned"] if plan.experiment.aligned_runs(run) else []
        return *plan.works_by_run[run], run.dataset, run.architecture, *recipe, *after, *outside, *aligned

    chunks = sorted(_chunks(plan, plan.runs, kind), key=lambda chunk: bool(plan.experiment.aligned_runs(chunk[1][0])))
    return [_train_job(plan, name, runs) for name, runs in chunks]  # those that read weights come last


def _train_job(plan: Plan, name: str, runs: list[Run]) -> Job:
    data = plan.data_folder(runs[0].dataset)
    sources = sorted({source for run in runs if (source := plan.experiment.recorded_run(run))})
    aligned = sorted({read for run in runs for read in plan.experiment.aligned_runs(run)})
    return Job(
        stage="train",
        name=name,
        targets=tuple(run.key for run in runs),
        inputs=(
            f"{data}/card.json",
            f"{data}/data.safetensors",
            *(f"{plan.run_folder(source)}/history.csv" for source in sources),
            *(f"{plan.run_folder(read)}/{WEIGHTS['selected']}" for read in aligned),
        ),
        outputs=tuple(f"{plan.run_folder(run)}/{file}" for run in runs for file in plan.run_files(run)),
        fingerprint=combine_fingerprints([fingerprints.run_fingerprint(plan.experiment, run) for run in runs]),
    )


# -- measurements, comparisons, theory ---------------------------------------------------------------------------------


def _measurement_jobs(plan: Plan) -> list[Job]:
    """Jobs of up to ``runs_per_job`` measurements of runs of one data set and architecture, by work and stage."""
    jobs = []
    stages: tuple[Stage, ...] = ("evaluate", "landscape")
    for work, study in plan.studies.items():
        for stage in stages:
            pairs = {
                (name, planned.run)
                for name, entry in study.measurements.items()
                if measurement_stage(entry) == stage
                for planned in plan.planned_runs(work, entry)
            }
            chunks = _chunks(plan, pairs, lambda pair: (pair[1].dataset, pair[1].architecture))
            jobs += [_measurement_job(plan, stage, work, _rule_name(work, label), pairs) for label, pairs in chunks]
    return jobs


def _measurement_job(plan: Plan, stage: Stage, work: str, name: str, pairs: list[tuple[str, Run]]) -> Job:
    """Return the job of some pairs of a measurement and a run, sorted by measurement."""
    targets: list[str] = []
    tables: list[Path] = []
    parts: list[str] = []
    models: dict[str, None] = {}
    for measurement, members in groupby(pairs, key=lambda pair: pair[0]):
        entry, arguments = plan.studies[work].measurements[measurement], plan.arguments(work, measurement)
        runs = [run for _, run in members]
        targets += [f"{work}/{measurement}", *(run.key for run in runs)]
        tables += [plan.measurement_path(work, measurement, run) for run in runs]
        models |= dict.fromkeys(path for run in runs for path in _files_read(plan, entry, run))
        parts += [fingerprints.measurement_fingerprint(plan.experiment, entry, arguments, run) for run in runs]
    inputs = (*models, f"{plan.data_folder(pairs[0][1].dataset)}/card.json")
    return Job(stage, name, tuple(targets), inputs, _with_records(tables), combine_fingerprints(parts), work)


def _files_read(plan: Plan, entry: Measurement | Comparison, run: Run) -> list[str]:
    """Return the files of a run that a measurement waits for: those that it reads, and those that the recipe asks for.

    An output that nobody waits for and that is not there yet has no record in Snakemake, which then sees no change of the job
    at all: with other epochs ``keep`` names other files, and the run would not be trained again.
    """
    files, logs = plan.run_files(run), fingerprints.reads_logs(entry)
    wanted = [name for name in files if name not in EVERY_RUN or (logs and name not in ("run.json", HEALTH))]
    return [f"{plan.run_folder(run)}/{name}" for name in dict.fromkeys([WEIGHTS[entry.weights], *wanted])]


def _compare_jobs(plan: Plan) -> list[Job]:
    """One job per comparison."""
    return [_compare_job(plan, work, name) for work, study in plan.studies.items() for name in study.comparisons]


def _compare_job(plan: Plan, work: str, name: str) -> Job:
    entry, arguments = plan.studies[work].comparisons[name], plan.arguments(work, name)
    groups = plan.groups(work, name)
    runs = dict.fromkeys(run for group in groups for run in group.runs)
    return Job(
        stage="compare",
        name=_rule_name(work, name),
        targets=(f"{work}/{name}",),
        inputs=(
            *dict.fromkeys(path for run in runs for path in _files_read(plan, entry, run)),
            *(f"{plan.data_folder(dataset)}/card.json" for dataset in sorted({run.dataset for run in runs})),
        ),
        outputs=_with_records([plan.comparison_path(work, name, group) for group in groups]),
        fingerprint=combine_fingerprints(
            [fingerprints.comparison_fingerprint(plan.experiment, entry, arguments, group) for group in groups]
        ),
        work=work,
    )


def _theory_jobs(plan: Plan) -> list[Job]:
    """Jobs of up to ``runs_per_job`` checks of a work."""
    jobs = []
    for work, study in plan.studies.items():
        chunks = _slices(list(study.theory), plan.experiment.scale.runs_per_job)
        for number, names in enumerate(chunks, 1):
            parts = [
                fingerprints.theory_fingerprint(study.theory[name], plan.theory_parameters(work, name))
                for name in names
            ]
            jobs.append(
                Job(
                    stage="theory",
                    name=_rule_name(work, *([str(number)] if len(chunks) > 1 else [])),
                    targets=tuple(f"{work}/{name}" for name in names),
                    inputs=(),
                    outputs=_with_records([plan.theory_path(work, name) for name in names]),
                    fingerprint=combine_fingerprints(parts),
                    work=work,
                )
            )
    return jobs


# -- items, claims, report ---------------------------------------------------------------------------------------------


def _item_jobs(plan: Plan) -> list[Job]:
    """Jobs of up to ``runs_per_job`` tables and figures of one file of a study: those of a chapter wait for no other's nets."""
    jobs, size = [], plan.experiment.scale.runs_per_job
    for work, study in plan.studies.items():
        slices = [names for items in study.parts.values() for names in _slices(items, size)]
        for number, names in enumerate(slices, 1):
            sources = dict.fromkeys(path for name in names for path in plan.item_sources(work, study.items[name]))
            parts = [fingerprints.item_fingerprint(plan, work, name) for name in names]
            jobs.append(
                Job(
                    stage="item",
                    name=_rule_name(work, *(names if size == 1 else [str(number)])),
                    targets=tuple(f"{work}/{name}" for name in names),
                    inputs=tuple(map(str, sources)),
                    outputs=tuple(str(path) for name in names for path in plan.item_files(work, name)),
                    fingerprint=combine_fingerprints(parts),
                    work=work,
                )
            )
    return jobs


def _claims_job(plan: Plan) -> Job:
    """The job that judges all claims."""
    items = tuple(str(plan.item_path(work, name)) for work, study in plan.studies.items() for name in study.items)
    fingerprint = fingerprints.claims_fingerprint(plan.studies)
    return Job("claims", "claims", tuple(plan.studies), items, _with_records([plan.claims_path]), fingerprint)


def _report_job(plan: Plan) -> Job:
    """The job that writes the page."""
    files = [
        str(path)
        for work, study in plan.studies.items()
        for name in study.items
        for path in plan.item_files(work, name)
    ]
    fingerprint = fingerprints.report_fingerprint(plan.studies)
    inputs = (*files, str(plan.claims_path))
    return Job("report", "report", tuple(plan.studies), inputs, (str(plan.report_path),), fingerprint)


# -- parts of jobs -----------------------------------------------------------------------------------------------------


def _chunks(plan: Plan, parts: Iterable[T], kind: Callable[[T], Sequence[str]]) -> list[tuple[str, list[T]]]:
    """Return chunks of at most ``runs_per_job`` parts of one kind, of even sizes, each with a name.

    The parts of a chunk share a process, because starting one costs seconds. Chunks are numbered where a kind has several.
    """
    size, found = plan.experiment.scale.runs_per_job, []
    for names, group in groupby(sorted(parts, key=lambda part: (kind(part), part)), key=kind):
        members = list(group)
        count = -(-len(members) // size)
        bounds = [len(members) * number // count for number in range(count + 1)]
        for number, (start, end) in enumerate(itertools.pairwise(bounds), 1):
            name = _rule_name(*names, *([str(number)] if count > 1 else []))
            found.append((name, members[start:end]))
    return found


def _slices(names: list[str], size: int) -> list[list[str]]:
    """Return the names in slices of ``size``, in their order."""
    return [names[start : start + size] for start in range(0, len(names), size)]


def _with_records(tables: list[Path]) -> tuple[str, ...]:
    """Return the paths of CSVs and of the records beside them."""
    return tuple(str(path) for csv in tables for path in (csv, csv.with_suffix(".json")))


def _rule_name(*parts: str) -> str:
    """Return the parts joined, in letters, digits and underscores."""
    return "".join(c if c.isalnum() else "_" for c in "_".join(parts))
