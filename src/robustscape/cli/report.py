"""``robustscape report``: the page."""

from __future__ import annotations

import argparse
from typing import Any

from robustscape.cli.options import make_plan, sentence_case, works_to_do


def add_report_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "write the report page"
    command = commands.add_parser(
        "report", help=text, description=f"{sentence_case(text)}: items, verdicts, and how each number was made."
    )
    command.add_argument(
        "targets",
        nargs="*",
        metavar="WORK",
        help="a work, beside those already made (default: config.yaml's, or all)",
    )
    command.set_defaults(execute=report_command)


def report_command(options: argparse.Namespace) -> None:
    """Write the page of the works in ``options.targets``."""
    from robustscape.pipeline.steps.report import write_report

    write_report(make_plan(options, works_to_do(options)))
