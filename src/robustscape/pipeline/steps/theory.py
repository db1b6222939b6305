"""The step ``theory``: theorems checked numerically, and toys."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pandas as pd

from robustscape import catalog
from robustscape.pipeline import fingerprints
from robustscape.pipeline.plan import Plan
from robustscape.storage.records import csv_is_current, write_csv_with_record


def check_theory(plan: Plan, targets: Sequence[str]) -> None:
    """Run the theory checks ``work/check``; write a CSV and its record for each.

    Raises:
        ConfigError: there is no such check.
    """
    for target in targets:
        _run_check(plan, *plan.find_target("theory", target))


def _run_check(plan: Plan, work: str, name: str) -> None:
    csv = plan.theory_path(work, name)
    entry, parameters = plan.studies[work].theory[name], plan.theory_parameters(work, name)
    fingerprint = fingerprints.complete_fingerprint(fingerprints.theory_fingerprint(entry, parameters), [])
    if csv_is_current(csv, fingerprint):
        return
    started = time.perf_counter()
    rows = catalog.load_function("theory", entry.check)(**parameters)
    record = {
        "command": plan.command("theory", f"{work}/{name}"),
        "check": entry.check,
        "config": parameters,
        "code": fingerprints.theory_code(entry),
        "fingerprint": fingerprint,
        "inputs": [],
        "seconds": round(time.perf_counter() - started, 3),
    }
    write_csv_with_record(csv, pd.DataFrame(rows).to_csv(index=False), record)
