"""Jobs get distinct GPUs, and a dead job's GPU is free again. The GPUs are names; the processes and locks are real."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from robustscape import devices, gpu_locks
from robustscape.errors import ConfigError

HOLDER = """
import pathlib, sys, time
from robustscape import gpu_locks
gpu_locks.PATIENCE = 0.01
folder, gpus, per_gpu = pathlib.Path(sys.argv[1]), sys.argv[2].split(","), int(sys.argv[3])
print("started", flush=True)
with gpu_locks.hold_gpu(gpus, per_gpu=per_gpu, folder=folder) as position:
    print(gpus[position], flush=True)
    sys.stdin.read()
"""


#: A slot that is never freed fails the test instead of blocking it.
pytestmark = pytest.mark.timeout(60)


class Job:
    """A process that takes a GPU and keeps it until it is told to end."""

    def __init__(self, folder: Path, gpus: str, per_gpu: int = 1) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", HOLDER, str(folder), gpus, str(per_gpu)]
        source = Path(gpu_locks.__file__).parents[1]  # python -c imports from its folder
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=source)
        assert self.process.stdout
        assert self.process.stdout.readline() == "started\n"
        os.set_blocking(self.process.stdout.fileno(), False)

    def gpu(self, wait: float = 20.0) -> str | None:
        """The GPU it got; None if it still has none after ``wait`` seconds."""
        deadline = time.monotonic() + wait
        assert self.process.stdout
        while True:
            if line := self.process.stdout.readline():
                return line.strip()
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[SimpleNamespace]:
    started: list[Job] = []

    def start(gpus: str = "GPU-a,GPU-b", per_gpu: int = 1) -> Job:
        started.append(Job(tmp_path, gpus, per_gpu))
        return started[-1]

    yield SimpleNamespace(start=start)
    for job in started:
        if job.process.poll() is None:
            job.kill()


@pytest.mark.fault
def test_distinct_gpus_then_waiting_then_the_freed_one(jobs: SimpleNamespace) -> None:
    first, second = jobs.start(), jobs.start()
    assert {first.gpu(), second.gpu()} == {"GPU-a", "GPU-b"}
    third = jobs.start()
    assert third.gpu(wait=0.3) is None
    first.kill()
    assert third.gpu() == "GPU-a"
    fourth = jobs.start()
    assert fourth.gpu(wait=0.3) is None
    second.end()
    assert fourth.gpu() == "GPU-b"


@pytest.mark.fault
def test_the_same_gpu_under_another_number(jobs: SimpleNamespace) -> None:
    """Two processes with different CUDA_VISIBLE_DEVICES number the GPUs differently; the UUIDs agree."""
    first = jobs.start("GPU-b")
    assert first.gpu() == "GPU-b"
    second = jobs.start("GPU-b,GPU-c")
    assert second.gpu() == "GPU-c"
    third = jobs.start("GPU-b")
    assert third.gpu(wait=0.3) is None
    first.kill()
    assert third.gpu() == "GPU-b"


def test_sharing_fills_every_gpu_once_before_any_twice(jobs: SimpleNamespace) -> None:
    got = [jobs.start(per_gpu=2).gpu() for _ in range(4)]
    assert sorted(got[:2]) == sorted(got[2:]) == ["GPU-a", "GPU-b"]
    assert jobs.start(per_gpu=2).gpu(wait=0.3) is None


def test_an_exception_frees_the_slot(tmp_path: Path) -> None:
    for _ in range(3):
        with pytest.raises(RuntimeError, match="mine"), gpu_locks.hold_gpu(["GPU-a"], folder=tmp_path):
            raise RuntimeError("mine")


def test_a_child_process_does_not_keep_the_slot(tmp_path: Path) -> None:
    """Programs that a job starts and leaves behind do not inherit the lock."""
    with gpu_locks.hold_gpu(["GPU-a"], folder=tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    with gpu_locks.hold_gpu(["GPU-a"], folder=tmp_path):
        child.communicate(b"\n")


def test_waiting_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    holder = contextlib.ExitStack()
    holder.enter_context(gpu_locks.hold_gpu(["GPU-a"], folder=tmp_path))
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            holder.close()

    monkeypatch.setattr(time, "sleep", nap)
    with gpu_locks.hold_gpu(["GPU-a"], folder=tmp_path):
        assert len(naps) == 3
    assert [record.message for record in caplog.records] == ["all 1 GPU slots are taken; waiting for one."]


def test_strange_names_stay_in_the_folder(tmp_path: Path) -> None:
    with gpu_locks.hold_gpu(["MIG-../../a b"], folder=tmp_path):
        assert len(list(tmp_path.iterdir())) == 1


def test_a_link_in_a_shared_folder_is_not_followed(tmp_path: Path) -> None:
    with gpu_locks.hold_gpu(["GPU-a"], folder=tmp_path):
        (name,) = (path.name for path in tmp_path.iterdir())
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic"), gpu_locks.hold_gpu(["GPU-a"], folder=tmp_path):
        pass
    assert not (tmp_path / "victim").exists()


# -- devices -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Two GPUs as torch would show them; the list of those made current."""
    current: list[torch.device] = []

    @contextlib.contextmanager
    def make_current(device: torch.device) -> Iterator[None]:
        current.append(device)
        yield

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: SimpleNamespace(uuid=f"GPU-{i}"))
    monkeypatch.setattr(torch.cuda, "device", make_current)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    return current


