"""The errors that a user is meant to read.

The message of a ``UserError`` says what is wrong, what was found and what is allowed. The command line prints it without a
traceback and exits with code 2. Every other exception is a fault of the program and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

#: Names that resemble a file or folder that is not there: so many are shown.
NEAR_PATHS = 3

#: A list of more names than this is not shown as a whole, but so many of them that resemble the one that is not in it.
LONG_LIST, NEAR_NAMES = 20, 8


class UserError(Exception):
    """A problem that the user can solve; its message is a complete sentence."""


class ConfigError(UserError):
    """A configuration key is unknown, missing or out of range."""


class CorruptFile(UserError):
    """A file is truncated, altered or not what its name says."""


class MissingData(UserError):
    """A data set is not where it should be; the message says what to put where."""


class AttackError(UserError):
    """An attack produced an illegal batch, or the model cannot be attacked."""


def unknown_name(kind: str, got: str, allowed: Iterable[str], shown_by: str = "") -> ConfigError:
    """Return the error for a name that is not in a list; it names the nearest one, and all that are allowed.

    Args:
        kind: what the name is of.
        got: the name.
        allowed: the names there are; of more than ``LONG_LIST`` only the ``NEAR_NAMES`` nearest are named.
        shown_by: what shows all of them, such as a command.
    """
    import difflib

    names = sorted(allowed)
    close = difflib.get_close_matches(got, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    listed = ", ".join(names) or "none"
    if len(names) > LONG_LIST:
        near = difflib.get_close_matches(got, names, n=NEAR_NAMES, cutoff=0.4)
        listed = f"{', '.join(near)} and {len(names) - len(near)} more" if near else f"one of {len(names)} names"
        listed += f"; {shown_by} shows all" if shown_by else ""
    return ConfigError(f"unknown {kind} '{got}'.{hint} Allowed: {listed}.")


def a_type(value: object) -> str:
    """Return the name of a value's type with its article.

    >>> a_type(3), a_type("x"), a_type(None)
    ('an int', 'a str', 'None')
    """
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def near_paths(path: Path) -> list[str]:
    """Return what lies beside a path and has a name like its own, the nearest first; at most ``NEAR_PATHS``."""
    import difflib

    try:
        beside = [other.name for other in path.parent.iterdir()]
    except OSError:  # there is no such folder, or it cannot be read
        return []
    return [str(path.parent / name) for name in difflib.get_close_matches(path.name, beside, n=NEAR_PATHS)]


def near_path_hint(path: Path) -> str:
    """Return a question, after a space, that names what may have been meant by a path; empty if nothing is near."""
    names = " or ".join(f"'{name}'" for name in near_paths(path))
    return f" Did you mean {names}?" if names else ""
