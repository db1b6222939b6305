"""Contracts 5 and 6: nothing is lost to a kill, nothing damaged is used, and trouble is a sentence."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Project

pytestmark = [pytest.mark.fault, pytest.mark.timeout(1800), pytest.mark.xdist_group("workflow")]

RUN = "digits2_tiny/logistic_regression/yamada2021_mnist2-pgd_l2/eps1/seed0"


def lengthen(project: Project, epochs: int) -> None:
    """Enough epochs to be killed in the middle."""
    path = project.root / "config/scales/smoke/common.yaml"
    path.write_text(path.read_text().replace("epochs: 2,", f"epochs: {epochs},"))


def test_kill_9_in_mid_training_and_one_more_command_gives_the_same_bits(project: Project, tmp_path: Path) -> None:
    lengthen(project, 150)
    assert project.command("prepare", "digits2_tiny").returncode == 0
    whole = tmp_path / "whole"
    shutil.copytree(project.root / "results", whole / "results")
    state = project.results / "states" / f"{RUN}.safetensors"
    command = [sys.executable, "-m", "robustscape", "--scale", "smoke", "--threads", "1", "train", RUN]
    process = subprocess.Popen(command, cwd=project.root, env=project.environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    folder = project.results / "models" / RUN
    assert state.exists() and not (folder / "run.json").exists(), "the kill must come in mid-training"
    assert project.command("train", RUN).returncode == 0
    assert not state.exists()
    done = project.command("--results", str(whole / "results"), "train", RUN)
    assert done.returncode == 0, done.stderr
    other = whole / "results" / "smoke" / "models" / RUN
    for name in ("model.safetensors", "last.safetensors", "history.csv"):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("damage", ["truncated", "altered", "replaced by a page"])
def test_a_damaged_checkpoint_is_named_and_refused(finished: Project, tmp_path: Path, damage: str) -> None:
    project = Project(tmp_path / "copy")
    shutil.copytree(finished.root, project.root, symlinks=True, ignore=shutil.ignore_patterns(".snakemake"))
    path = project.results / "models" / RUN / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(
        {
            "truncated": content[: len(content) // 2],
            "altered": content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
            "replaced by a page": b"<!DOCTYPE html><title>Not found</title>",
        }[damage]
    )
    table = project.results / "yamada2021/measurements/accuracy_mnist2_pgd_l2" / f"{RUN}.csv"
    table.unlink()
    done = project.command("evaluate", "yamada2021/accuracy_mnist2_pgd_l2", RUN)
    assert done.returncode == 2 and "model.safetensors" in done.stderr and "Traceback" not in done.stderr
    assert not table.exists()
    assert project.command("train", RUN).returncode == 0, "training again makes it whole"
    assert path.read_bytes() == content


def test_a_corrupted_data_file_is_named_and_refused(project: Project) -> None:
    assert project.command("prepare", "digits2_tiny").returncode == 0
    path = project.results / "data/digits2_tiny/data.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 255
    path.write_bytes(bytes(content))
    done = project.command("train", RUN)
    assert done.returncode == 2 and "data.safetensors" in done.stderr and "Traceback" not in done.stderr


def test_missing_data_says_what_to_do(project: Project) -> None:
    done = project.command("train", RUN)
    assert done.returncode == 2 and "digits2_tiny" in done.stderr and "Traceback" not in done.stderr


def test_bad_configuration_stops_snakemake_before_any_job(project: Project) -> None:
    path = project.root / "config/recipes/yamada2021_svhn.yaml"
    path.write_text(path.read_text().replace("method: adversarial", "method: adverserial"))
    done = project.snakemake()
    assert done.returncode != 0 and "Did you mean 'adversarial'" in done.stdout + done.stderr
    assert not project.results.exists()


def test_unknown_key_on_snakemakes_command_line(project: Project) -> None:
    done = project.snakemake("--dry-run", "skale=1")
    assert done.returncode != 0
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--config", "skale=smoke"],
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0 and "Did you mean 'scale'" in done.stdout + done.stderr


def snakemake_with(project: Project, *settings: str) -> subprocess.CompletedProcess[str]:
    """Snakemake's job that prepares a data set, with settings of config.yaml."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "snakemake",
            "--cores",
            "1",
            "prepare_digits2_tiny",
            "--config",
            "scale=smoke",
            *settings,
        ],
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_results_folder_may_have_a_space(project: Project) -> None:
    done = snakemake_with(project, "results=my results", "downloads=raw {files} here")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (project.root / "my results/smoke/data/digits2_tiny/card.json").exists()
    assert (project.root / "my results/smoke/logs/prepare/digits2_tiny.log").exists()


def test_a_results_folder_with_braces_is_refused(project: Project) -> None:
    done = snakemake_with(project, "results=my{results}")
    assert done.returncode != 0 and "takes braces in a path for wildcards" in done.stdout + done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_sentence(project: Project, tmp_path: Path) -> None:
    """A tiny file system where one can be mounted; else the atomic writer's own tests cover it."""
    small = tmp_path / "small"
    small.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", small], check=False).returncode
    ):
        pytest.skip("cannot mount a small file system here")
    try:
        done = project.command("--results", str(small), "prepare", "digits2_tiny")
        assert done.returncode == 2 and "Traceback" not in done.stderr and "full" in done.stderr.lower(), done.stderr
        assert not list(small.rglob("data.safetensors"))
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_read_only_results_folder_is_a_sentence(project: Project, tmp_path: Path) -> None:
    """A file where a folder should be stands for 'cannot be written' for every user, root included."""
    blocked = tmp_path / "blocked"
    blocked.write_text("not a folder")
    done = project.command("--results", str(blocked), "prepare", "digits2_tiny")
    assert done.returncode == 2 and "Traceback" not in done.stderr and str(blocked) in done.stderr, done.stderr
    if os.geteuid() == 0:
        return
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    done = project.command("--results", str(folder), "prepare", "digits2_tiny")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr


def test_nothing_in_the_package_pickles() -> None:
    """No pickle, torch.save, torch.load or np.load(allow_pickle=True) anywhere (contract 5).

    One exception: a user's own weights, which torch reads without running what a pickle asks for.
    """
    source = Path(__file__).parents[2] / "src"
    words = (
        r"import pickle|(?<!safetensors\.)torch\.(?:save|load)\(|allow_pickle(?!=False)|joblib|read_pickle|to_pickle"
    )
    found = {path.name: re.findall(rf".*(?:{words}).*", path.read_text()) for path in source.rglob("*.py")}
    assert {name: lines for name, lines in found.items() if lines} == {
        "weights.py": ['        return torch.load(path, map_location="cpu", weights_only=True)']
    }
