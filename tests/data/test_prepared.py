"""Preparing and loading: what is written, what is refused, and how the configuration is read."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from robustscape.config.base import read_mapping
from robustscape.config.datasets import DatasetEntry
from robustscape.data import Split, load_dataset, prepare_dataset, prepared
from robustscape.data.sets.digits import digits as read_digits
from robustscape.data.splits import mean_pool
from robustscape.errors import ConfigError, CorruptFile, MissingData, UserError

ROOT = Path(__file__).parents[2]
NOWHERE = Path("/nowhere")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
ENTRIES = read_mapping(DatasetEntry, ROOT / "config" / "datasets.yaml")
EMBEDDED = [
    name
    for name, entry in ENTRIES.items()
    if entry.dataset in ("digits", "mnist5k", "fashion_mnist5k")
    or entry.parameters.get("source") in ("digits", "mnist5k")
]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A small prepared data set; copied by the tests that spoil it."""
    folder = tmp_path_factory.mktemp("digits")
    return folder, prepare_dataset("digits_tiny", ENTRIES["digits_tiny"], folder, NOWHERE)


@pytest.fixture
def copy(digits, tmp_path):
    for path in digits[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


# -- what is written ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_data_sets_are_prepared_and_their_cards_are_true(tmp_path, name):
    entry = ENTRIES[name]
    card = prepare_dataset(name, entry, tmp_path / name, NOWHERE)
    train, test, read = load_dataset(tmp_path / name)
    assert read == card
    assert sorted(p.name for p in (tmp_path / name).iterdir()) == ["card.json", "data.safetensors"]

    tensors = load_file(tmp_path / name / "data.safetensors")
    assert card["bytes"] == (tmp_path / name / "data.safetensors").stat().st_size
    assert card["name"] == name
    assert card["shape"] == list(tensors["train_x"].shape[1:])
    assert card["train"] == len(train) == len(tensors["train_y"]) == (entry.train or card["train"])
    assert card["test"] == len(test) == len(tensors["test_y"]) == (entry.test or card["test"])
    assert card["num_classes"] == len(card["classes"])
    for part, split in (("train", train), ("test", test)):
        assert card["class_counts"][part] == np.bincount(tensors[f"{part}_y"]).tolist()
        assert split.x.dtype == torch.uint8
        assert split.y.dtype == torch.int64
        assert (split.x.numpy() == tensors[f"{part}_x"]).all()
        assert (split.y.numpy() == tensors[f"{part}_y"]).all()
    scaled = tensors["train_x"] / card["scale"]
    assert scaled.max() <= 1
    assert np.allclose(card["mean"], scaled.mean(axis=(0, 2, 3)))
    assert np.allclose(card["std"], scaled.std(axis=(0, 2, 3)))
    assert card["official_split"] is False
    assert card["notes"]
    assert card["licence"]
    assert card["source"]
    assert ("2x2 pixels" in " ".join(card["notes"])) == (entry.pool == 2)

    again = prepare_dataset(name, entry, tmp_path / "again", NOWHERE)
    assert again == card, "preparing is not deterministic"


def test_a_subset_comes_from_the_whole_and_pooling_is_of_its_images(tmp_path):
    whole = prepare_dataset("digits", DatasetEntry(dataset="digits"), tmp_path / "whole", NOWHERE)
    entry = DatasetEntry.model_validate({"dataset": "digits", "train": 100, "test": 30, "pool": 2})
    small = prepare_dataset("small", entry, tmp_path / "small", NOWHERE)
    assert small["shape"] == [1, 4, 4]
    assert small["class_counts"]["train"] == [10] * 10
    assert small["class_counts"]["test"] == [3] * 10
    assert f"train: 100 of {whole['train']}, stratified." in small["notes"]

    full, part = load_file(tmp_path / "whole" / "data.safetensors"), load_file(tmp_path / "small" / "data.safetensors")
    for split in ("train", "test"):
        available = {
            x.tobytes() + bytes([y]) for x, y in zip(mean_pool(full[f"{split}_x"], 2), full[f"{split}_y"], strict=True)
        }
        assert {
            x.tobytes() + bytes([y]) for x, y in zip(part[f"{split}_x"], part[f"{split}_y"], strict=True)
        } <= available


def test_only_a_whole_official_set_is_called_official(tmp_path, monkeypatch):
    monkeypatch.setattr(
        prepared.catalog,
        "load_function",
        lambda kind, name: lambda directory: replace(read_digits(directory), official=True),
    )
    for changes, official in (({}, True), ({"train": 50}, False), ({"test": 50}, False), ({"pool": 2}, False)):
        card = prepare_dataset("x", DatasetEntry.model_validate({"dataset": "digits", **changes}), tmp_path, NOWHERE)
        assert card["official_split"] is official


def test_preparing_imports_neither_torch_nor_the_packages_the_data_are_in(tmp_path):
    names = ["digits_tiny", "mnist5k", "fashion_tiny"]
    script = f"""
import sys
from pathlib import Path
from robustscape.config.base import read_mapping
from robustscape.config.datasets import DatasetEntry
from robustscape.data import prepare_dataset
entries = read_mapping(DatasetEntry, Path({str(ROOT / "config" / "datasets.yaml")!r}))
for name in {names!r}:
    prepare_dataset(name, entries[name], Path({str(tmp_path)!r}) / name, Path("/nowhere"))
print(*sorted(set(sys.modules) & {{"torch", "torchvision", "sklearn", "mlxtend", "scipy", "pandas", "pickle5"}}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.split() == []
    assert all((tmp_path / name / "card.json").exists() for name in names)


def test_a_failed_preparation_leaves_what_was_there(copy):
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    for changes, message in (
        ({"pool": 3}, "'pool' got 3"),
        ({"train": 2000}, r"'again\.train' got 2000; allowed is 10 .* to 1437"),
        ({"test": 9}, r"'again\.test' got 9"),
    ):
        with pytest.raises(ConfigError, match=message):
            prepare_dataset("again", DatasetEntry.model_validate({"dataset": "digits", **changes}), copy, NOWHERE)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_a_folder_that_cannot_be_written_gets_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        prepare_dataset("digits_tiny", ENTRIES["digits_tiny"], tmp_path / "file" / "folder", NOWHERE)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_nothing_prepared(tmp_path):
    with pytest.raises(MissingData, match=r"no prepared data set in .*robustscape prepare"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("size", [0, 7, 1000, -1])
def test_truncated_tensors_are_named(copy, size):
    path = copy / "data.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CorruptFile, match=r"data\.safetensors' has \d+ bytes, its card says \d+"):
        load_dataset(copy)


@pytest.mark.parametrize("position", [0, 20, 500, -1])
def test_an_altered_byte_is_seen(copy, position):
    path = copy / "data.safetensors"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=r"data\.safetensors' was altered: its SHA-256 is"):
        load_dataset(copy)


def test_tensors_without_a_card_and_a_card_without_tensors(copy):
    (copy / "data.safetensors").unlink()
    with pytest.raises(MissingData, match=r"data\.safetensors' is missing although its card is there"):
        load_dataset(copy)
    (copy / "card.json").unlink()
    with pytest.raises(MissingData, match="no prepared data set"):
        load_dataset(copy)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"scale": 255}', '"sha256 bytes scale"'])
def test_a_damaged_card_is_named(copy, content):
    (copy / "card.json").write_text(content)
    with pytest.raises(CorruptFile, match=r"card\.json' is not a data set's card"):
        load_dataset(copy)


def test_the_card_of_another_set_is_refused(copy, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    prepare_dataset("digits2_tiny", ENTRIES["digits2_tiny"], other, NOWHERE)
    (copy / "card.json").write_bytes((other / "card.json").read_bytes())
    with pytest.raises(CorruptFile):
        load_dataset(copy)


def test_the_hash_is_of_the_file(digits):
    folder, card = digits
    assert card["sha256"] == hashlib.sha256((folder / "data.safetensors").read_bytes()).hexdigest()
    assert json.loads((folder / "card.json").read_text()) == card


# -- splits ------------------------------------------------------------------------------------------------------------


def test_inputs_are_levels_over_scale_in_float32(digits):
    train, _, card = load_dataset(digits[0])
    assert card["scale"] == 16 == train.scale
    whole = train.inputs()
    assert whole.dtype == torch.float32
    assert torch.equal(whole, train.x.float() / 16)
    assert whole.min() == 0
    assert whole.max() == 1
    index = torch.tensor([5, 2, 2])
    assert torch.equal(train.inputs(index), whole[index])
    assert torch.equal(train.inputs(train.y == 3), whole[train.y == 3])
    assert torch.equal(train.inputs(slice(4, 9)), whole[4:9])
    assert len(train.select(index)) == 3
    assert torch.equal(train.select(index).inputs(), whole[index])
    assert torch.equal(train.select(index).y, train.y[index])


def test_every_level_of_an_image_is_the_nearest_float():
    levels = np.arange(256, dtype=np.uint8)
    split = Split(torch.from_numpy(levels), torch.zeros(256, dtype=torch.int64), 255.0)
    assert (split.inputs().numpy() == (levels / 255).astype(np.float32)).all()


def test_float_inputs_are_left_alone():
    x = torch.rand(3, 5)
    split = Split(x, torch.zeros(3, dtype=torch.int64), 1.0)
    assert torch.equal(split.inputs(), x)
    split.inputs().zero_()
    assert x.max() > 0, "inputs() handed out the data itself"


def test_loading_to_a_device(digits):
    train, test, _ = load_dataset(digits[0], torch.device("cpu"))
    assert {t.device.type for t in (train.x, train.y, test.x, test.y)} == {"cpu"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_every_device_gives_the_same_inputs(digits):
    on_gpu, on_cpu = load_dataset(digits[0], "cuda")[0], load_dataset(digits[0])[0]
    assert on_gpu.x.is_cuda
    assert torch.equal(on_gpu.inputs().cpu(), on_cpu.inputs())


# -- configuration -----------------------------------------------------------------------------------------------------


def test_the_shipped_entries():
    # The works' own sets have the names of the printed tables, whole and as published.
    for name in ("mnist", "mnist2", "fashion_mnist", "cifar10", "cifar2", "cifar100", "svhn"):
        entry = ENTRIES[name]
        assert (entry.train, entry.test, entry.pool) == (None, None, 1)
        assert entry.dataset == name
    assert ENTRIES["mnist2"].parameters == {"source": "mnist"}
    assert len(EMBEDDED) >= 8
    assert all(entry.about for entry in ENTRIES.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "'dataset' is missing"),
        ({"dataset": "mnist3"}, "unknown dataset 'mnist3'"),
        ({"dataset": "digits", "trian": 5}, "unknown key 'trian'"),
        ({"dataset": "digits", "train": "50"}, "'train'"),
        ({"dataset": "digits", "train": 0}, "'train'"),
        ({"dataset": "digits", "train": True}, "'train'"),
        ({"dataset": "digits", "test": 2.5}, "'test'"),
        ({"dataset": "digits", "pool": -1}, "'pool'"),
        ({"dataset": "digits", "parameters": {"source": "mnist"}}, "unknown key 'source'"),
        ({"dataset": "mnist2", "parameters": {"source": "svhn"}}, "'mnist', 'mnist5k' or 'digits'"),
    ],
)
def test_a_wrong_entry_gets_a_sentence_that_names_the_key(tmp_path, content, message):
    path = tmp_path / "datasets.yaml"
    path.write_text(json.dumps({"mine": content}))
    with pytest.raises(ConfigError) as caught:
        read_mapping(DatasetEntry, path)
    assert f"{path}: 'mine'" in str(caught.value)
    assert message in str(caught.value)


def test_parameters_are_filled_in():
    assert DatasetEntry(dataset="mnist2").parameters == {"source": "mnist"}
