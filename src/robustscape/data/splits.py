"""Images and labels as they come from the files, and what is done to them before they are stored. NumPy only.

Everything here is deterministic without a seed: which images a subset holds depends on the data set, not on a run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustscape.errors import ConfigError, UserError

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class RawSplits:
    """What a data set's function returns.

    Args:
        train_x: training inputs, uint8, (N, C, H, W).
        train_y: their labels, int64 in 0..K-1, (N,).
        test_x: test inputs, uint8, (M, C, H, W).
        test_y: their labels, int64, (M,).
        classes: names of the K classes.
        scale: what an input is divided by to be in [0, 1]: 255 for images, 16 for the digits of scikit-learn.
        licence: under which the data are given.
        source: who published them, and where they were read.
        official: whether these are the publisher's training and test sets, whole; only then may a number measured on
            them be compared with a printed one.
        note: what the reader of a result must know: a subset, a split of our own.

    Raises:
        UserError: types, shapes, labels or levels are not these.
    """

    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array
    classes: Sequence[str]
    scale: float
    licence: str
    source: str
    official: bool
    note: str = ""

    def __post_init__(self) -> None:
        for part, x, y in (("training", self.train_x, self.train_y), ("test", self.test_x, self.test_y)):
            if x.dtype != np.uint8 or x.ndim != 4:
                raise UserError(f"the {part} inputs must be uint8 (N, C, H, W), got {x.dtype} {x.shape}.")
            if y.dtype != np.int64 or y.shape != x.shape[:1]:
                raise UserError(f"the {part} labels must be int64 ({len(x)},), got {y.dtype} {y.shape}.")
            if not len(y) or y.min() < 0 or y.max() >= len(self.classes):
                raise UserError(f"the {part} labels must be in 0..{len(self.classes) - 1}, and there must be some.")
            if x.max() > self.scale:
                raise UserError(f"the {part} inputs reach {x.max()}, above the scale {self.scale:g}.")
        if self.train_x.shape[1:] != self.test_x.shape[1:]:
            raise UserError(f"training and test inputs differ: {self.train_x.shape[1:]} and {self.test_x.shape[1:]}.")
        if len(np.unique(self.train_y)) < len(self.classes):
            raise UserError("a class has no training input.")


def stratified_order(labels: Array) -> Array:
    """Indices 0..n-1 in a fixed, shuffled order in which every beginning is a stratified sample.

    Within a class the order is random; sample number r (from 0) of a class of size m comes at r/m. So every beginning
    holds the classes in their proportions, to within one sample where they are balanced, and each of K classes from the
    K-th sample on; larger subsets contain smaller ones. The random numbers are the raw stream of PCG64, which NumPy
    guarantees not to change.

    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> labels[stratified_order(labels)]
    array([0, 1, 0, 0, 1, 0])
    """
    count = len(labels)
    shuffled = np.argsort(np.random.PCG64(0).random_raw(count), kind="stable")
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, starts, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.arange(count) - np.repeat(starts, sizes)
    order: Array = by_class[np.lexsort((labels[by_class], rank / np.repeat(sizes, sizes)))]
    return order


def hold_out(labels: Array, share: float) -> tuple[Array, Array]:
    """Indices of a training and a test set, stratified, for data that were published in one piece.

    The test set is ``share`` of them, rounded up.
    """
    order = stratified_order(labels)
    size = math.ceil(share * len(labels))
    return order[size:], order[:size]


def stratified_subset(x: Array, y: Array, size: int | None, key: str, classes: int) -> tuple[Array, Array]:
    """The first ``size`` samples in ``stratified_order``; all of them, in the order given, for None.

    Raises:
        ConfigError: more than there are, or fewer than one a class.
    """
    if size is None:
        return x, y
    if not classes <= size <= len(y):
        raise ConfigError(
            f"key '{key}' got {size}; allowed is {classes} (one a class) to {len(y)} (all), or null for all."
        )
    chosen = stratified_order(y)[:size]
    return x[chosen], y[chosen]


def mean_pool(x: Array, factor: int) -> Array:
    """Means of ``factor`` x ``factor`` pixels, rounded half up to whole levels: uint8 (N, C, H, W) to (N, C, H/f, W/f).

    Raises:
        ConfigError: ``factor`` does not divide height and width.
    """
    if factor == 1:
        return x
    n, c, h, w = x.shape
    if h % factor or w % factor:
        raise ConfigError(f"key 'pool' got {factor}, which does not divide images of {h}x{w} pixels.")
    area = factor * factor
    sums = x.reshape(n, c, h // factor, factor, w // factor, factor).sum(axis=(3, 5), dtype=np.uint32)
    means: Array = ((2 * sums + area) // (2 * area)).astype(np.uint8)
    return means


def keep_classes(splits: RawSplits, names: Sequence[str]) -> RawSplits:
    """Only the samples of some classes, relabelled 0, 1, ... in the order of ``names``."""
    labels = np.full(len(splits.classes), -1, dtype=np.int64)
    labels[[list(splits.classes).index(name) for name in names]] = np.arange(len(names))

    def part(x: Array, y: Array) -> tuple[Array, Array]:
        kept = labels[y] >= 0
        return x[kept], labels[y[kept]]

    (train_x, train_y), (test_x, test_y) = part(splits.train_x, splits.train_y), part(splits.test_x, splits.test_y)
    return replace(splits, train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y, classes=list(names))


def channel_statistics(x: Array, scale: float) -> tuple[list[float], list[float]]:
    """Mean and standard deviation (of the population) of each channel of uint8 inputs (N, C, H, W), in units of [0, 1].

    Counted by level, so exact up to the last rounding and in little memory.
    """
    counts = np.zeros((x.shape[1], 256), dtype=np.int64)
    for start in range(0, len(x), 1024):
        for channel in range(x.shape[1]):
            counts[channel] += np.bincount(x[start : start + 1024, channel].ravel(), minlength=256)
    levels, total = np.arange(256) / scale, counts.sum(axis=1)
    mean = counts @ levels / total
    variance = (counts * (levels - mean[:, None]) ** 2).sum(axis=1) / total
    return mean.tolist(), np.sqrt(variance).tolist()
