"""The step ``compare``: measurements of several trained runs together, one table per group of runs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence

import pandas as pd
import torch

from robustscape import catalog, devices
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
    factors = {
        **group.factors,
        "weights": entry.weights,
        "checkpoint": config_hash(checkpoints)[:12],
        **divergence_flag(*run_records),
    }
    frame = pd.DataFrame([{**factors, **row} for row in rows])
    write_csv_with_record(csv, frame.to_csv(index=False), record)
    shutil.rmtree(state, ignore_errors=True)
