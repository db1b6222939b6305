"""``robustscape run``: every job in the plan's order, in one process, for machines without Snakemake."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from robustscape.cli.claims import claims_command
from robustscape.cli.compare import compare_command
from robustscape.cli.evaluate import evaluate_command
from robustscape.cli.item import item_command
from robustscape.cli.options import make_plan, sentence_case, works_to_do
from robustscape.cli.prepare import prepare_command
from robustscape.cli.report import page_command
from robustscape.cli.theory import theory_command
from robustscape.cli.train import train_command

#: Stage of the plan -> what does its jobs.
STEPS: dict[str, Callable[[argparse.Namespace], None]] = {
    "prepare": prepare_command,
    "train": train_command,
    "evaluate": evaluate_command,
    "landscape": evaluate_command,
    "compare": compare_command,
    "theory": theory_command,
    "item": item_command,
    "claims": claims_command,
    "report": page_command,
}


def add_run_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "do every step of the workflow, one after the other, without Snakemake"
    command = commands.add_parser(
        "run",
        help=text,
        description=f"{sentence_case(text)}. What is already right is kept; what was interrupted goes on.",
    )
    command.add_argument("targets", nargs="*", metavar="WORK", help="a work (default: those of config.yaml, or all)")
    command.set_defaults(execute=run_command)


def run_command(options: argparse.Namespace) -> None:
    """Do every job of the plan of the works in ``options.targets``; say each on standard error."""
    from robustscape.pipeline.jobs import list_jobs

    jobs = list_jobs(make_plan(options, works_to_do(options)))
    for number, job in enumerate(jobs, 1):
        print(f"[{number}/{len(jobs)}] robustscape {' '.join(job.arguments)}", file=sys.stderr)
        own = {**vars(options), "command": job.stage, "targets": list(job.targets)}
        STEPS[job.stage](argparse.Namespace(**own))
