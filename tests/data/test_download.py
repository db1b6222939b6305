"""Downloading, against a server on this machine that breaks, lies, redirects to web pages and forgets to resume."""

import hashlib
import http.server
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from robustscape.data import download as module
from robustscape.data.download import RemoteFile, download_file, obtain_files, verify_file
from robustscape.errors import CorruptFile, MissingData, UserError

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
CONTENT = b"\x1f\x8b" + random.Random(0).randbytes(300_000)
PAGE = b"<!DOCTYPE html><html><body>Please sign in</body></html>"


class Server(http.server.ThreadingHTTPServer):
    """Answers by path; ``requests`` lists (path, Range header), ``sent`` counts bytes of bodies."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.sent, self.release = [], 0, threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def ranges(self, path):
        return [wanted for p, wanted in self.requests if p == f"/{path}"]


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def reply(self, body, status=200, length=None, headers=()):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for key, value in headers:
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)
        self.server.sent += len(body)

    def resumable(self, body, cut=None):
        """``body`` from the byte asked for; the connection breaks after ``cut`` bytes of it."""
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            self.reply(b"", 416)
            return
        headers = [("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")] if start else []
        self.reply(body[start:][:cut], 206 if start else 200, len(body) - start, headers)
        self.wfile.flush()

    def do_GET(self):
        server, path = self.server, self.path
        server.requests.append((path, self.headers["Range"]))
        times = len([p for p, _ in server.requests if p == path])
        if path == "/good":
            self.resumable(CONTENT)
        elif path == "/breaks":  # every answer stops after 120,000 bytes
            self.resumable(CONTENT, 120_000)
            self.close_connection = True
        elif path == "/dies":  # at the same byte for ever
            self.reply(CONTENT[:100], length=len(CONTENT))
        elif path == "/forgets":  # does not know Range
            self.reply(CONTENT)
        elif path == "/wrong":
            self.resumable(b"\x1f\x8b" + bytes(len(CONTENT) - 2))
        elif path == "/longer":
            self.reply(CONTENT + b"more")
        elif path == "/page":
            self.reply(PAGE)
        elif path == "/busy":
            self.reply(b"later", 503) if times == 1 else self.resumable(CONTENT)
        elif path == "/moved":
            self.reply(b"", 302, headers=[("Location", "/good")])
        elif path == "/slow":  # half of it, then nothing until the test lets go
            if self.headers["Range"]:
                self.resumable(CONTENT)
                return
            self.reply(CONTENT[:150_000], length=len(CONTENT))
            self.wfile.flush()
            server.release.wait(20)
        else:
            self.reply(b"not here", 404)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0.001)
    instance = Server()
    yield instance
    instance.release.set()
    instance.shutdown()
    instance.server_close()


def remote(server, *paths, name="data.gz", content=CONTENT):
    md5 = hashlib.md5(content).hexdigest()
    return RemoteFile(name, len(content), md5, tuple(server.url(p) for p in paths))


def assert_whole(folder):
    assert (folder / "data.gz").read_bytes() == CONTENT
    assert [p.name for p in folder.iterdir()] == ["data.gz"]


def assert_absent(folder):
    assert not (folder / "data.gz").exists()


def test_a_file_arrives_and_progress_is_shown(server, tmp_path, capsys):
    assert download_file(remote(server, "good"), tmp_path / "new") == tmp_path / "new" / "data.gz"
    assert_whole(tmp_path / "new")
    assert "data.gz: 100%" in capsys.readouterr().err


def test_a_broken_connection_is_resumed(server, tmp_path):
    download_file(remote(server, "breaks"), tmp_path)
    assert_whole(tmp_path)
    assert server.ranges("breaks") == [None, "bytes=120000-", "bytes=240000-"]
    assert server.sent == len(CONTENT)


@pytest.mark.fault
def test_a_killed_download_is_resumed(server, tmp_path):
    script = (
        f"from robustscape.data.download import *; download_file({remote(server, 'slow')!r}, Path({str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    part, patience = tmp_path / "data.gz.part", time.monotonic() + 20
    while process.poll() is None and time.monotonic() < patience:
        if part.exists() and part.stat().st_size >= 100_000:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = part.stat().st_size
    assert kept >= 100_000
    assert_absent(tmp_path)
    download_file(remote(server, "slow"), tmp_path)
    assert_whole(tmp_path)
    assert server.ranges("slow") == [None, f"bytes={kept}-"]


@pytest.mark.parametrize(
    "left", [b"\x1f\x8bsomething else", b"no gzip at all", CONTENT + b"too much", bytes(len(CONTENT))]
)
def test_a_part_of_something_else_is_thrown_away(server, tmp_path, left):
    (tmp_path / "data.gz.part").write_bytes(left)
    download_file(remote(server, "good"), tmp_path)
    assert_whole(tmp_path)


def test_a_server_that_cannot_resume_sends_all_again(server, tmp_path):
    (tmp_path / "data.gz.part").write_bytes(CONTENT[:1000])
    download_file(remote(server, "forgets"), tmp_path)
    assert_whole(tmp_path)
    assert server.ranges("forgets") == ["bytes=1000-"]


def test_a_complete_part_needs_no_connection(server, tmp_path):
    (tmp_path / "data.gz.part").write_bytes(CONTENT)
    download_file(remote(server, "good"), tmp_path)
    assert_whole(tmp_path)
    assert server.requests == []


@pytest.mark.parametrize("path", ["busy", "moved"])
def test_a_busy_or_moved_server(server, tmp_path, path):
    download_file(remote(server, path), tmp_path)
    assert_whole(tmp_path)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("wrong", "its md5 is"),
        ("longer", "it is longer than 300,002 bytes"),
        ("page", r"it is a web page \(HTML\)"),
        ("absent", "the server answered 404"),
        ("dies", "the connection broke 299,"),
    ],
)
def test_what_a_mirror_did_wrong_is_said_and_the_next_one_tried(server, tmp_path, path, reason):
    with pytest.raises(MissingData, match=f"/{path}: {reason}"):
        download_file(remote(server, path), tmp_path)
    assert_absent(tmp_path)
    download_file(remote(server, path, "good"), tmp_path)
    assert_whole(tmp_path)


def test_a_file_nobody_has_lists_all_that_is_missing_and_where_to_put_it(server, tmp_path):
    server.shutdown()
    server.server_close()
    one, two = remote(server, "a", "b", name="one.gz"), remote(server, "c", name="two.mat")
    with pytest.raises(MissingData) as caught:
        obtain_files("svhn", [one, two], tmp_path)
    message = str(caught.value)
    for words in (
        f"data set 'svhn' is incomplete and could not be downloaded. Put into '{tmp_path}':",
        f"one.gz (300,002 bytes, md5 {one.md5}) from {one.urls[0]}",
        f"two.mat (300,002 bytes, md5 {two.md5}) from {two.urls[0]}",
        "no connection",
        one.urls[1],
    ):
        assert words in message
    assert list(tmp_path.iterdir()) == []


def test_obtain_takes_what_is_there_and_downloads_the_rest(server, tmp_path):
    (tmp_path / "one.gz").write_bytes(b"anything")
    files = [remote(server, "absent", name="one.gz"), remote(server, "good")]
    assert obtain_files("x", files, tmp_path) == [tmp_path / "one.gz", tmp_path / "data.gz"]
    assert (tmp_path / "one.gz").read_bytes() == b"anything"
    assert len(server.requests) == 1


def test_jobs_that_want_the_same_file_take_turns(server, tmp_path):
    file, failures = remote(server, "good"), []

    def job():
        try:
            download_file(file, tmp_path)
        except Exception as error:
            failures.append(error)

    jobs = [threading.Thread(target=job) for _ in range(8)]
    for thread in jobs:
        thread.start()
    for thread in jobs:
        thread.join(20)
    assert failures == []
    assert_whole(tmp_path)
    assert len(server.requests) == 1


def test_a_full_disk_is_seen_before_anything_is_sent(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match="has 1,000 bytes free, 300,002 are needed"):
        download_file(remote(server, "good"), tmp_path)
    assert server.requests == []


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("data.gz", PAGE, r"web page \(HTML\)"),
        ("data.gz", b"PK\x03\x04", "it begins with b'PK' instead of"),
        ("data.gz", CONTENT[:-1], "it has 300,001 bytes"),
        ("data.gz", CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]), "its md5 is"),
        ("data.gz", b"", "it begins with b''"),
        ("data.mat", CONTENT, "instead of b'MATLAB 5.0'"),
    ],
)
def test_a_file_that_is_not_the_publishers_is_named(server, tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptFile, match=rf"{name}' is not {name} \(300,002 bytes, md5 .*{reason}"):
        verify_file(tmp_path / name, remote(server, "good", name=name))


def test_the_publishers_file_passes(server, tmp_path):
    (tmp_path / "data.gz").write_bytes(CONTENT)
    verify_file(tmp_path / "data.gz", remote(server, "good"))
