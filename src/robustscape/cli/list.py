"""``robustscape list``: what there is, one name per line, and what it is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from robustscape import catalog
from robustscape.cli.options import make_plan, sentence_case
from robustscape.config.reading import scale_names
from robustscape.config.shipped import shipped_attacks, shipped_suites
from robustscape.pipeline.plan import Plan

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
    """Print the list that ``options.what`` names."""
    outside = options.config == "config" and not (Path(options.config) / "suites.yaml").is_file()
    shipped = options.what in ("suites", "protocols") or LISTS[options.what] is not None
    plan = None if outside and shipped else make_plan(options)
    print("\n".join(list_lines(options.what, plan)))


def list_lines(what: str, plan: Plan | None) -> list[str]:
    """Return aligned lines ``name  what it is``.

    Args:
        what: one of ``LISTS``.
        plan: of the project; None outside of one, where functions of the catalogue and the package's own suites can be listed.
    """
    pairs = _named(what, plan)
    width = max((len(name) for name, _ in pairs), default=0)
    return [f"{name:<{width}}  {text}".rstrip() for name, text in pairs]


def _named(what: str, plan: Plan | None) -> list[tuple[str, str]]:
    """Return pairs of a name and what it is."""
    kind = LISTS[what]
    if kind is not None:
        return [(name, entry.summary) for name, entry in catalog.catalog_entries(kind).items()]
    if plan is None:
        named = shipped_attacks() if what == "protocols" else shipped_suites()
        return [(name, one.about) for name, one in named.items()]
    experiment = plan.experiment
    if what == "works":
        return [(name, f"{study.title} ({study.reference})") for name, study in plan.studies.items()]
    if what == "items":
        return [(f"{w}/{name}", item.title) for w, study in plan.studies.items() for name, item in study.items.items()]
    if what == "runs":
        return [(run.key, "") for run in plan.runs]
    if what == "recipes":
        return [(name, recipe.about) for name, recipe in experiment.recipes.items()]
    if what == "suites":
        return [(name, suite.about) for name, suite in experiment.suites.items()]
    if what == "protocols":
        return [(name, attack.about) for name, attack in experiment.attacks.items()]
    return [(name, "") for name in scale_names(experiment.folder / "scales")]
