"""Images and labels as read from the files, and what is done to them before they are stored. NumPy only.

Everything here is deterministic without a seed: the images of a subset depend on the data set, not on the run.
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
    """A data set as returned by its function: training and test samples, and where they come from.

    Args:
        train_x: training inputs, uint8, (N, C, H, W); not sorted by class, since what is monitored are the first ones
            (``stratified_order`` is an order for those that are).
        train_y: training labels, int64 in 0..K-1, (N,).
        test_x: test inputs, uint8, (M, C, H, W).
        test_y: test labels, int64 in 0..K-1, (M,).
        classes: names of the K classes.
        scale: divisor that brings inputs to [0, 1]: 255 for images, 16 for the digits of scikit-learn.
        licence: licence of the data.
        source: who published them, and where they were read.
        official: whether these are the publisher's whole training and test sets; only then may a number measured on them
            be compared with a printed one.
        note: what the reader of a result must know, such as "a subset" or "a split of our own".
        complete: whether there has to be a training input of every class.

    Raises:
        UserError: types, shapes, labels or levels are not as described; the message says which and what they are.
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
    complete: bool = True

    def __post_init__(self) -> None:
        for part, x, y in (("training", self.train_x, self.train_y), ("test", self.test_x, self.test_y)):
            if x.dtype != np.uint8 or x.ndim != 4:
                raise UserError(f"the {part} inputs must be uint8 (N, C, H, W), got {x.dtype} {x.shape}.")
            if y.dtype != np.int64 or y.shape != x.shape[:1]:
                raise UserError(f"the {part} labels must be int64 ({len(x)},), got {y.dtype} {y.shape}.")
            if not len(y) or y.min() < 0 or y.max() >= len(self.classes):
                found = f"{y.min()}..{y.max()}" if len(y) else "none"
                raise UserError(
                    f"the {part} labels must be in 0..{len(self.classes) - 1}, and there must be some; got {found}."
                )
            if x.max() > self.scale:
                raise UserError(f"the {part} inputs reach {x.max()}, above the scale {self.scale:g}.")
        if self.train_x.shape[1:] != self.test_x.shape[1:]:
            raise UserError(f"training and test inputs differ: {self.train_x.shape[1:]} and {self.test_x.shape[1:]}.")
        if self.complete and len(np.unique(self.train_y)) < len(self.classes):
            absent = sorted({*range(len(self.classes))} - {*self.train_y.tolist()})
            raise UserError(
                f"every class needs a training input; there is none of {[self.classes[c] for c in absent]}."
            )


def stratified_order(labels: Array) -> Array:
    """Return the indices 0..n-1 in a fixed, shuffled order in which the first k, for any k, are a stratified sample.

    Within a class the order is random; sample number r (from 0) of a class of size m is placed at r/m. So the first k
    samples hold the classes in their proportions (to within one sample where the classes are balanced) and, from k = K
    on, each of the K classes; larger subsets contain smaller ones. The random numbers are the raw stream of PCG64, which
    NumPy guarantees not to change.

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
    """Return the indices of a stratified training and test set, for data that were published without a split.

    Args:
        labels: labels of all samples, (N,).
        share: fraction of the samples in the test set, rounded up to whole samples.
    """
    order = stratified_order(labels)
    size = math.ceil(share * len(labels))
    return order[size:], order[:size]


def stratified_subset(x: Array, y: Array, size: int | None, key: str, classes: int) -> tuple[Array, Array]:
    """Return the first ``size`` samples in ``stratified_order``, or for None all samples in the given order.

    Args:
        x: inputs (N, ...).
        y: labels (N,).
        size: number of samples, or None.
        key: key of the configuration that holds ``size``, for errors.
        classes: number of classes.

    Raises:
        ConfigError: ``size`` is above N, or below one per class.
    """
    if size is None:
        return x, y
    if not classes <= size <= len(y):
        raise ConfigError(
            f"key '{key}' got {size}; allowed is {classes} (one per class) to {len(y)} (all), or null for all."
        )
    chosen = stratified_order(y)[:size]
    return x[chosen], y[chosen]


def mean_pool(x: Array, factor: int) -> Array:
    """Return means of ``factor`` x ``factor`` pixels, rounded half up to whole levels: uint8 (N, C, H/factor, W/factor).

    >>> mean_pool(np.array([[[[0, 1], [0, 1]]]], dtype=np.uint8), 2).tolist()
    [[[[1]]]]

    Raises:
        ConfigError: ``factor`` does not divide height and width.
    """
    if factor == 1:
        return x
    n, c, h, w = x.shape
    if h % factor or w % factor:
        raise ConfigError(
            f"key 'pool' got {factor}, which does not divide images of {h}x{w} pixels; allowed are common divisors."
        )
    area = factor * factor
    sums = x.reshape(n, c, h // factor, factor, w // factor, factor).sum(axis=(3, 5), dtype=np.uint32)
    means: Array = ((2 * sums + area) // (2 * area)).astype(np.uint8)
    return means


def keep_classes(splits: RawSplits, names: Sequence[str]) -> RawSplits:
    """Return the samples of the classes ``names`` only, relabelled 0, 1, ... in that order."""
    labels = np.full(len(splits.classes), -1, dtype=np.int64)
    labels[[list(splits.classes).index(name) for name in names]] = np.arange(len(names))

    def part(x: Array, y: Array) -> tuple[Array, Array]:
        kept = labels[y] >= 0
        return x[kept], labels[y[kept]]

    (train_x, train_y), (test_x, test_y) = part(splits.train_x, splits.train_y), part(splits.test_x, splits.test_y)
    return replace(splits, train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y, classes=list(names))


def channel_statistics(x: Array, scale: float) -> tuple[list[float], list[float]]:
    """Return mean and (population) standard deviation of each channel of uint8 inputs (N, C, H, W), in units of [0, 1].

    They are computed from the counts of the levels: exact up to the last rounding, in little memory.
    """
    counts = np.zeros((x.shape[1], 256), dtype=np.int64)
    for start in range(0, len(x), 1024):
        for channel in range(x.shape[1]):
            counts[channel] += np.bincount(x[start : start + 1024, channel].ravel(), minlength=256)
    levels, total = np.arange(256) / scale, counts.sum(axis=1)
    mean = counts @ levels / total
    variance = (counts * (levels - mean[:, None]) ** 2).sum(axis=1) / total
    return mean.tolist(), np.sqrt(variance).tolist()
