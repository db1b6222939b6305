"""``robustscape train``: trained runs."""

from __future__ import annotations

import argparse
from typing import Any

from robustscape.cli.options import job_device, make_plan, sentence_case


def add_train_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "train runs; those that are already right are kept, an interrupted one is continued"
    command = commands.add_parser("train", help="train runs", description=f"{sentence_case(text)}.")
    command.add_argument("targets", nargs="+", metavar="RUN", help="one of `robustscape list runs`")
    command.set_defaults(execute=train_command)


def train_command(options: argparse.Namespace) -> None:
    """Train the runs named in ``options.targets``."""
    from robustscape.pipeline.steps.align import align_runs
    from robustscape.pipeline.steps.outside import take_over_runs
    from robustscape.pipeline.steps.train import train_runs

    plan = make_plan(options)
    runs = plan.find_runs(options.targets)
    outside = [run.key for run in runs if run.recipe in plan.experiment.checkpoints]
    aligned = [run.key for run in runs if plan.experiment.aligned_runs(run)]
    with job_device(options, plan) as device:
        train_runs(plan, [key for key in options.targets if key not in (*outside, *aligned)], device)
        take_over_runs(plan, outside, device)
        align_runs(plan, aligned, device)
