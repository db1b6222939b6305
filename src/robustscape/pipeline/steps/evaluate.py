"""The steps ``evaluate`` and ``landscape``: measurements of trained runs, one table per run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from robustscape import catalog, devices
from robustscape.config.experiment import Run
from robustscape.errors import ConfigError
from robustscape.evaluation.trained_run import load_run
from robustscape.pipeline import fingerprints, stale
from robustscape.pipeline.plan import Plan, check_measurement_stage
from robustscape.storage.records import csv_is_current, hash_files, write_csv_with_record
from robustscape.storage.run_files import WEIGHTS


def evaluate_runs(plan: Plan, stage: str, targets: Sequence[str], device: torch.device) -> None:
    """Measure trained runs; write a CSV and its record per measurement and run.

    Args:
        plan: of the experiment.
        stage: ``evaluate`` or ``landscape``, the command that was called.
        targets: ``work/measurement``, the keys of the runs it is made of, perhaps another measurement and its runs, and so on.
        device: where to measure.

    Raises:
        ConfigError: there is no such measurement or run, or the measurement belongs to the other stage.
    """
    if targets and targets[-1].count("/") == 1:
        raise ConfigError(f"{stage}: got no run after '{targets[-1]}', allowed are those of `robustscape list runs`.")
    measurement: tuple[str, str] | None = None
    for target in targets:
        if target.count("/") == 1:
            work, name = measurement = plan.find_target("measurements", target)
            check_measurement_stage(stage, target, plan.studies[work].measurements[name])
        elif measurement is None:
            raise ConfigError(f"{stage}: got '{target}' first, allowed is WORK/MEASUREMENT; its runs follow.")
        else:
            _measure_run(plan, stage, *measurement, plan.find_runs([target])[0], device)


def _measure_run(plan: Plan, stage: str, work: str, name: str, run: Run, device: torch.device) -> None:
    csv, folder, data = plan.measurement_path(work, name, run), plan.run_folder(run), plan.data_folder(run.dataset)
    entry, arguments = plan.studies[work].measurements[name], plan.arguments(work, name)
    weights = folder / WEIGHTS[entry.weights]
    fingerprint, trained_as = stale.measurement_fingerprint(plan, work, name, run)
    if trained_as and csv_is_current(csv, fingerprint):
        return
    state = plan.root / "states" / work / name / run.key / fingerprint[:16]
    trained = load_run(folder, data, device, entry.weights, state)
    started = time.perf_counter()
    with devices.exact_fp32():
        rows = catalog.load_function("measurement", entry.measure)(trained, **arguments)
    record = {
        "command": plan.command(stage, f"{work}/{name}", run.key),
        "measure": entry.measure,
        "config": fingerprints.plain_arguments(arguments),
        "code": fingerprints.measurement_code(plan.experiment, entry, arguments, [run]),
        "fingerprint": fingerprint,
        "inputs": hash_files([weights, folder / "run.json", data / "card.json"]),
        "seconds": round(time.perf_counter() - started, 3),
        "device": device.type,
    }
    factors = {
        "dataset": run.dataset,
        "architecture": run.architecture,
        "recipe": run.recipe,
        "eps": run.eps,
        "seed": run.seed,
        "weights": entry.weights,
        "checkpoint": trained.checkpoint[:12],
        **divergence_flag(trained_as),
    }
    frame = pd.DataFrame([{**factors, **row} for row in rows])
    write_csv_with_record(csv, frame.to_csv(index=False), record)
    shutil.rmtree(state, ignore_errors=True)


def divergence_flag(*run_records: Mapping[str, Any]) -> dict[str, bool]:
    """Return the column by which rows of a run that diverged, and was measured as it was before that epoch, are flagged."""
    return {"flag_diverged": True} if any(record.get("diverged") for record in run_records) else {}
