"""Numbers of images in docstrings, in docs/how-to/data.md and in config/datasets.yaml are those of the data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from robustscape import catalog
from robustscape.config.base import read_mapping
from robustscape.config.datasets import DatasetEntry
from robustscape.data.sets import cifar10
from robustscape.data.splits import RawSplits

ROOT = Path(__file__).parents[2]
NOWHERE = Path("/nowhere")
PAGE = next((ROOT / "docs").rglob("data.md")).read_text()
ENTRIES = read_mapping(DatasetEntry, ROOT / "config" / "datasets.yaml")
SIZES = re.compile(r"([\d,]+) \+ ([\d,]+)")
EMBEDDED = ("digits", "mnist5k", "fashion_mnist5k", "spoken_words")


def number(text: str) -> int:
    return int(text.replace(",", ""))


def sizes(text: str) -> tuple[int, int] | None:
    """The first "training + test" in a text."""
    found = SIZES.search(text)
    return (number(found[1]), number(found[2])) if found else None


def documented_shape(text: str) -> tuple[int, ...]:
    found = re.search(r"\b(\d+)x(\d+)x(\d+)\b", text)
    assert found, text
    return tuple(int(part) for part in found.groups())


def read(dataset: str, **parameters: str) -> RawSplits:
    splits: RawSplits = catalog.load_function("dataset", dataset)(NOWHERE, **parameters)
    return splits


@pytest.mark.parametrize("dataset", EMBEDDED)
def test_docstrings_of_the_embedded_data_sets(dataset: str) -> None:
    splits, summary = read(dataset), catalog.find_entry("dataset", dataset).summary
    train, test = len(splits.train_y), len(splits.test_y)
    if dataset == "fashion_mnist5k":  # 500 + 100 per class
        assert sizes(summary) == (train // 10, test // 10)
    else:
        assert sizes(summary) == (train, test)
    assert number(summary.split()[0]) == train + test
    assert documented_shape(summary) == splits.train_x.shape[1:]
    assert f"{len(splits.classes)} classes" in summary


@pytest.mark.parametrize("dataset", sorted(catalog.catalog_entries("dataset")))
def test_the_page_agrees_with_docstrings_and_data(dataset: str) -> None:
    row, *_ = re.findall(rf"^\| `{dataset}` \|.*$", PAGE, re.MULTILINE)  # in the first table of the page
    summary = catalog.find_entry("dataset", dataset).summary
    if dataset in EMBEDDED:
        splits = read(dataset)
        assert sizes(row) == (len(splits.train_y), len(splits.test_y))
        assert documented_shape(row) == splits.train_x.shape[1:]
        assert f"| {len(splits.classes)} |" in row
    elif dataset == "tiny_imagenet":
        assert sizes(row) == (100_000, 10_000) and "100,000 for training, the 10,000" in summary
        assert documented_shape(row) == documented_shape(summary)
    elif dataset != "mnist2":  # whose row names its sources, not numbers
        assert sizes(row) == sizes(summary)
    if re.match(r"[\d,]+ ", summary) and dataset != "fashion_mnist5k":
        train, test = sizes(row) or (0, 0)
        assert number(summary.split()[0]) == train + test


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if sizes(entry.about)])
def test_the_entries_say_how_much_there_is(name: str) -> None:
    entry = ENTRIES[name]
    whole = None
    if entry.dataset in EMBEDDED or entry.parameters.get("source") in EMBEDDED:
        splits = read(entry.dataset, **entry.parameters)
        whole = (len(splits.train_y), len(splits.test_y))
        side = splits.train_x.shape[2] // entry.pool
        said = re.search(r"\b(\d+)x\1\b", entry.about)
        assert said is None or int(said[1]) == side
    else:
        whole = sizes(catalog.find_entry("dataset", entry.dataset).summary)
    assert whole is not None
    assert sizes(entry.about) == (entry.train or whole[0], entry.test or whole[1])


def test_the_page_shows_the_error_for_a_missing_archive() -> None:
    assert f"\n  {cifar10.ARCHIVE} from {cifar10.ARCHIVE.urls[0]}\n" in PAGE


def test_the_shipped_subset_has_the_size_that_is_said() -> None:
    folder = ROOT / "resources" / "fashion_mnist_5k"
    said = re.search(r"`resources/fashion_mnist_5k` \(([\d.]+) MB\)", PAGE)
    assert said
    assert abs(sum(file.stat().st_size for file in folder.iterdir()) / 1e6 - float(said[1])) < 0.1
