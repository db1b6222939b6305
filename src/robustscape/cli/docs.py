"""``robustscape docs``: the files that are generated from the configuration and the code."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from robustscape.errors import UserError


def add_docs_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "write the generated files: dvc.yaml"
    command = commands.add_parser("docs", help=text.partition(":")[0], description=f"{text.capitalize()}.")
    command.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    command.set_defaults(execute=docs_command)


def docs_command(options: argparse.Namespace) -> None:
    """Write the generated files of the project that the configuration belongs to.

    Raises:
        UserError: with ``--check``, and some are out of date.
    """
    from robustscape.cli.documentation import write

    stale = write(Path(options.config).parent, check=options.check)
    if stale:
        raise UserError(f"generated files are out of date, run `robustscape docs`: {', '.join(stale)}.")
