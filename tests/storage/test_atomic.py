"""A file is whole or not there: kills, full disks, read-only folders, concurrent writers."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from robustscape.errors import UserError
from robustscape.storage import atomic


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.bin"
    atomic.write_bytes(path, b"\x00old\xff")
    assert path.read_bytes() == b"\x00old\xff"
    atomic.write_text(path, "grün\r\n")
    assert path.read_bytes() == "grün\r\n".encode()
    atomic.write_json(path, {"b": 1, "a": [1.5, None, "ü"]})
    assert path.read_text() == '{\n  "b": 1,\n  "a": [\n    1.5,\n    null,\n    "ü"\n  ]\n}\n'
    assert names(path.parent) == ["a.bin"]


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        atomic.write_text(tmp_path / "a", "x")
    finally:
        os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_partial_path_is_beside_the_final_one_and_keeps_its_suffix(tmp_path: Path) -> None:
    with atomic.publish_file(tmp_path / "a.tar.gz") as partial:
        assert partial.parent == tmp_path
        assert partial.name.endswith("a.tar.gz")
        assert partial.name != "a.tar.gz"
        partial.write_text("x")
        assert not (tmp_path / "a.tar.gz").exists()
    assert names(tmp_path) == ["a.tar.gz"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_error_in_the_block_changes_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a"
    atomic.write_text(path, "old")

    def fail() -> None:
        with atomic.publish_file(path) as partial:
            partial.write_text("new")
            raise error("mine")

    with pytest.raises(error, match="mine"):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_nan_is_not_json_and_leaves_the_file_alone(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "a", {"x": 1})
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json(tmp_path / "a", {"x": float("nan")})
    assert (tmp_path / "a").read_text() == '{\n  "x": 1\n}\n'


def test_replaces_a_link_instead_of_following_it(tmp_path: Path) -> None:
    """DVC links workspace files to its cache, which must never change."""
    cached = tmp_path / "cached"
    cached.write_text("cache")
    (tmp_path / "symbolic").symlink_to(cached)
    os.link(cached, tmp_path / "hard")
    for name in ("symbolic", "hard"):
        atomic.write_text(tmp_path / name, "new")
        assert (tmp_path / name).read_text() == "new"
        assert not (tmp_path / name).is_symlink()
    assert cached.read_text() == "cache"


def test_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order of the system calls: flush the file, rename it, flush the folder."""
    calls: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        calls.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def spy_replace(source: Path, target: Path) -> None:
        assert source.read_bytes() == b"x" * 1000
        calls.append(("rename", str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    atomic.write_bytes(tmp_path / "a", b"x" * 1000)
    assert [call for call, _ in calls] == ["fsync", "rename", "fsync"]
    assert calls[0][1].endswith("-a")
    assert calls[2][1] == str(tmp_path)


SOURCE = Path(atomic.__file__).parents[2]

WRITER = """
import sys, pathlib
from robustscape.storage import atomic
path, size = pathlib.Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
while True:
    for byte in (b"a", b"b"):
        atomic.write_bytes(path, byte * size)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process that has said that it is ready."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=SOURCE)  # python -c imports from there
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.fault
def test_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path, size = tmp_path / "model", 3_000_000
    killed_while_writing = 0
    for attempt in range(12):
        process = start(WRITER, path, size)
        time.sleep(0.003 * attempt)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if path.exists():
            content = path.read_bytes()
            assert len(content) == size
            assert content in (b"a" * size, b"b" * size)
        leftovers = [name for name in names(tmp_path) if name != "model"]
        assert len(leftovers) <= 1, "leftovers of earlier kills pile up"
        killed_while_writing += len(leftovers)
    assert killed_while_writing, "no kill came in time to test anything"
    atomic.write_bytes(path, b"whole")
    assert names(tmp_path) == ["model"]
    assert path.read_bytes() == b"whole"


def test_a_living_writer_is_not_taken_for_a_leftover(tmp_path: Path) -> None:
    with atomic.publish_file(tmp_path / "a") as partial:
        partial.write_text("slow")
        atomic.write_text(tmp_path / "a", "fast")
        assert partial.exists()
    assert (tmp_path / "a").read_text() == "slow"


def test_leftovers_of_other_files_stay(tmp_path: Path) -> None:
    """Only who writes "a.csv" cleans up after dead writers of "a.csv"."""
    other = tmp_path / ".partial-0123456789abcdef-b-a.csv"
    mine = tmp_path / ".partial-0123456789abcdef-a.csv"
    other.touch()
    mine.touch()
    atomic.write_text(tmp_path / "a.csv", "x")
    assert names(tmp_path) == [other.name, "a.csv"]


def test_concurrent_writers_of_one_file(tmp_path: Path) -> None:
    path, contents = tmp_path / "a", [bytes([byte]) * 200_000 for byte in b"abcd"]
    errors: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(10):
                atomic.write_bytes(path, content)
                assert path.read_bytes() in contents
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-only")]
)
def test_a_failing_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    path = tmp_path / "a"
    atomic.write_text(path, "old")

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(UserError, match=words) as caught:
            atomic.write_text(path, "new")
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.fault
def test_a_full_disk_within_the_block_is_a_sentence(tmp_path: Path) -> None:
    """Writers such as pandas write inside the block; /dev/full is a disk that is always full."""
    with pytest.raises(UserError, match="disk is full") as caught, atomic.publish_file(tmp_path / "a.csv"):
        Path("/dev/full").write_text("x" * 100_000)
    assert str(tmp_path / "a.csv") in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.fault
def test_the_kernel_refuses_a_large_file(tmp_path: Path) -> None:
    """A real refusal in the middle of a write, not a simulated one."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    atomic.write_bytes(tmp_path / "a", b"old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match="larger than files may be"):
            atomic.write_bytes(tmp_path / "a", b"x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.fault
def test_a_full_file_system(tmp_path: Path) -> None:
    """A real full disk, where the tests may mount one."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        atomic.write_bytes(tmp_path / "a", b"old")
        with pytest.raises(UserError, match="disk is full"):
            atomic.write_bytes(tmp_path / "a", b"x" * 1_000_000)
        assert (tmp_path / "a").read_bytes() == b"old"
        assert names(tmp_path) == ["a"]
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        with pytest.raises(UserError, match="read-only"):
            atomic.write_bytes(tmp_path / "a", b"new")
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


@pytest.mark.fault
def test_a_read_only_folder() -> None:
    with tempfile.TemporaryDirectory() as name:  # not tmp_path: another user must be able to look into it
        folder = Path(name)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # root may write anywhere
        try:
            with pytest.raises(UserError, match="read-only") as caught:
                atomic.write_text(folder / "a", "x")
            assert str(folder / "a") in str(caught.value)
        finally:
            if user == 0:
                os.seteuid(user)
            folder.chmod(0o755)
        assert names(folder) == []


def test_impossible_paths_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path, words in [
        (tmp_path / "file" / "a", "not a folder"),
        (tmp_path / "file" / "b" / "a", "not a folder"),
        (tmp_path / "folder", "folder of that name"),
        (tmp_path / ("x" * 300), "too long"),
    ]:
        with pytest.raises(UserError, match=words) as caught:
            atomic.write_text(path, "x")
        assert str(path) in str(caught.value)
    assert names(tmp_path) == ["file", "folder"]
