"""``robustscape list``: what there is, one name per line, and what it is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustscape import catalog
from robustscape.cli.options import make_plan, sentence_case

if TYPE_CHECKING:
    from robustscape.config.attacks import AttackSpec, SuiteSpec

#: What can be listed -> the kind in the catalogue, where it is one.
LISTS: dict[str, str | None] = {
    "works": None,
    "items": None,
    "runs": None,
    "recipes": None,
    "suites": None,
    "protocols": None,
    "scales": None,
    "datasets": "dataset",
    "architectures": "architecture",
    "methods": "method",
    "optimizers": "optimizer",
    "attacks": "attack",
    "precisions": "precision",
    "probes": "probe",
    "traces": "trace",
    "measurements": "measurement",
    "comparisons": "comparison",
    "theory": "theory",
    "tables": "table",
    "figures": "figure",
}


def add_list_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "list what can be named, one per line"
    command = commands.add_parser("list", help=text, description=f"{sentence_case(text)}, and what it is.")
    command.add_argument("what", choices=list(LISTS), metavar="WHAT", help=", ".join(LISTS))
    command.set_defaults(execute=list_command)


def list_command(options: argparse.Namespace) -> None:
    """Print the list that ``options.what`` names, aligned lines ``name  what it is``."""
    pairs = _named(options)
    width = max((len(name) for name, _ in pairs), default=0)
    print("\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in pairs))


def _named(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Return pairs of a name and what it is; the whole configuration is read and checked only where a list needs it.

    Outside of a project functions of the catalogue and the package's own suites can be listed.
    """
    kind = LISTS[options.what]
    if kind is not None:
        return [(name, entry.summary) for name, entry in catalog.catalog_entries(kind).items()]
    folder = Path(options.config)
    if options.what in ("protocols", "suites"):
        return [(name, one.about) for name, one in _attacks_or_suites(options.what, folder).items()]
    if options.what == "scales" and folder.is_dir():
        from robustscape.config.reading import scale_names

        return [(name, "") for name in scale_names(folder / "scales")]
    plan = make_plan(options)
    if options.what == "works":
        return [(name, f"{study.title} ({study.reference})") for name, study in plan.studies.items()]
    if options.what == "items":
        return [(f"{w}/{name}", item.title) for w, study in plan.studies.items() for name, item in study.items.items()]
    if options.what == "runs":
        return [(run.key, "") for run in plan.runs]
    return [(name, recipe.about) for name, recipe in plan.experiment.recipes.items()]


def _attacks_or_suites(what: str, folder: Path) -> Mapping[str, AttackSpec | SuiteSpec]:
    """The attacks with their protocols, or the suites, of the project in ``folder`` and the plug-ins, else of the package."""
    from robustscape.config.attacks import SuiteSpec
    from robustscape.config.reading import read_attacks, read_entries
    from robustscape.config.shipped import shipped_attacks, shipped_suites

    if str(folder) == "config" and not (folder / "suites.yaml").is_file():
        return shipped_attacks() if what == "protocols" else shipped_suites()
    folders = (folder, *catalog.config_folders())
    return read_attacks(folders) if what == "protocols" else read_entries(SuiteSpec, "suites.yaml", folders)
