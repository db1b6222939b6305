"""The wording of errors that are made in one place: names, types, what a key of a file may be."""

from __future__ import annotations

from typing import Literal

import pytest

from robustscape import catalog
from robustscape.cli.list import LISTS
from robustscape.config.base import Strict, validate_model
from robustscape.config.shipped import find_attack, find_suite
from robustscape.errors import LONG_LIST, NEAR_NAMES, ConfigError, a_type, unknown_name


def test_a_short_list_of_names_is_shown_as_a_whole() -> None:
    assert str(unknown_name("scale", "smal", ["small", "paper"])) == (
        "unknown scale 'smal'. Did you mean 'small'? Allowed: paper, small."
    )
    assert str(unknown_name("scale", "smal", [])) == "unknown scale 'smal'. Allowed: none."


@pytest.mark.parametrize("got", ["name_3", "qqqq"])
def test_of_a_long_list_the_nearest_are_shown_and_what_shows_all(got: str) -> None:
    names = [f"name_{number:03d}" for number in range(5 * LONG_LIST)]
    said = str(unknown_name("recipe", got, names, "`robustscape list recipes`"))
    assert said.count(", ") < NEAR_NAMES and said.endswith("; `robustscape list recipes` shows all.")
    assert ("and 92 more" in said) == (got == "name_3") and ("one of 100 names" in said) == (got == "qqqq")


def test_every_kind_of_the_catalogue_has_the_list_that_its_errors_name() -> None:
    for kind in catalog.KINDS:
        command, what = catalog.list_command(kind).rsplit(" ", 1)
        assert command == "robustscape list" and LISTS[what] == kind
    with pytest.raises(ConfigError, match=r"more; `robustscape list attacks` shows all\.$"):
        catalog.find_entry("attack", "pdg")


def test_an_unknown_suite_is_not_answered_by_all_there_are() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'autoattack'.*`robustscape list suites`") as error:
        find_suite("autoatack")
    assert len(str(error.value)) < 300


class Filed(Strict):
    norm: Literal["Linf", "L2"] = "L2"
    seeds: list[int] = []
    sizes: dict[str, int] = {}
    fixed: bool = False
    about: str = ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"norm": "linf"}, "here: key 'norm' got 'linf': allowed is 'Linf' or 'L2'."),
        ({"seeds": 2}, "here: key 'seeds' got 2: allowed is a list, such as [2]."),
        ({"seeds": {"a": 2}}, "here: key 'seeds': allowed is a list."),
        ({"sizes": 2}, "here: key 'sizes' got 2: allowed is keys with values."),
        ({"about": 2}, "here: key 'about' got 2: allowed is text."),
    ],
    ids=str,
)
def test_what_is_allowed_is_said_in_words_of_yaml(content: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate_model(Filed, content, "here")
    assert str(error.value) == said


def test_where_a_fault_is_stands_once_in_its_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^parameters of attack 'pgd': unknown key 'stepz'") as error:
        find_attack("pgd", parameters={"stepz": 3})
    assert str(error.value).count("attack 'pgd'") == 1


def test_a_type_has_its_article() -> None:
    assert [a_type(value) for value in (3, 3.0, None, [])] == ["an int", "a float", "None", "a list"]
