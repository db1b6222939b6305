"""``robustscape schemas``: JSON schemas of the configuration files, for editors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from robustscape.cli.options import sentence_case


def add_schemas_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "write the JSON schemas of the configuration, with which editors complete and check it"
    command = commands.add_parser("schemas", help=text, description=f"{sentence_case(text)}.")
    command.set_defaults(execute=schemas_command)


def schemas_command(options: argparse.Namespace) -> None:
    """Write the schemas to workflow/schemas and print their paths."""
    from robustscape.cli.schema_documents import write_schemas

    for path in write_schemas(Path(options.config).parent / "workflow" / "schemas"):
        print(path)
