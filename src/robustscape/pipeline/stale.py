"""Results made by other configuration, code or content than today's are refused before anything is made from them.

Snakemake and DVC plan a job again when its fingerprint changes, but only where they know how its outputs were made: not for a
folder that was copied, or after a job was killed and its marks were deleted. A step therefore looks at the fingerprints of what
it reads itself (contract 4). Imports no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustscape.config.experiment import Run
from robustscape.errors import CorruptFile
from robustscape.pipeline import fingerprints
from robustscape.pipeline.plan import Group, Plan
from robustscape.storage.records import read_record
from robustscape.storage.run_files import WEIGHTS


def current_run_record(plan: Plan, run: Run) -> dict[str, Any]:
    """Return the record of a run; empty if the run is not there.

    Raises:
        CorruptFile: the folder holds another run than its name says, or one of other configuration, code or data.
    """
    folder = plan.run_folder(run)
    record = read_record(folder / "run.json")
    if not record:
        return record
    if record.get("run", run.key) != run.key:
        raise CorruptFile(
            f"{folder}/run.json is the record of the run '{record['run']}'; delete the folder and train again."
        )
    if record.get("fingerprint") != _trained_fingerprint(plan, run, record):
        raise CorruptFile(
            f"{folder} was trained by other configuration, code or data than today's; "
            f"`{plan.command('train', run.key)}` trains it again."
        )
    return record


def check_item_sources(plan: Plan, work: str, name: str) -> None:
    """Refuse an item's tables that are not of today's configuration, code and runs.

    Raises:
        CorruptFile: with the command that makes the table again.
    """
    for source in dict.fromkeys(source.of for source in plan.studies[work].items[name].rows):
        for path, wanted in table_fingerprints(plan, work, source).items():
            record = read_record(path.with_suffix(".json"))
            if record and record.get("fingerprint") != wanted:
                again = record.get("command") or plan.command("run", work)
                raise CorruptFile(
                    f"{path} was made by other configuration, code or runs than today's; `{again}` makes it again."
                )


def table_fingerprints(plan: Plan, work: str, name: str) -> dict[Path, str]:
    """Return the fingerprint of each table of a measurement, comparison or theory check, were it made from what is there.

    Raises:
        CorruptFile: as ``current_run_record``, of the runs that are measured.
    """
    study = plan.studies[work]
    if name in study.theory:
        wanted = fingerprints.theory_fingerprint(study.theory[name], plan.theory_parameters(work, name))
        return {plan.theory_path(work, name): fingerprints.complete_fingerprint(wanted, [])}
    if name in study.comparisons:
        groups = plan.groups(work, name)
        return {plan.comparison_path(work, name, g): comparison_fingerprint(plan, work, name, g)[0] for g in groups}
    runs = dict.fromkeys(planned.run for planned in plan.planned_runs(work, study.measurements[name]))
    return {plan.measurement_path(work, name, run): measurement_fingerprint(plan, work, name, run)[0] for run in runs}


def measurement_fingerprint(plan: Plan, work: str, name: str, run: Run) -> tuple[str, dict[str, Any]]:
    """Return the complete fingerprint of a measurement of a run as it is there now, and the run's record.

    Raises:
        CorruptFile: as ``current_run_record``.
    """
    entry, arguments = plan.studies[work].measurements[name], plan.arguments(work, name)
    record = current_run_record(plan, run)
    planned = fingerprints.measurement_fingerprint(plan.experiment, entry, arguments, run)
    contents = fingerprints.contents_of_run(entry, record, WEIGHTS[entry.weights])
    return fingerprints.complete_fingerprint(planned, contents), record


def comparison_fingerprint(plan: Plan, work: str, name: str, group: Group) -> tuple[str, list[dict[str, Any]]]:
    """Return the complete fingerprint of a comparison of a group of runs as they are there now, and their records.

    Raises:
        CorruptFile: as ``current_run_record``.
    """
    entry, arguments = plan.studies[work].comparisons[name], plan.arguments(work, name)
    records = [current_run_record(plan, run) for run in group.runs]
    planned = fingerprints.comparison_fingerprint(plan.experiment, entry, arguments, group)
    contents = [fingerprints.contents_of_run(entry, record, WEIGHTS[entry.weights]) for record in records]
    return fingerprints.complete_fingerprint(planned, contents), records


def _trained_fingerprint(plan: Plan, run: Run, record: dict[str, Any]) -> str:
    """Return the fingerprint that the run has if trained now; of the data or weights that it names where they are not there."""
    card = read_record(plan.data_folder(run.dataset) / "card.json")
    named = record.get("aligned", {})
    origins = [selected_weights(plan, one) or named.get(one.key) for one in plan.experiment.aligned_runs(run)]
    return fingerprints.trained_fingerprint(plan.experiment, run, card.get("sha256", record.get("data")), origins)


def selected_weights(plan: Plan, run: Run) -> str | None:
    """Return the content hash of a run's selected weights, as its record has it; None if it is not there."""
    checkpoint: str | None = (
        read_record(plan.run_folder(run) / "run.json").get("checkpoints", {}).get(WEIGHTS["selected"])
    )
    return checkpoint
