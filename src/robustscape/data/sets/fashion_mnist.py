"""Fashion-MNIST, whole: four idx files in torchvision's layout, or from Debian's package dataset-fashion-mnist."""

from __future__ import annotations

from pathlib import Path

from robustscape.data.download import RemoteFile
from robustscape.data.sets import _idx
from robustscape.data.splits import RawSplits

#: Where ``apt install dataset-fashion-mnist`` puts the files. Their gzip headers differ from the publisher's; their content
#: is the same, and only the content is verified.
DEBIAN = Path("/usr/share/datasets/fashion-mnist")

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

_MIRRORS = (
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)


def _remote_file(name: str, size: int, md5: str, content_md5: str) -> RemoteFile:
    return RemoteFile(name, size, md5, tuple(mirror + name for mirror in _MIRRORS), content_md5)


#: Names and checksums as in torchvision 0.26 and in the publisher's README.
FILES = (
    _remote_file(
        "train-images-idx3-ubyte.gz", 26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"
    ),
    _remote_file(
        "train-labels-idx1-ubyte.gz", 29515, "25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"
    ),
    _remote_file(
        "t10k-images-idx3-ubyte.gz", 4422102, "bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"
    ),
    _remote_file(
        "t10k-labels-idx1-ubyte.gz", 5148, "bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"
    ),
)


def fashion_mnist(directory: Path) -> RawSplits:
    """70,000 pieces of clothing, 1x28x28; 10 classes; official split (60,000 + 10,000).

    Args:
        directory: holds ``FashionMNIST/raw/*-ubyte.gz`` (or the decompressed files), as torchvision stores them; the
            folder of Debian's package is searched too.
    """
    folders = [directory / "FashionMNIST" / "raw", DEBIAN]
    train_x, train_y, test_x, test_y = _idx.read_idx_files("fashion_mnist", FILES, folders)
    return RawSplits(
        train_x,
        train_y,
        test_x,
        test_y,
        classes=CLASSES,
        scale=255.0,
        licence="MIT, Zalando SE",
        source="https://github.com/zalandoresearch/fashion-mnist (Xiao, Rasul and Vollgraf, 2017)",
        official=True,
    )
