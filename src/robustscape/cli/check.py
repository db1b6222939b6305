"""``robustscape check``: the configuration, read and cross-checked."""

from __future__ import annotations

import argparse
from typing import Any

from robustscape.cli.options import make_plan, sentence_case


def add_check_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "read and check the whole configuration"
    command = commands.add_parser(
        "check", help=text, description=f"{sentence_case(text)}; an error names the file, the key and what is allowed."
    )
    command.set_defaults(execute=check_command)


def check_command(options: argparse.Namespace) -> None:
    """Make the plan, which reads everything, and print how large it is."""
    from robustscape.pipeline.jobs import list_jobs

    plan = make_plan(options)
    sizes = f"{len(plan.studies)} studies, {len(plan.runs)} runs, {len(list_jobs(plan))} jobs"
    print(f"{plan.experiment.folder}: {sizes} at the scale {plan.experiment.scale_name}.")
