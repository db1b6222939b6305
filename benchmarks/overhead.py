"""The overhead of the workflow: start-up of processes, imports and scheduling against training and measuring.

Snakemake's benchmark files hold the wall time of every job; the sidecars hold the seconds in which a job trained, measured or
drew. Their difference is overhead. Run after a fresh ``make reproduce``:
``python benchmarks/overhead.py results/small --wall SECONDS --cores 2``.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from _measure import write


def job_seconds(root: Path) -> dict[str, float]:
    """Wall seconds of the jobs of each stage."""
    stages: dict[str, float] = {}
    for path in sorted((root / "benchmarks").rglob("*.tsv")):
        with path.open(encoding="utf-8") as lines:
            seconds = float(next(csv.DictReader(lines, delimiter="\t"))["s"])
        stage = path.parent.name if path.parent.name != "benchmarks" else path.stem
        stages[stage] = stages.get(stage, 0.0) + seconds
    return stages


def work_seconds(root: Path) -> float:
    """Seconds of training, measuring, checking and drawing, by the sidecars."""
    total = 0.0
    for path in root.rglob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if "command" in record and "seconds" in record:
            total += record["seconds"]
    return total


def main() -> None:
    """Print and write the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="results/<scale>")
    parser.add_argument("--wall", type=float, required=True, help="seconds of the whole snakemake call")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/overhead_small.json"))
    options = parser.parse_args()
    jobs, work = job_seconds(options.root), work_seconds(options.root)
    busy = sum(jobs.values())
    row = {
        "wall_seconds": options.wall,
        "cores": options.cores,
        "seconds_of_jobs": {stage: round(seconds, 1) for stage, seconds in jobs.items()},
        "seconds_of_work": round(work, 1),
        "overhead_within_jobs": round(1 - work / busy, 3),
        "overhead_of_wall": round(1 - work / (options.wall * options.cores), 3),
        "idle_or_scheduling": round(1 - busy / (options.wall * options.cores), 3),
    }
    print(row)
    write(options.output, [row])


if __name__ == "__main__":
    main()
