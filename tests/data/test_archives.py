"""Unpacking: what is in a good archive comes out; what is wrong with a bad one is said; nothing leaves the folder."""

import io
import tarfile

import pytest

from robustscape.data.archives import unpacked_archive
from robustscape.errors import CorruptFile


def archive(path, *members):
    """A tar.gz of (TarInfo or name, content)."""
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def device(name):
    info = tarfile.TarInfo(name)
    info.type = tarfile.CHRTYPE
    return info


def test_members_are_there_inside_the_block_and_gone_after_it(tmp_path):
    path = archive(tmp_path / "a.tar.gz", ("folder/x.bin", b"12"), ("y", b"3"))
    with unpacked_archive(path) as folder:
        assert (folder / "folder" / "x.bin").read_bytes() == b"12"
        assert (folder / "y").read_bytes() == b"3"
    assert not folder.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar.gz"]


@pytest.mark.parametrize(
    "member",
    [
        "../escaped",
        "folder/../../escaped",
        link("escaped", "/etc/passwd", tarfile.SYMTYPE),
        link("escaped", "../../outside", tarfile.SYMTYPE),
        link("escaped", "../outside", tarfile.LNKTYPE),
        device("escaped"),
    ],
    ids=["parent", "hidden parent", "absolute link", "link out", "hard link out", "device"],
)
def test_dangerous_members_are_refused(tmp_path, monkeypatch, member):
    inside = tmp_path / "temporary"
    inside.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(inside))
    path = archive(tmp_path / "a.tar.gz", ("good", b"1"), (member, b""))
    with pytest.raises(CorruptFile, match=r"a\.tar\.gz' is dangerous and was not unpacked: .*"), unpacked_archive(path):
        pass
    assert list(inside.iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz", "temporary"]


def test_an_absolute_name_stays_inside(tmp_path):
    target = tmp_path / "absolute"
    with unpacked_archive(archive(tmp_path / "a.tar.gz", (str(target), b"1"))) as folder:
        assert not target.exists()
        assert (folder / str(target).lstrip("/")).read_bytes() == b"1"


@pytest.mark.parametrize("cut", [0, 5, 60, -200])
def test_a_truncated_archive_is_named(tmp_path, cut):
    path = archive(tmp_path / "a.tar.gz", ("x", bytes(range(256)) * 400))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CorruptFile, match=r"a\.tar\.gz' is not a whole tar archive"), unpacked_archive(path):
        pass
