"""Recipes that read other runs: the fine-tuning of a source towards witnesses (ma2025 chapter 6). Imports no torch.

A recipe whose method takes ``nets``, ``source`` and ``witness`` starts from the weights of one run and reads those of others. It
names them by recipe and seed: ``nets: ma2025_nets, source: res50, witness: res18`` are runs of ``ma2025_nets-res50`` and
``ma2025_nets-res18``, of the data set of the run that reads them. What stands under these names may be trained or come from
outside (``checkpoint`` of a run list): the name of the latter is then ``NETS-res50``, too.
"""

from __future__ import annotations

from typing import NamedTuple

from robustscape.config.recipes import Recipe

#: Parameters by which a method is known to read other runs.
_NAMING = {"nets", "source", "source_seed", "witness", "witness_seeds"}


class NamedRun(NamedTuple):
    """A run that another one reads: its recipe and its seed; the data set is that of the run that reads it."""

    recipe: str
    seed: int


def runs_read(recipe: Recipe) -> tuple[NamedRun, ...]:
    """Return the runs that a run of ``recipe`` reads, the one whose weights it starts from first; () for all but alignments."""
    given = recipe.parameters
    if not set(given) >= _NAMING:
        return ()
    nets = given["nets"]
    witnesses = (NamedRun(f"{nets}-{given['witness']}", seed) for seed in given["witness_seeds"])
    return NamedRun(f"{nets}-{given['source']}", given["source_seed"]), *witnesses