def test_the_cpu_needs_no_slot(gpus: list[torch.device], tmp_path: Path) -> None:
    with devices.choose_device("cpu") as a, devices.choose_device("cpu") as b:
        assert a == b == torch.device("cpu")
    assert list(tmp_path.iterdir()) == []
    assert gpus == []


def test_auto_takes_free_gpus_one_after_the_other(gpus: list[torch.device]) -> None:
    with devices.choose_device("auto") as a, devices.choose_device("cuda") as b:
        assert [a, b] == [torch.device("cuda:0"), torch.device("cuda:1")] == gpus
    with devices.choose_device() as again:
        assert again == torch.device("cuda:0")


def test_a_numbered_gpu_is_that_one(gpus: list[torch.device]) -> None:
    with devices.choose_device("cuda:1") as a, devices.choose_device("auto") as b:
        assert (a, b) == (torch.device("cuda:1"), torch.device("cuda:0"))


def test_jobs_may_share(gpus: list[torch.device]) -> None:
    with contextlib.ExitStack() as stack:
        got = [stack.enter_context(devices.choose_device("auto", per_gpu=2)).index for _ in range(4)]
    assert got == [0, 1, 0, 1]


@pytest.mark.parametrize("spec", ["cuda:2", "gpu", "cuda:", "cuda:-1", "cuda:x", "", "mps"])
def test_unknown_devices_are_sentences(gpus: list[torch.device], spec: str) -> None:
    with (
        pytest.raises(ConfigError, match="Allowed: auto, cpu, cuda, cuda:0, cuda:1") as caught,
        devices.choose_device(spec),
    ):
        pass
    assert f"'{spec}'" in str(caught.value)


def test_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with devices.choose_device("auto") as device:
        assert device == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"'cuda' here\. Allowed: auto, cpu\."), devices.choose_device("cuda"):
        pass


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch's threads and the environment as they were before."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("settings")
def test_configure() -> None:
    torch.backends.cudnn.allow_tf32 = True
    devices.configure_device(2)
    assert torch.get_num_threads() == 2
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    devices.configure_device(1, deterministic=False)
    assert torch.get_num_threads() == 1
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.usefixtures("settings")
def test_exact_fp32_puts_off_what_the_caller_has_set() -> None:
    weights, x = torch.rand(4, 4), torch.rand(4, 4)
    torch.backends.cuda.matmul.allow_tf32 = True
    with torch.autocast("cpu", torch.bfloat16):
        with devices.exact_fp32():
            assert (x @ weights).dtype == torch.float32
            assert not torch.is_autocast_enabled("cuda") and not torch.backends.cuda.matmul.allow_tf32
            with devices.arithmetic(x.device, "bf16"):
                assert (x @ weights).dtype == torch.bfloat16
        assert (x @ weights).dtype == torch.bfloat16
    assert torch.backends.cuda.matmul.allow_tf32


@pytest.mark.usefixtures("settings")
def test_two_deterministic_trainings_are_equal() -> None:
    devices.configure_device(1)

    def train() -> torch.Tensor:
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)
        )
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.randn(8, 1, 8, 8)).square().mean().backward()
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    assert torch.equal(train(), train())


def test_arithmetic_of_bf16() -> None:
    layer, x = torch.nn.Linear(3, 2), torch.ones(1, 3)
    with devices.arithmetic(torch.device("cpu"), "bf16"):
        assert layer(x).dtype is torch.bfloat16
    with devices.arithmetic(torch.device("cpu"), "fp32"):
        assert layer(x).dtype is torch.float32
    assert layer.weight.dtype is torch.float32


