"""``robustscape report``: the page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from robustscape.cli.options import make_plan, read_main, sentence_case, works_to_do


def add_report_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "write the report page"
    command = commands.add_parser(
        "report",
        help=text,
        description=f"{sentence_case(text)}: items, verdicts, and how each number was made. It reads results and computes none; "
        "what is missing or broken is said on the page.",
    )
    command.add_argument(
        "targets",
        nargs="*",
        metavar="WORK",
        help="a work, beside those already made (default: config.yaml's, or all)",
    )
    kinds = command.add_mutually_exclusive_group()
    kinds.add_argument(
        "--self-contained",
        action="store_true",
        help="write report/self_contained.html instead, one file with all pictures inside, to be sent or kept",
    )
    kinds.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar="FOLDER",
        help="write report/comparison.html in the second of two folders of results, such as results/small of two versions: "
        "differences of numbers and verdicts that changed (default: none)",
    )
    command.set_defaults(execute=report_command)


def report_command(options: argparse.Namespace) -> None:
    """Write the page of the works in ``options.targets``, or the comparison of two folders; print where it is."""
    if options.compare:
        from robustscape.pipeline.steps.report import compare_results

        print(compare_results(make_plan(options, works_to_do(options)), *options.compare))
    else:
        page_command(options, self_contained=options.self_contained)


def page_command(options: argparse.Namespace, *, self_contained: bool = False) -> None:
    """Write the page of the works in ``options.targets``; print where it is."""
    from robustscape.pipeline.steps.report import write_report

    plan = make_plan(options, works_to_do(options))
    repository = read_main(options).repository or ""
    print(write_report(plan, repository=repository, self_contained=self_contained))
