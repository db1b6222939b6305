"""The step ``compare``: measurements of several trained runs together, one table per group of runs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd
import torch

from robustscape import catalog, devices
from robustscape.config.experiment import Run
from robustscape.evaluation.trained_run import load_run
from robustscape.pipeline import fingerprints, stale
from robustscape.pipeline.plan import Group, Plan
from robustscape.pipeline.steps.evaluate import divergence_flag
from robustscape.storage.provenance import config_hash
from robustscape.storage.records import csv_is_current, hash_files, write_csv_with_record
from robustscape.storage.run_files import WEIGHTS


def compare_runs(plan: Plan, targets: Sequence[str], device: torch.device) -> None:
    """Make the comparisons ``work/comparison``; write a CSV and its record per group of runs.

    Raises:
        ConfigError: there is no such comparison.
    """
    for target in targets:
        work, name = plan.find_target("comparisons", target)
        for group in plan.groups(work, name):
            _compare_group(plan, work, name, group, device)


def _compare_group(plan: Plan, work: str, name: str, group: Group, device: torch.device) -> None:
    csv, runs = plan.comparison_path(work, name, group), group.runs
    entry, arguments = plan.studies[work].comparisons[name], plan.arguments(work, name)
    file = WEIGHTS[entry.weights]
    fingerprint, run_records = stale.comparison_fingerprint(plan, work, name, group)
    checkpoints = [record.get("checkpoints", {}).get(file) for record in run_records]
    if all(checkpoints) and csv_is_current(csv, fingerprint):
        return
    state = plan.root / "states" / work / name / group.label / fingerprint[:16]
    trained = [
        load_run(plan.run_folder(run), plan.data_folder(run.dataset), device, entry.weights, state) for run in runs
    ]
    started = time.perf_counter()
    with devices.exact_fp32():
        rows = catalog.load_function("comparison", entry.compare)(trained, **arguments)
    record = {
        "command": plan.command("compare", f"{work}/{name}"),
        "measure": entry.compare,
        "config": fingerprints.plain_arguments(arguments),
        "code": fingerprints.measurement_code(plan.experiment, entry, arguments, runs),
        "fingerprint": fingerprint,
        "inputs": hash_files(plan.run_folder(run) / read for run in runs for read in (file, "run.json")),
        "seconds": round(time.perf_counter() - started, 3),
        "device": device.type,
    }
    factors = {**group.factors, "weights": entry.weights, **divergence_flag(*run_records)}
    named = [{**factors, "checkpoint": _networks_of(row, runs, checkpoints), **row} for row in rows]
    frame = pd.DataFrame(named)
    write_csv_with_record(csv, frame.to_csv(index=False), record)
    shutil.rmtree(state, ignore_errors=True)


def _networks_of(row: Mapping[str, Any], runs: Sequence[Run], checkpoints: Sequence[Any]) -> str:
    """Return a hash of the checkpoints of the runs that a row names, by the columns that a run has; of all, if it names none.

    Rows of equal hashes are of the same networks: what they have in common is not an error between them (``claims.power``).
    """
    columns = [field.name for field in fields(Run) if field.name in row]
    named = [all(row[column] == getattr(run, column) for column in columns) for run in runs]
    own = [checkpoint for checkpoint, is_named in zip(checkpoints, named, strict=True) if is_named]
    return config_hash(own or list(checkpoints))[:12]
