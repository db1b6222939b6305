"""``robustscape prepare``: data sets as tensors, each with a card that says what it is."""

from __future__ import annotations

import argparse
from typing import Any

from robustscape.cli.options import downloads_folder, make_plan, sentence_case


def add_prepare_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "read data sets, check them, and write their tensors and cards"
    command = commands.add_parser("prepare", help=text, description=f"{sentence_case(text)}.")
    command.add_argument("targets", nargs="+", metavar="DATASET", help="entry of config/datasets.yaml")
    command.set_defaults(execute=prepare_command)


def prepare_command(options: argparse.Namespace) -> None:
    """Prepare the data sets named in ``options.targets``."""
    from robustscape.pipeline.steps.prepare import prepare_dataset

    plan = make_plan(options)
    for name in options.targets:
        prepare_dataset(plan, name, downloads_folder(options))
