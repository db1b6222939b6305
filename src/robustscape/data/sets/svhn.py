"""Street View House Numbers, cropped digits (format 2): two MATLAB files in torchvision's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robustscape.data.download import RemoteFile, obtain_files, verify_file
from robustscape.data.splits import Array, RawSplits
from robustscape.errors import CorruptFile

_HOST = "ufldl.stanford.edu/housenumbers/"


def _remote_file(name: str, size: int, md5: str) -> RemoteFile:
    return RemoteFile(name, size, md5, (f"https://{_HOST}{name}", f"http://{_HOST}{name}"))


#: Training and test set; names and checksums as in torchvision 0.26. None of the works uses the extra images.
FILES = (
    _remote_file("train_32x32.mat", 182040794, "e26dedcc434d2e4c54c9b2d4a06d8373"),
    _remote_file("test_32x32.mat", 64275384, "eb5a983be6a315427106f1b164d9cef3"),
)


def svhn(directory: Path) -> RawSplits:
    """99,289 house numbers, 3x32x32; 10 classes; official split (73,257 + 26,032).

    Args:
        directory: holds ``train_32x32.mat`` and ``test_32x32.mat``, where torchvision stores them.
    """
    paths = obtain_files("svhn", FILES, directory)
    for path, file in zip(paths, FILES, strict=True):
        verify_file(path, file)
    (train_x, train_y), (test_x, test_y) = (_read_matlab_file(path) for path in paths)
    return RawSplits(
        train_x,
        train_y,
        test_x,
        test_y,
        classes=[str(digit) for digit in range(10)],
        scale=255.0,
        licence="for non-commercial use only",
        source="http://ufldl.stanford.edu/housenumbers (Netzer et al., 2011), format 2",
        official=True,
    )


def _read_matlab_file(path: Path) -> tuple[Array, Array]:
    """Return images (N, 3, 32, 32) and labels 0..9 from X (32, 32, 3, N) and y (N, 1), where the digit 0 has the label 10.

    MATLAB 5 files hold arrays, not code.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["X", "y"])
        x, y = content["X"], content["y"]
    except (ValueError, KeyError, NotImplementedError, OSError) as error:
        raise CorruptFile(f"'{path}' is not a MATLAB file with X and y: {error}.") from None
    return np.ascontiguousarray(x.transpose(3, 2, 0, 1)), y.ravel().astype(np.int64) % 10