@pytest.mark.usefixtures("settings")
def test_arithmetic_of_tf32_ends_with_its_block_and_is_fp32_on_a_cpu() -> None:
    devices.configure_device(1)
    layer, x = torch.nn.Conv2d(3, 4, 3), torch.rand(2, 3, 8, 8)
    exact = layer(x)
    with devices.arithmetic(torch.device("cpu"), "tf32"):
        assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
        assert torch.equal(layer(x), exact)
    assert not devices.reduced_precision()


def test_memory_format() -> None:
    x = torch.zeros(2, 3, 4, 4)
    assert x.contiguous(memory_format=devices.memory_format("channels_last")).stride() == (48, 1, 12, 3)
    assert x.contiguous(memory_format=devices.memory_format("contiguous")).stride() == (48, 16, 4, 1)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is another")
def test_freed_memory_is_kept() -> None:
    """A large tensor comes from the heap, and what it leaves there is not handed back."""
    code = """
import torch
from robustscape.devices import configure_device
configure_device(1)
def resident():
    return int(open("/proc/self/statm").read().split()[1])
before = resident()
torch.ones(64 << 20)
print((resident() - before) * 4096 >> 20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 200


#: What a user may have set, under PyTorch's older names and its newer ones, and both.
PRECISIONS = [
    "pass",
    'torch.set_float32_matmul_precision("medium")',
    'torch.set_float32_matmul_precision("high"); torch.backends.cudnn.allow_tf32 = False',
    "torch.backends.cuda.matmul.allow_tf32 = True",
    'torch.backends.fp32_precision = "tf32"',
    'torch.backends.fp32_precision = "bf16"',
    'torch.backends.cuda.matmul.fp32_precision = "tf32"',
    'torch.backends.cudnn.conv.fp32_precision = "ieee"',
    'torch.backends.mkldnn.matmul.fp32_precision = "bf16"',
    'torch.backends.mkldnn.conv.fp32_precision = "bf16"',
    'torch.set_float32_matmul_precision("medium"); torch.backends.mkldnn.conv.fp32_precision = "bf16"',
]

#: Each setting in a process of its own, since PyTorch does not let everything be read back; forks, since it takes long to import.
TAKEN = """
import os, sys, torch
from robustscape import devices
from robustscape.storage.provenance import _settings

def read(setting):
    try:
        return str(setting())
    except RuntimeError:
        return "contradicts"

def settings():
    pairs = [(b, o) for b in ("generic", "cuda", "mkldnn") for o in ("all", "matmul", "conv", "rnn")]
    newer = [f"{b}.{o} {torch._C._get_fp32_precision_getter(b, o)}" for b, o in pairs if b != "generic" or o == "all"]
    older = [torch.get_float32_matmul_precision, lambda: torch.backends.cuda.matmul.allow_tf32]
    return newer + [read(setting) for setting in [*older, lambda: torch.backends.cudnn.allow_tf32]]

def errors():
    torch.manual_seed(0)
    a, b = torch.rand(256, 256), torch.rand(256, 256)
    layer, x = torch.nn.Conv2d(16, 16, 3), torch.rand(4, 16, 32, 32)
    with torch.no_grad():
        exact = a.double() @ b.double(), torch.nn.functional.conv2d(x.double(), layer.weight.double(), layer.bias.double())
        return float(((a @ b).double() / exact[0] - 1).abs().max()), float((layer(x) - exact[1]).abs().max())

def check(setting, with_block):
    exec(setting)
    before = settings()
    if with_block:
        with devices.exact_fp32():
            inside, wrong = devices.reduced_precision(), errors()
            assert _settings()["tf32"] is False
        assert not inside
        assert max(wrong) < 1e-4, wrong
        assert settings() == before, [pair for pair in zip(before, settings()) if pair[0] != pair[1]]
    torch.backends.fp32_precision = "bf16"  # what was inherited still is, what was not is not
    print(setting, *settings(), sep="|", flush=True)

torch.set_num_threads(1)
for setting in sys.argv[1:]:
    for with_block in (False, True):
        child = os.fork()
        if not child:
            check(setting, with_block)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0, setting
"""


def test_exact_fp32_is_exact_and_puts_back_whatever_was_set() -> None:
    source = Path(gpu_locks.__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", TAKEN, *PRECISIONS], capture_output=True, text=True, cwd=source)
    assert run.returncode == 0, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == 2 * len(PRECISIONS)
    assert lines[::2] == lines[1::2]
