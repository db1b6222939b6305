"""Data sets with two levels of classes, and the parts that the networks of a hierarchy are trained on (ma2025 chapter 5).

The parts are views of the same images: all of them with leaf labels, all of them with meta labels (``part: meta``), or those of
one meta-class with its leaf classes numbered from 0 (its number). Whichever it is, the images are those of the whole, in their
order.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from robustscape.data.hierarchies import check_hierarchy, leaf_classes, meta_class_of_each
from robustscape.data.sets.cifar10 import cifar10
from robustscape.data.sets.cifar100 import cifar100
from robustscape.data.sets.digits import digits
from robustscape.data.sets.fashion_mnist5k import fashion_mnist5k
from robustscape.data.sets.mnist5k import mnist5k
from robustscape.data.splits import RawSplits, keep_classes, stratified_subset
from robustscape.errors import ConfigError

_SOURCES = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "digits": digits,
    "mnist5k": mnist5k,
    "fashion_mnist5k": fashion_mnist5k,
}


def class_hierarchy(
    directory: Path,
    *,
    source: Literal["cifar10", "cifar100", "digits", "mnist5k", "fashion_mnist5k"],
    classes: dict[str, list[str]],
    part: Literal["leaves", "meta"] | Annotated[int, Field(ge=0)] = "leaves",
    complete: bool = True,
    train: Annotated[int, Field(ge=1)] | None = None,
    test: Annotated[int, Field(ge=1)] | None = None,
) -> RawSplits:
    """The images of another data set whose classes form meta-classes, with leaf labels, meta labels, or of one meta-class.

    Args:
        directory: where ``source`` looks for its files.
        source: data set from which the images are taken.
        classes: meta-class -> names of its leaf classes in ``source``. Labels follow this order (``data.hierarchies``).
        part: "leaves": all images with leaf labels; "meta": all images with meta labels; a number: the images of that meta-class,
            from 0, with its leaf classes numbered from 0.
        complete: whether every class of ``source`` must be in a meta-class; if not, the images of the others are left out.
        train: training images of the whole, a fixed stratified subset; None: all. Parts have their share of the same images.
        test: test images, likewise.

    Raises:
        ConfigError: the classes are no hierarchy over those of ``source``, there is no meta-class of that number, or a size does
            not fit.
    """
    splits = _SOURCES[source](directory)
    check_hierarchy(classes, list(splits.classes), complete=complete)
    whole = _smaller(keep_classes(splits, leaf_classes(classes)), train, test)
    notes = [whole.note, f"classes of {source} in {len(classes)} meta-classes"]
    if part == "leaves":
        return replace(whole, note=_joined(*notes))
    if part == "meta":
        meta = np.array(meta_class_of_each(classes), dtype=np.int64)
        labelled = replace(
            whole, train_y=meta[whole.train_y], test_y=meta[whole.test_y], classes=[str(name) for name in classes]
        )
        return replace(labelled, note=_joined(*notes, "labelled by meta-class"))
    if part >= len(classes):
        raise ConfigError(f"key 'part' got {part}; allowed are leaves, meta and 0 to {len(classes) - 1}.")
    name = list(classes)[part]
    return replace(keep_classes(whole, classes[name]), note=_joined(*notes, f"only {name}"))


def _smaller(splits: RawSplits, train: int | None, test: int | None) -> RawSplits:
    """Return fixed stratified subsets of both parts; what was cut is the publisher's whole no longer."""
    if train is None and test is None:
        return splits
    count = len(splits.classes)
    train_x, train_y = stratified_subset(splits.train_x, splits.train_y, train, "parameters.train", count)
    test_x, test_y = stratified_subset(splits.test_x, splits.test_y, test, "parameters.test", count)
    return replace(splits, train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y, official=False)


def _joined(*notes: str) -> str:
    return " ".join(f"{note.rstrip('.')}." for note in notes if note)
