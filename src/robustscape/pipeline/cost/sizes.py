"""Sizes of data sets and networks, known before a data set is prepared or a network is built. Imports no torch.

Those of networks are in ``nets.csv``, which ``robustscape cost --count`` writes: the operations of a forward pass, counted by
torch, for every pair of an architecture and a data set at any scale.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from robustscape.config.architectures import ArchitectureEntry
from robustscape.config.datasets import DatasetEntry

#: The file of counted networks.
NETS = Path(__file__).with_name("nets.csv")


@dataclass(frozen=True)
class DataSize:
    """The size of a data set."""

    train: int
    test: int
    shape: tuple[int, ...]
    """Of an input, (C, H, W)."""
    classes: int

    @property
    def coordinates(self) -> int:
        """Numbers of an input."""
        product = 1
        for side in self.shape:
            product *= side
        return product

    @property
    def bytes(self) -> int:
        """Of the prepared file: a byte a number, eight a label."""
        return (self.train + self.test) * (self.coordinates + 8)


#: Data set -> its size, whole. ``mnist2`` and ``class_hierarchy`` take theirs from another; synthetic words have the length that
#: their entry says. Of ``vctk`` it is that of ten speakers, about.
WHOLE = {
    "mnist": DataSize(60_000, 10_000, (1, 28, 28), 10),
    "fashion_mnist": DataSize(60_000, 10_000, (1, 28, 28), 10),
    "cifar10": DataSize(50_000, 10_000, (3, 32, 32), 10),
    "cifar2": DataSize(10_000, 2_000, (3, 32, 32), 2),
    "cifar100": DataSize(50_000, 10_000, (3, 32, 32), 100),
    "svhn": DataSize(73_257, 26_032, (3, 32, 32), 10),
    "tiny_imagenet": DataSize(100_000, 10_000, (3, 64, 64), 200),
    "caltech101": DataSize(6_941, 1_736, (3, 224, 224), 101),
    "imagenette": DataSize(9_469, 3_925, (3, 224, 224), 10),
    "speech_commands": DataSize(84_843, 11_005, (2, 1, 16_000), 35),
    "spoken_words": DataSize(1_680, 400, (2, 1, 2_400), 10),
    "spoken_speakers": DataSize(960, 240, (2, 1, 2_400), 10),
    "vctk": DataSize(3_000, 750, (2, 1, 48_000), 10),
    "imagenet": DataSize(1_281_167, 50_000, (3, 224, 224), 1000),
    "stanford_cars": DataSize(8_144, 8_041, (3, 224, 224), 196),
    "food101": DataSize(75_750, 25_250, (3, 224, 224), 101),
    "digits": DataSize(1_437, 360, (1, 8, 8), 10),
    "mnist5k": DataSize(4_000, 1_000, (1, 28, 28), 10),
    "fashion_mnist5k": DataSize(5_000, 1_000, (1, 28, 28), 10),
}

#: The ten words of the first version of Speech Commands, by the official lists.
_TEN_WORDS = DataSize(18_538, 2_567, (2, 1, 16_000), 10)

#: Source of ``mnist2`` -> images of the digits 0 and 1.
_TWO_DIGITS = {"mnist": (12_665, 2_115), "mnist5k": (800, 200), "digits": (288, 72)}


def data_size(entry: DatasetEntry, folder: Path | None = None) -> DataSize | None:
    """Return the size of a data set: that of its card, if it is prepared in ``folder``, or else what its entry says.

    None if neither is known, as for a plug-in that is not prepared. Parts of a hierarchy are counted as if all classes of the
    source had as many images.
    """
    card = folder / "card.json" if folder is not None else None
    if card is not None and card.exists():
        said = json.loads(card.read_text(encoding="utf-8"))
        return DataSize(said["train"], said["test"], tuple(said["shape"]), said["num_classes"])
    whole = _whole(entry)
    if whole is None:
        return None
    channels, *sides = whole.shape
    shape = (channels, *(side // entry.pool for side in sides))
    return DataSize(entry.train or whole.train, entry.test or whole.test, shape, whole.classes)


def _whole(entry: DatasetEntry) -> DataSize | None:
    """Return the size of a data set without the subset and the pooling of its entry."""
    p = entry.parameters
    if entry.dataset == "random_inputs":
        return DataSize(p["samples"], p["samples"], tuple(p["shape"]), p["classes"])
    if entry.dataset == "mnist2":
        train, test = _TWO_DIGITS[p["source"]]
        return DataSize(train, test, WHOLE[p["source"]].shape, 2)
    if entry.dataset == "class_hierarchy":
        return _part_of_a_hierarchy(p)
    if entry.dataset == "speech_commands" and p.get("words"):
        return _TEN_WORDS
    whole = WHOLE.get(entry.dataset)
    if entry.dataset in ("spoken_words", "spoken_speakers") and whole and "length" in p:
        return replace(whole, shape=(*whole.shape[:-1], p["length"]))
    return whole


def _part_of_a_hierarchy(p: Mapping[str, Any]) -> DataSize:
    source, groups = WHOLE[p["source"]], [len(leaves) for leaves in p["classes"].values()]
    leaves, part = sum(groups), p.get("part", "leaves")
    kept = leaves if part in ("leaves", "meta") else groups[part]
    classes = len(groups) if part == "meta" else kept
    share = kept / source.classes
    train, test = (p.get(name) or getattr(source, name) for name in ("train", "test"))
    return DataSize(round(train * share), round(test * share), source.shape, classes)


@dataclass(frozen=True)
class NetSize:
    """What a forward pass of a network takes, per sample, and what it keeps."""

    flop: float
    """Operations of a forward pass of one sample; a product and its sum are two."""
    weights: int
    """Numbers of its parameters and buffers."""
    activations: int
    """Numbers that a forward pass of one sample keeps for the gradients."""
    layers: int
    """Layers without layers inside."""


#: The columns that say which network a row is about.
_KEY = ("architecture", "parameters", "shape", "classes")

#: Parameters that name a file of weights, which changes no size, and need not be there.
_OF_A_FILE = ("weights", "sha256")


#: Networks that start from weights of a file and are trained whole.
_TRAINED_WHOLE = ("timm_net", "torchvision_net")


def has_frozen_encoder(entry: ArchitectureEntry) -> bool:
    """Return whether only the last layers of a network are trained, on an encoder whose weights are not."""
    given = entry.parameters.get("weights") is not None or "encoder" in entry.parameters
    return given and entry.architecture not in _TRAINED_WHOLE


def sized_parameters(entry: ArchitectureEntry) -> dict[str, Any]:
    """Return the parameters of an architecture that its size depends on."""
    sized = {name: value for name, value in entry.parameters.items() if name not in _OF_A_FILE}
    return sized | ({"encoder": "random-frozen"} if "encoder" in sized else {})


def net_key(entry: ArchitectureEntry, data: DataSize) -> tuple[str, str, str, str]:
    """Return what identifies a network in ``nets.csv``."""
    parameters = json.dumps(sized_parameters(entry), sort_keys=True)
    return entry.architecture, parameters, "x".join(map(str, data.shape)), str(data.classes)


@cache
def read_nets(path: Path = NETS) -> dict[tuple[str, ...], NetSize]:
    """Return network -> its size; nothing where there is no file."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        tuple(row[name] for name in _KEY): NetSize(
            float(row["flop"]), int(row["weights"]), int(row["activations"]), int(row["layers"])
        )
        for row in rows
    }


def nets_csv(nets: Mapping[tuple[str, ...], NetSize]) -> str:
    """Return the text of ``nets.csv``, its rows in order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_KEY, "flop", "weights", "activations", "layers"])
    for key, net in sorted(nets.items()):
        writer.writerow([*key, f"{net.flop:.0f}", net.weights, net.activations, net.layers])
    return text.getvalue()
