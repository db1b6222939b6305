"""The suites and attacks that are part of the package, for evaluations outside of a project's folder.

``files/`` holds links to ``suites.yaml``, ``datasets.yaml`` and ``attacks/`` of ``config/``, of which a wheel has copies:
there is one source.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from robustscape import catalog
from robustscape.config.attacks import AttackSpec, Suite, SuiteSpec
from robustscape.config.datasets import DatasetEntry
from robustscape.config.reading import read_attacks, read_entries
from robustscape.errors import ConfigError, unknown_name

FILES = Path(__file__).parent / "files"


def shipped_attacks() -> dict[str, AttackSpec]:
    """Return the attacks with their protocol, by name; those of plug-ins too."""
    return _read_shipped(catalog.config_folders())[0]


def shipped_suites() -> dict[str, SuiteSpec]:
    """Return the suites, by name."""
    return _read_shipped(catalog.config_folders())[1]


def shipped_datasets() -> dict[str, DatasetEntry]:
    """Return the data sets, by name."""
    return _read_shipped(catalog.config_folders())[2]


@functools.cache
def _read_shipped(
    of_plugins: tuple[Path, ...],
) -> tuple[dict[str, AttackSpec], dict[str, SuiteSpec], dict[str, DatasetEntry]]:
    folders = (FILES, *of_plugins)
    return (
        read_attacks(folders),
        read_entries(SuiteSpec, "suites.yaml", folders),
        read_entries(DatasetEntry, "datasets.yaml", folders),
    )


def find_attack(name: str) -> AttackSpec:
    """Return an attack by the name of its protocol ("pgd50_restarts10"), or of the function alone ("pgd"), with its defaults.

    Raises:
        ConfigError: there is neither.
    """
    known = shipped_attacks()
    if name in known:
        return known[name]
    functions = catalog.catalog_entries("attack")
    if name in functions:
        return AttackSpec(attack=name)
    raise unknown_name("attack", name, {*known, *functions})


def find_suite(suite: str | Suite | AttackSpec | Sequence[str], norm: Literal["Linf", "L2"] | None = None) -> Suite:
    """Return a suite by its name, that of one attack, or a list of names of attacks.

    Args:
        suite: the name; a suite or an attack of one's own is returned as it is.
        norm: the norm of all its attacks; None: their own.

    Raises:
        ConfigError: there is none, or a list of none.
    """
    if isinstance(suite, AttackSpec):
        suite = Suite(name=suite.attack, attacks=((suite.attack, suite),))
    elif isinstance(suite, str):
        suite = _named_suite(suite)
    elif not isinstance(suite, Suite):
        if not suite:
            raise ConfigError("suite got no attack; name at least one.")
        suite = Suite(name="+".join(suite), attacks=tuple((name, find_attack(name)) for name in suite))
    return suite if norm is None else with_norm(suite, norm)


def _named_suite(name: str) -> Suite:
    suites = shipped_suites()
    if name in suites:
        return Suite(name=name, attacks=tuple((attack, find_attack(attack)) for attack in suites[name].attacks))
    try:
        return Suite(name=name, attacks=((name, find_attack(name)),))
    except ConfigError:
        raise unknown_name("suite or attack", name, {*suites, *shipped_attacks()}) from None


def with_norm(suite: Suite, norm: Literal["Linf", "L2"]) -> Suite:
    """Return ``suite`` with all its attacks in ``norm``."""
    attacks = tuple((name, spec.model_copy(update={"norm": norm})) for name, spec in suite.attacks)
    return Suite(name=suite.name, attacks=attacks)
