"""CIFAR2 of yamada2021: frogs and ships of CIFAR-10."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from robustscape.data.sets.cifar10 import cifar10
from robustscape.data.splits import RawSplits, keep_classes


def cifar2(directory: Path) -> RawSplits:
    """Frogs (label 0) and ships (label 1) of CIFAR-10; official split (10,000 + 2,000).

    yamada2021 appendix C, which lists the data set and reports no result on it.

    Args:
        directory: holds ``cifar-10-binary.tar.gz``.
    """
    return replace(keep_classes(cifar10(directory), ["frog", "ship"]), note="frogs and ships only.")
