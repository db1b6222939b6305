"""``robustscape item``: tables and figures."""

from __future__ import annotations

import argparse
from typing import Any

from robustscape.cli.options import make_plan, sentence_case


def add_item_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "make tables and figures"
    command = commands.add_parser(
        "item", help=text, description=f"{sentence_case(text)} from measurements, the printed numbers beside ours."
    )
    command.add_argument("targets", nargs="+", metavar="WORK/ITEM", help="one of `robustscape list items`")
    command.set_defaults(execute=item_command)


def item_command(options: argparse.Namespace) -> None:
    """Make the items named in ``options.targets``."""
    from robustscape.pipeline.steps.item import make_items

    make_items(make_plan(options), options.targets)
