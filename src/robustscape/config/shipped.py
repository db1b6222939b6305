"""The suites and attacks that are part of the package, for evaluations outside of a project's folder.

``files/`` holds links to ``suites.yaml``, ``datasets.yaml`` and ``attacks/`` of ``config/``, of which a wheel has copies:
there is one source.
"""

from __future__ import annotations

import functools
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from robustscape import catalog
from robustscape.config.attacks import AttackSpec, Suite, SuiteSpec
from robustscape.config.base import validate_model
from robustscape.config.datasets import DatasetEntry
from robustscape.config.hierarchy import hierarchy_for
from robustscape.config.reading import read_attacks, read_entries
from robustscape.errors import ConfigError, unknown_name

Norm = Literal["Linf", "L2", "L1"]

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


def name_in_norm(name: str, norm: Norm | None, known: Container[str]) -> str:
    """Return the name in ``norm`` of a suite or an attack: in L1 those have others, whose names end in "_l1", if there is one.

    In L2 the same attacks search another ball; that of L1 needs attacks of its own.

    >>> name_in_norm("autoattack", "L1", {"autoattack", "autoattack_l1"})
    'autoattack_l1'
    >>> name_in_norm("autoattack", "L2", {"autoattack", "autoattack_l1"})
    'autoattack'
    """
    return f"{name}_l1" if norm == "L1" and f"{name}_l1" in known else name


def check_norm_of_name(name: str, norm: Norm | None) -> None:
    """Refuse a norm that the name denies: a result would be called "autoattack_l2" in Linf.

    Raises:
        ConfigError: with both norms.
    """
    named = {"_l1": "L1", "_l2": "L2"}.get(name[-3:])
    if norm is not None and named not in (None, norm):
        raise ConfigError(f"'{name}' is in {named}, but the norm asked for is {norm}; leave out one of the two.")


def find_attack(
    name: str,
    norm: Norm | None = None,
    parameters: Mapping[str, Any] | None = None,
    *,
    superclass: Sequence[int] | None = None,
) -> AttackSpec:
    """Return an attack by the name of its protocol ("pgd50_restarts10"), or of the function alone ("pgd"), with its defaults.

    Args:
        name: the name; "apgd_ce" in L1 is "apgd_ce_l1".
        norm: None: the protocol's own.
        parameters: in place of the protocol's or the defaults; those without a default must be given, unless a protocol has them.
        superclass: of each class, for an attack of a hierarchy; others pass it over.

    Raises:
        ConfigError: there is neither, the attack is not defined in that norm, or a parameter is missing or wrong.
    """
    if not isinstance(name, str):
        raise ConfigError(f"an attack is named by a text such as 'pgd', got {name!r}.")
    check_norm_of_name(name, norm)
    known, functions = shipped_attacks(), catalog.catalog_entries("attack")
    name = name_in_norm(name, norm, {*known, *functions})
    if name in known:
        spec = known[name] if norm is None else in_norm(known[name], norm, parameters or {})
        fields = spec.model_dump()
    elif name in functions:
        fields = {"attack": name, "norm": norm or ("L1" if name.endswith("_l1") else "Linf"), "parameters": {}}
    else:
        catalog.refuse_empty_file("attack", name)
        raise unknown_name("attack", name, {*known, *functions}, "`robustscape list protocols` (or `attacks`)")
    given = {**fields["parameters"], **(parameters or {})}
    fields["parameters"] = hierarchy_for(fields["attack"], given, superclass)
    return validate_model(AttackSpec, fields, f"attack '{name}'")


def find_suite(
    suite: str | Suite | AttackSpec | Sequence[str],
    norm: Norm | None = None,
    *,
    superclass: Sequence[int] | None = None,
) -> Suite:
    """Return a suite by its name, that of one attack, or a list of names of attacks.

    Args:
        suite: the name; a suite or an attack of one's own is returned as it is.
        norm: the norm of all its attacks; None: their own.
        superclass: of each class, for those of its attacks that are of a hierarchy.

    Raises:
        ConfigError: there is none, a list of none, or an attack is not defined in that norm.
    """
    if isinstance(suite, AttackSpec):
        suite = Suite(name=suite.attack, attacks=((suite.attack, suite),))
    elif isinstance(suite, str):
        suite = _named_suite(suite, norm, superclass)
    elif not isinstance(suite, Suite):
        if not isinstance(suite, list | tuple):
            raise ConfigError(
                f"suite got {suite!r}, allowed is a name, a list of names of attacks, a Suite or an AttackSpec."
            )
        if not suite:
            raise ConfigError("suite got no attack; name at least one.")
        for name in suite:
            if not isinstance(name, str):
                raise ConfigError(f"suite got a list with {name!r}, allowed are names of attacks, such as 'pgd'.")
        found = tuple((name, find_attack(name, norm, superclass=superclass)) for name in suite)
        suite = Suite(name="+".join(suite), attacks=found)
    return with_hierarchy(suite if norm is None else _suite_in_norm(suite, norm), superclass)


def with_hierarchy(suite: Suite, superclass: Sequence[int] | None) -> Suite:
    """Return a suite whose attacks of a hierarchy have that of the caller; None: their own."""
    if superclass is None:
        return suite
    attacks = []
    for name, spec in suite.attacks:
        parameters = hierarchy_for(spec.attack, spec.parameters, superclass)
        attacks.append(
            (name, validate_model(AttackSpec, spec.model_dump() | {"parameters": parameters}, f"attack '{name}'"))
        )
    return Suite(name=suite.name, attacks=tuple(attacks))


def _suite_in_norm(suite: Suite, norm: Norm) -> Suite:
    return Suite(name=suite.name, attacks=tuple((name, in_norm(spec, norm)) for name, spec in suite.attacks))


def _named_suite(name: str, norm: Norm | None, superclass: Sequence[int] | None) -> Suite:
    check_norm_of_name(name, norm)
    suites = shipped_suites()
    suite = name_in_norm(name, norm, suites)
    if suite in suites:
        found = tuple((attack, find_attack(attack, norm, superclass=superclass)) for attack in suites[suite].attacks)
        return Suite(name=suite, attacks=found)
    if name not in {*shipped_attacks(), *catalog.catalog_entries("attack")}:
        catalog.refuse_empty_file("attack", name)
        raise unknown_name(
            "suite or attack", name, {*suites, *shipped_attacks()}, "`robustscape list suites` (or `protocols`)"
        )
    return Suite(name=name, attacks=((name, find_attack(name, norm, superclass=superclass)),))


def in_norm(spec: AttackSpec, norm: Norm, given: Container[str] = ()) -> AttackSpec:
    """Return an attack in another norm.

    Args:
        spec: the attack.
        norm: the norm.
        given: names of parameters that the caller sets, so that the protocol's are not used.

    Raises:
        ConfigError: it is not defined there, or its step is a length in its own norm, and so next to nothing in another.
    """
    step = spec.parameters.get("step_size")
    if spec.norm != norm and step is not None and "step_size" not in given:
        raise ConfigError(
            f"attack '{spec.attack}' has a step_size of {step:g} in {spec.norm}, which is a length of another kind in {norm}; "
            "use a protocol with rel_step_size, a share of eps, or give step_size."
        )
    return validate_model(AttackSpec, {**spec.model_dump(), "norm": norm}, f"norm {norm}")
