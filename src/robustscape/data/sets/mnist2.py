"""MNIST2 of yamada2021: digits 0 and 1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from robustscape.data.sets.digits import digits
from robustscape.data.sets.mnist import mnist
from robustscape.data.sets.mnist5k import mnist5k
from robustscape.data.splits import RawSplits, keep_classes

_SOURCES = {"mnist": mnist, "mnist5k": mnist5k, "digits": digits}


def mnist2(directory: Path, *, source: Literal["mnist", "mnist5k", "digits"] = "mnist") -> RawSplits:
    """Digits 0 and 1; with MNIST the official split (12,665 + 2,115).

    yamada2021 appendix C. Label 0 is the digit 0, the class y = -1 of the work's logistic regression.

    Args:
        directory: where ``source`` looks for its files.
        source: data set from which the digits are taken; all but ``mnist`` are stand-ins.
    """
    splits = keep_classes(_SOURCES[source](directory), ["0", "1"])
    return replace(splits, note=f"{splits.note} digits 0 and 1 only.".strip())
