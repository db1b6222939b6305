"""``robustscape theory``: theorems checked numerically, and toys."""

from __future__ import annotations

import argparse
import os
from typing import Any

from robustscape.cli.options import make_plan, sentence_case


def add_theory_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "check theorems numerically, and compute toys"
    command = commands.add_parser(
        "theory", help=text, description=f"{sentence_case(text)}; no trained runs are needed."
    )
    command.add_argument("targets", nargs="+", metavar="WORK/CHECK", help="an entry of a study's section `theory`")
    command.set_defaults(execute=theory_command)


def theory_command(options: argparse.Namespace) -> None:
    """Run the checks named in ``options.targets``, on the CPU."""
    from robustscape import devices
    from robustscape.pipeline.steps.theory import check_theory

    devices.configure_device(options.threads or os.cpu_count() or 1)
    check_theory(make_plan(options), options.targets)
