"""The doctor: a line per check, and a sentence with a remedy for each thing that can be wrong."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from robustscape.cli import doctor
from robustscape.cli.doctor import Finding
from robustscape.config.loading import load_experiment
from robustscape.data import download
from robustscape.pipeline.plan import Plan
from robustscape.storage import provenance

ROOT = Path(__file__).parents[2]


def a_plan(scale: str, results: Path) -> Plan:
    return Plan(load_experiment(ROOT / "config", scale), results)


@pytest.fixture
def smoke(tmp_path: Path) -> Plan:
    return a_plan("smoke", tmp_path / "results")


@pytest.fixture
def about(smoke: Plan, tmp_path: Path) -> Callable[[str], list[Finding]]:
    """The findings about a subject."""
    return lambda subject: [f for f in doctor.check_machine(smoke, tmp_path) if f.subject == subject]


def refuse(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("the doctor used the network")


def test_a_line_per_check_and_the_number_of_problems(
    smoke: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_packages", lambda requirements: Finding("problem", "packages", "made up"))
    assert doctor.print_findings(smoke, tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    subjects = [line[9:24].strip() for line in lines]
    expected = [
        "configuration",
        "python",
        "packages",
        "snakemake",
        "dvc",
        "git",
        "processor",
        "memory",
        "results",
        "disk",
    ]
    assert subjects == [*expected, "torch", "gpu", *["data"] * len({run.dataset for run in smoke.runs})]
    assert [line for line in lines if line.startswith("problem")] == ["problem  packages       made up"]
    assert not (smoke.root.parent).exists(), "an examination leaves nothing behind"


def test_wrong_and_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = {"torch": "2.11.0+cu130", "numpy": "1.0"}

    def version(name: str) -> str:
        if name not in there:
            raise importlib.metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    path = tmp_path / "base.in"
    path.write_text("# a comment\ntorch==2.11.0  # why\nnumpy==2.4.6\nPyYAML==6.0.3\n")
    found = doctor._packages(path)
    assert found.verdict == "problem"
    assert found.text.startswith("numpy is 1.0, not 2.4.6; PyYAML is missing, not 6.0.3: ")
    there |= {"numpy": "2.4.6", "PyYAML": "6.0.3"}
    assert doctor._packages(path).verdict == "ok"
    assert doctor._packages(tmp_path / "nowhere").verdict == "note"


def test_tools_that_are_missing_are_no_problem(
    about: Callable[[str], list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert [found.verdict for found in [*about("snakemake"), *about("dvc")]] == ["note", "note"]


@pytest.mark.parametrize(
    ("commit", "dirty", "verdict"), [(None, None, "note"), ("a" * 40, True, "note"), ("a" * 40, False, "ok")]
)
def test_the_checkout(monkeypatch: pytest.MonkeyPatch, commit: str | None, dirty: bool | None, verdict: str) -> None:
    monkeypatch.setattr(provenance, "environment", lambda: {"commit": commit, "dirty": dirty})
    assert doctor._git().verdict == verdict


@pytest.mark.parametrize(
    ("free", "total", "verdict", "advice"),
    [
        (1e8, 4e9, "problem", "Close other programs"),
        (1e8, 5e8, "problem", "Run on a machine that has as much"),
        (1.5e9, 4e9, "note", "--cores 1"),
        (1e12, 2e12, "ok", ""),
        (None, None, "note", ""),
    ],
)
def test_memory(
    smoke: Plan, monkeypatch: pytest.MonkeyPatch, free: float | None, total: float | None, verdict: str, advice: str
) -> None:
    """A job of the scale smoke needs up to 1 GB, and four run at once."""
    assert {one.mem_mb for one in smoke.experiment.scale.resources.stages.values()} == {1000}
    monkeypatch.setattr(doctor, "_cores", lambda: 4)
    bytes_of = {"MemAvailable": free, "MemTotal": total}
    monkeypatch.setattr(doctor, "_memory_of_machine", bytes_of.get)
    found = doctor._memory(smoke)
    assert found.verdict == verdict
    assert advice in found.text


def test_this_machines_memory_is_read() -> None:
    free, total = doctor._memory_of_machine("MemAvailable"), doctor._memory_of_machine("MemTotal")
    assert (free is None and total is None) or (free is not None and total is not None and 1e7 < free < total < 1e14)


def test_a_full_disk(smoke: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**8))
    assert [found.verdict for found in doctor._disk(smoke.root)] == ["ok", "problem"]


def test_a_folder_that_cannot_be_written(smoke: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert next(doctor._disk(smoke.root)).verdict == "problem"
    (tmp_path / "file").touch()
    (found,) = doctor._disk(tmp_path / "file" / "smoke")
    assert found.verdict == "problem" and "is a file" in found.text


def test_torch_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._torch().verdict == "ok"
    monkeypatch.setitem(sys.modules, "torch", None)
    assert doctor._torch().verdict == "problem"


def test_a_scale_that_needs_a_gpu_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    plan = a_plan("paper", tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert doctor._gpu(plan).verdict == "problem"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "a GPU")
    assert doctor._gpu(plan) == Finding("ok", "gpu", "a GPU")


# -- data --------------------------------------------------------------------------------------------------------------


def test_embedded_data_are_found_and_read(about: Callable[[str], list[Finding]]) -> None:
    assert {found.verdict for found in about("data")} == {"ok"}


def test_missing_data_say_what_to_put_where_and_nothing_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "create_connection", refuse)
    before = download.download_file
    plan = a_plan("paper", tmp_path / "results")
    missing: list[str] = []
    assert doctor._data(plan, "svhn", tmp_path, missing).verdict == "problem"
    assert missing == [f"{tmp_path / 'train_32x32.mat'} (182 MB)"]
    lines = [found.text for found in doctor._all_data(plan, tmp_path)]
    (svhn,) = [line for line in lines if "train_32x32.mat" in line]
    assert svhn.startswith("svhn: ") and str(tmp_path) in svhn and "robustscape prepare svhn" in svhn
    (cifar100,) = [line for line in lines if "cifar-100-binary.tar.gz" in line]
    assert cifar100.startswith("cifar100 and ") and "more that are made of the same files" in cifar100
    assert list(tmp_path.iterdir()) == []
    assert download.download_file is before
    (tmp_path / "train_32x32.mat").write_text("<html>")
    (tmp_path / "test_32x32.mat").write_text("<html>")
    assert "web page" in doctor._data(plan, "svhn", tmp_path, []).text
    card = plan.data_folder("svhn") / "card.json"
    card.parent.mkdir(parents=True)
    card.write_text("{}")
    assert doctor._data(plan, "svhn", tmp_path, []).verdict == "ok"


def test_a_package_that_only_some_networks_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda package: None)
    (found,) = doctor._optional_packages(a_plan("paper", tmp_path))
    assert found.verdict == "problem" and "timm" in found.text and "requirements/no-deps.in" in found.text
    assert not list(doctor._optional_packages(a_plan("smoke", tmp_path)))
