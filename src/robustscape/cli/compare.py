"""``robustscape compare``: measurements of several trained runs together."""

from __future__ import annotations

import argparse
from typing import Any

from robustscape.cli.options import job_device, make_plan, sentence_case


def add_compare_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "measure trained runs together: transfer of adversarial examples, curves between nets, times"
    command = commands.add_parser(
        "compare",
        help=text.partition(":")[0],
        description=f"{sentence_case(text)}. Comparisons that are already right are kept.",
    )
    command.add_argument("targets", nargs="+", metavar="WORK/COMPARISON", help="a comparison of a study")
    command.set_defaults(execute=compare_command)


def compare_command(options: argparse.Namespace) -> None:
    """Make the comparisons named in ``options.targets``."""
    from robustscape.pipeline.steps.compare import compare_runs

    plan = make_plan(options)
    with job_device(options, plan) as device:
        compare_runs(plan, options.targets, device)
