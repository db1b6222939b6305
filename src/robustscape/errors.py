"""The errors a user is meant to read.

A ``UserError`` is a sentence: what is wrong, what was found, what is allowed. The command line prints it alone, without a
traceback, and exits with code 2. Every other exception is a fault of the program and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend; its message is a complete sentence."""


class ConfigError(UserError):
    """A configuration key is unknown, missing or out of range."""


class CorruptFile(UserError):
    """A file is truncated, altered or not what its name says."""


class MissingData(UserError):
    """A data set is not where it should be; the message says what to put where."""


class AttackError(UserError):
    """An attack produced an illegal batch, or the model cannot be attacked."""


def unknown(kind: str, got: str, allowed: Iterable[str]) -> ConfigError:
    """The sentence for a name that is not in a list, with the nearest name when there is one."""
    import difflib

    names = sorted(allowed)
    close = difflib.get_close_matches(got, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return ConfigError(f"unknown {kind} '{got}'.{hint} Allowed: {', '.join(names) or 'none'}.")
