"""Notes on what was done to weights and samples, and those among them that put the numbers in doubt."""

from __future__ import annotations


class Doubt(str):
    """A note that the numbers may not be those that were meant; it is shown even where other notes are not."""

    __slots__ = ()
