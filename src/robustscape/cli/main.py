"""The ``robustscape`` command: every step of the workflow, with or without Snakemake, and what looks at its results.

The commands from ``prepare`` to ``report`` are the stages of the plan, one file each, and ``run`` does them all in order.
Heavy imports wait until a command needs them.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from robustscape import __version__
from robustscape.cli.attack import add_attack_command
from robustscape.cli.check import add_check_command
from robustscape.cli.claims import add_claims_command
from robustscape.cli.compare import add_compare_command
from robustscape.cli.completion import add_completion_command
from robustscape.cli.cost import add_cost_command
from robustscape.cli.doctor import add_doctor_command
from robustscape.cli.dvc import add_dvc_command
from robustscape.cli.evaluate import add_evaluate_commands
from robustscape.cli.explain import add_explain_command
from robustscape.cli.item import add_item_command
from robustscape.cli.list import add_list_command
from robustscape.cli.options import add_global_options, find_plugins
from robustscape.cli.prepare import add_prepare_command
from robustscape.cli.report import add_report_command
from robustscape.cli.run import add_run_command
from robustscape.cli.schemas import add_schemas_command
from robustscape.cli.theory import add_theory_command
from robustscape.cli.train import add_train_command
from robustscape.errors import UserError

_DESCRIPTION = """\
Regenerate the tables and figures of works on adversarial robustness and loss landscapes,
or attack a model of your own. `make reproduce` runs all of it through Snakemake, in parallel."""

_EPILOG = """\
examples:
  robustscape list items
  robustscape run yamada2021
  robustscape explain yamada2021/table_1
  robustscape attack --model net.py:make_net --weights net.pt --data images/ --eps 8/255

`robustscape COMMAND --help` describes a command. Options of the list above stand before COMMAND.
A message and exit code 2 mean that something is wrong with what was asked or found."""

#: In the order in which the help shows them: the steps, what does them all, what looks, what maintains.
_ADD_COMMANDS = (
    add_prepare_command,
    add_train_command,
    add_evaluate_commands,
    add_compare_command,
    add_theory_command,
    add_item_command,
    add_claims_command,
    add_report_command,
    add_run_command,
    add_attack_command,
    add_list_command,
    add_explain_command,
    add_check_command,
    add_cost_command,
    add_doctor_command,
    add_dvc_command,
    add_schemas_command,
    add_completion_command,
)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a sentence, as all others here are, without the list of all options before it."""

    def error(self, message: str) -> NoReturn:
        """Print the message, with the nearest of the choices of which none was made, and end with code 2."""
        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        near = _nearest(wrong[1], re.findall(r"[\w.-]+", wrong[2])) if wrong else ""
        self.exit(2, f"{self.prog}: {message.rstrip('.')}.{near} See `{self.prog} --help`.\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments; one that is not known is an error of the command that got it, with the nearest of its options."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            given = next((word.partition("=")[0] for word in unknown if word.startswith("-")), "")
            options = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
            said = f"unrecognized arguments: {' '.join(unknown)}.{_nearest(given, options)}"
            self.exit(2, f"{self.prog}: {said} See `{self.prog} --help`.\n")
        return parsed, unknown


def _nearest(got: str, allowed: Sequence[str]) -> str:
    """Return a question that names what may have been meant, after a space; empty if nothing is near."""
    close = difflib.get_close_matches(got, allowed, n=1)
    return f" Did you mean {close[0]}?" if close else ""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands and their options."""
    parser = Parser(
        prog="robustscape",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"robustscape {__version__}")
    add_global_options(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for add_commands in _ADD_COMMANDS:
        add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code.

    A ``UserError`` becomes its message and exit code 2, Ctrl-C one line and 130. No command ends the program by itself: where
    something does, it is a model or a plug-in, and there is no result.

    Every other exception is a fault of the program and keeps its traceback.
    """
    options = build_parser().parse_args(arguments)
    try:
        find_plugins(options)
        options.execute(options)
    except UserError as error:
        print(f"robustscape: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nrobustscape: interrupted.", file=sys.stderr)
        return 130
    except SystemExit as ended:
        print(f"robustscape: a model or a plug-in ended the program: SystemExit: {ended.code}.", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        return 141
    return 0
