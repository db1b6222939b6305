"""``robustscape dvc``: dvc.yaml, generated from the plan. Imports no torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from robustscape.cli.options import sentence_case
from robustscape.errors import UserError


def add_dvc_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "bring dvc.yaml up to date with the configuration"
    command = commands.add_parser("dvc", help=text, description=f"{sentence_case(text)}.")
    command.add_argument("--check", action="store_true", help="write nothing; fail if dvc.yaml is out of date")
    command.set_defaults(execute=dvc_command)


def dvc_command(options: argparse.Namespace) -> None:
    """Write the dvc.yaml of the project that the configuration belongs to.

    Raises:
        UserError: with ``--check``, and it is out of date.
    """
    if not write_dvc_yaml(Path(options.config).parent, check=options.check):
        raise UserError("dvc.yaml is out of date; run `robustscape dvc`.")


def write_dvc_yaml(root: Path, check: bool = False) -> bool:
    """Write ``root``/dvc.yaml, or with ``check`` only look; return whether it is up to date afterwards."""
    from robustscape.config.loading import load_experiment
    from robustscape.pipeline.dvc import dvc_yaml
    from robustscape.pipeline.plan import Plan
    from robustscape.storage import atomic

    path, text = root / "dvc.yaml", dvc_yaml(Plan(load_experiment(root / "config", "small"), Path("results")))
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return True
    if not check:
        atomic.write_text(path, text)
    return not check
