"""``robustscape claims``: the verdicts."""

from __future__ import annotations

import argparse
from typing import Any

from robustscape.cli.options import make_plan, sentence_case, works_to_do


def add_claims_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "judge the claims of works"
    command = commands.add_parser(
        "claims",
        help=text,
        description=f"{sentence_case(text)} by their items; writes claims.csv, one row per claim, and prints counts.",
    )
    command.add_argument(
        "targets",
        nargs="*",
        metavar="WORK",
        help="a work, beside those already made (default: config.yaml's, or all)",
    )
    command.set_defaults(execute=claims_command)


def claims_command(options: argparse.Namespace) -> None:
    """Judge the claims of the works in ``options.targets``."""
    from robustscape.pipeline.steps.claims import judge_claims
    from robustscape.report.verdict_counts import KINDS, count_verdicts, counts_in_words

    counts = count_verdicts(judge_claims(make_plan(options, works_to_do(options))))
    for kind, about in KINDS.items():
        print(f"{kind} ({about}): {counts_in_words(counts[kind])}")
