"""``robustscape completion``: a script by which a shell completes commands, options and names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robustscape.cli.options import sentence_case

SHELLS = ("bash", "zsh", "fish")


def add_completion_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "print a script by which bash, zsh or fish completes commands, options and names"
    command = commands.add_parser(
        "completion",
        help=text,
        description=f"{sentence_case(text)}: works, data sets, suites and attacks as they are now, plug-ins included.",
    )
    command.add_argument("shell", choices=SHELLS, help=", ".join(SHELLS))
    command.set_defaults(execute=completion_command)


def completion_command(options: argparse.Namespace) -> None:
    """Print the script for the shell ``options.shell``."""
    import shtab

    from robustscape.cli.main import build_parser

    parser = build_parser()
    names = _names(options)
    for action in _actions(parser):
        if action.choices is None and isinstance(action.metavar, str) and action.metavar in names:
            action.choices = names[action.metavar]
        elif "--suite" in action.option_strings:
            action.choices = names["SUITE"]
        elif "--scale" in action.option_strings:
            action.choices = names["SCALE"] or None
        elif action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "FOLDER":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=options.shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the options and arguments of a parser and of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
        else:
            yield action


def _names(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return what can stand for a metavar; of works and scales those of the project, if there is one."""
    from robustscape.config.reading import scale_names
    from robustscape.config.shipped import shipped_attacks, shipped_datasets, shipped_suites

    config = Path(options.config)
    works = [path.stem for path in sorted((config / "studies").glob("*.yaml"))]
    return {
        "SUITE": [*shipped_suites(), *shipped_attacks()],
        "SCALE": scale_names(config / "scales"),
        "DATASET": list(shipped_datasets()),
        **({"WORK": works} if works else {}),
    }
