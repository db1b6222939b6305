"""Prepared data sets: a folder with ``data.safetensors`` and ``card.json``, written once and read by every job.

Tensors: train_x uint8 (N, C, H, W), train_y int64 (N,), test_x, test_y. The card describes them and holds the SHA-256 of
the safetensors file; ``load_dataset`` refuses a file with another hash. Writing needs no torch, so a data job takes less
than a second. The card is written last, so a folder with a card is complete.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robustscape import catalog
from robustscape.data import splits
from robustscape.data.splits import RawSplits
from robustscape.errors import ConfigError, CorruptFile, MissingData
from robustscape.storage import atomic

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustscape.config.datasets import DatasetEntry

TENSORS = "data.safetensors"
CARD = "card.json"


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs and labels on one device.

    Args:
        x: inputs (N, ...), uint8 levels or floats.
        y: labels, int64 (N,).
        scale: divisor that brings ``x`` to [0, 1].
    """

    x: Tensor
    y: Tensor
    scale: float

    def __len__(self) -> int:
        return len(self.y)

    def inputs(self, index: Tensor | slice | None = None) -> Tensor:
        """Return float32 inputs in [0, 1], (n, ...): those at ``index`` (indices, a mask or a slice), or all.

        Every device gives the same floats: the divisor is a tensor because CUDA would multiply by the reciprocal of a
        Python number, which rounds differently. Cost: one gather of bytes and one division.
        """
        levels = (self.x if index is None else self.x[index]).float()
        return levels / levels.new_full((), self.scale)

    def first(self, samples: int | None) -> tuple[Tensor, Tensor]:
        """Return inputs (n, ...) and labels (n,) of the first ``samples``, or of all for None.

        Subsets are stored in ``splits.stratified_order``, so their first samples are a stratified sample. A whole data set is
        in the order that its function gives: the publisher's where that is shuffled, else the stratified one.
        """
        if samples is not None and samples < 1:
            raise ConfigError(f"samples got {samples}, allowed is an integer of at least 1, or none for all.")
        return self.inputs(slice(samples)), self.y[:samples]

    def select(self, index: Tensor | slice) -> Split:
        """Return the split of the samples at ``index`` (indices, a mask or a slice)."""
        return replace(self, x=self.x[index], y=self.y[index])


def prepare_dataset(name: str, entry: DatasetEntry, folder: str | Path, downloads: str | Path) -> dict[str, Any]:
    """Read the data set described by ``entry``, write it to ``folder`` and return the card.

    Args:
        name: name of the entry in ``config/datasets.yaml``.
        entry: data set, parameters, sizes, pooling.
        folder: where ``data.safetensors`` and ``card.json`` are written.
        downloads: where raw files are looked for and, if they are missing, downloaded to.

    Raises:
        MissingData: a raw file is missing and cannot be downloaded; the message says what to put where.
        CorruptFile: a raw file is not the publisher's.
        ConfigError: the sizes or the pooling do not fit the data.
        UserError: the files cannot be written.
    """
    import safetensors.numpy

    folder = Path(folder)
    raw: RawSplits = catalog.load_function("dataset", entry.dataset)(Path(downloads), **entry.parameters)
    tensors = {}
    for part, size in (("train", entry.train), ("test", entry.test)):
        x, y = splits.stratified_subset(
            getattr(raw, f"{part}_x"), getattr(raw, f"{part}_y"), size, f"{name}.{part}", len(raw.classes)
        )
        tensors[f"{part}_x"] = np.ascontiguousarray(splits.mean_pool(x, entry.pool))
        tensors[f"{part}_y"] = np.ascontiguousarray(y)
    content = safetensors.numpy.save(tensors)
    card = _card(name, entry, raw, tensors) | {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    atomic.write_bytes(folder / TENSORS, content)
    atomic.write_json(folder / CARD, card)
    return card


def _card(name: str, entry: DatasetEntry, raw: RawSplits, tensors: dict[str, Any]) -> dict[str, Any]:
    """Return what a reader of a result, and the code that builds a model, must know of the data."""
    mean, std = splits.channel_statistics(tensors["train_x"], raw.scale)
    notes = [raw.note] if raw.note else []
    for part, size in (("train", entry.train), ("test", entry.test)):
        if size is not None:
            notes.append(f"{part}: {size} of {len(getattr(raw, f'{part}_y'))}, stratified.")
    if entry.pool > 1:
        notes.append(f"images reduced by means of {entry.pool}x{entry.pool} pixels, rounded to whole levels.")
    return {
        "name": name,
        "dataset": entry.dataset,
        "parameters": entry.parameters,
        "shape": list(tensors["train_x"].shape[1:]),
        "num_classes": len(raw.classes),
        "classes": list(raw.classes),
        "train": len(tensors["train_y"]),
        "test": len(tensors["test_y"]),
        "class_counts": {
            part: np.bincount(tensors[f"{part}_y"], minlength=len(raw.classes)).tolist() for part in ("train", "test")
        },
        "scale": raw.scale,
        "mean": mean,
        "std": std,
        "official_split": raw.official and entry.train is None and entry.test is None and entry.pool == 1,
        "notes": notes,
        "licence": raw.licence,
        "source": raw.source,
    }


def load_dataset(folder: str | Path, device: torch.device | str = "cpu") -> tuple[Split, Split, dict[str, Any]]:
    """Return training split, test split and card of a prepared data set, the tensors on ``device``.

    Args:
        folder: as written by ``prepare_dataset``.
        device: where the tensors go.

    Raises:
        MissingData: the folder holds no prepared data set.
        CorruptFile: a file is truncated, altered or not the one of the card.
    """
    folder = Path(folder)
    card = _read_card(folder)
    _verify(folder / TENSORS, card)
    import safetensors.torch

    tensors = safetensors.torch.load_file(folder / TENSORS, device=str(device))
    train, test = (Split(tensors[f"{part}_x"], tensors[f"{part}_y"], card["scale"]) for part in ("train", "test"))
    return train, test, card


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingData(
            f"there is no prepared data set in '{folder}'; prepare it first (robustscape prepare)."
        ) from None
    except ValueError:
        card = None
    if not isinstance(card, dict) or not {"sha256", "bytes", "scale"} <= card.keys():
        raise CorruptFile(f"'{path}' is not a data set's card; delete the folder and prepare the data set again.")
    return card


def _verify(path: Path, card: dict[str, Any]) -> None:
    """Raise CorruptFile or MissingData unless ``path`` has the size and the SHA-256 of the card."""
    advice = "delete the folder and prepare the data set again"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise MissingData(f"'{path}' is missing although its card is there; {advice}.") from None
    if size != card["bytes"]:
        raise CorruptFile(f"'{path}' has {size} bytes, its card says {card['bytes']}; {advice}.")
    if sha256 != card["sha256"]:
        raise CorruptFile(f"'{path}' was altered: its SHA-256 is {sha256}, its card says {card['sha256']}; {advice}.")
