"""Whether this machine can do what the configuration asks: one line a check, with what to do about a problem."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from robustscape import catalog
from robustscape.config.base import read_model
from robustscape.config.main import Main
from robustscape.errors import MissingData, UserError
from robustscape.pipeline.plan import Plan
from robustscape.storage import provenance

#: Below this nothing but the smallest scale fits.
_LEAST_DISK = 2e9

_INSTALL = "pip install -r requirements/base.in -c requirements/lock.txt"


class Finding(NamedTuple):
    """A line: ``note`` is worth knowing, ``problem`` stands in the way."""

    verdict: Literal["ok", "note", "problem"]
    subject: str
    text: str


def examine(plan: Plan, downloads: Path | None = None) -> int:
    """Print a line a check; returns the number of problems.

    Args:
        plan: the scale and studies to check for.
        downloads: folder of full data sets; the configuration's by default. Nothing is downloaded.
    """
    problems = 0
    for finding in findings(
        plan, downloads or Path(read_model(Main, plan.experiment.folder / "config.yaml").downloads)
    ):
        print(f"{finding.verdict:<8} {finding.subject:<14} {finding.text}", flush=True)
        problems += finding.verdict == "problem"
    return problems


def findings(plan: Plan, downloads: Path) -> Iterator[Finding]:
    """The checks, quick ones first."""
    yield _configuration(plan)
    yield _python()
    yield _packages(plan.experiment.folder.parent / "requirements" / "base.in")
    yield from _tools()
    yield _git()
    yield _processor(plan)
    yield _memory(plan)
    yield from _disk(plan.root)
    yield _torch()
    yield _gpu(plan)
    for name in sorted({run.dataset for run in plan.runs}):
        yield _data(plan, name, downloads)


def pins(path: Path) -> dict[str, str]:
    """Package -> version in a requirements file of lines ``name==version``."""
    return dict(re.findall(r"^([\w.-]+)==([\w.+]+)", path.read_text(), re.MULTILINE))


# -- software ----------------------------------------------------------------------------------------------------------


def _configuration(plan: Plan) -> Finding:
    items = sum(len(study.items) for study in plan.studies.values())
    text = f"{len(plan.studies)} studies, {items} items, {len(plan.runs)} runs, {len(plan.jobs)} jobs"
    return Finding("ok", "configuration", f"scale {plan.experiment.scale_name}: {text}")


def _python() -> Finding:
    return Finding("ok", "python", ".".join(map(str, sys.version_info[:3])))


def _packages(requirements: Path) -> Finding:
    if not requirements.exists():
        return Finding("note", "packages", f"no pins to compare with: there is no {requirements}")
    wanted = pins(requirements)
    wrong = [
        f"{name} is {there or 'missing'}, not {want}"
        for name, want in wanted.items()
        if (there := _installed(name)) != want
    ]
    if wrong:
        return Finding("problem", "packages", f"{'; '.join(wrong)}: `make reproduce` installs them, or {_INSTALL}")
    return Finding("ok", "packages", f"{len(wanted)} as pinned in {requirements.parent.name}/{requirements.name}")


def _installed(package: str) -> str | None:
    """Installed version, without the name of the build (2.11.0+cu130)."""
    try:
        return importlib.metadata.version(package).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def _tools() -> Iterator[Finding]:
    instead = {"snakemake": "`robustscape run` does one job at a time", "dvc": "results cannot be shared or fetched"}
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    for tool, without in instead.items():
        if shutil.which(tool, path=folders):
            yield Finding("ok", tool, _installed(tool) or "there")
        else:
            yield Finding("note", tool, f"not found; without it {without}")


def _git() -> Finding:
    state = provenance.environment()
    if state["commit"] is None:
        return Finding("note", "git", "not a checkout with a commit: records will not say which code made a number")
    if state["dirty"]:
        return Finding("note", "git", f"{state['commit'][:12]} with uncommitted changes: records will say so")
    return Finding("ok", "git", state["commit"][:12])


# -- machine -----------------------------------------------------------------------------------------------------------


def _processor(plan: Plan) -> Finding:
    cores, threads = _cores(), plan.experiment.scale.resources.threads
    if threads > cores:
        return Finding("note", "processor", f"{cores} cores, a job asks {threads}: Snakemake gives it all there are")
    return Finding("ok", "processor", f"{cores} cores, {threads} a job")


def _cores() -> int:
    """Cores this process may use, which on a cluster are fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory(plan: Plan) -> Finding:
    resources, free = plan.experiment.scale.resources, _free_memory()
    if free is None:
        return Finding("note", "memory", "this system does not say how much is free")
    cores = _cores()
    fitting, wanted = free // (resources.mem_mb * 10**6), max(1, cores // resources.threads)
    text = f"{free / 1e9:.1f} GB free, {resources.mem_mb / 1e3:.1f} GB a job"
    if fitting == 0:
        return Finding("problem", "memory", f"{text}: close other programs, or choose a smaller scale")
    if fitting < wanted:
        return Finding(
            "note", "memory", f"{text}, {wanted} jobs at once: limit them by --cores {fitting * resources.threads}"
        )
    return Finding("ok", "memory", text)


def _free_memory() -> int | None:
    """Bytes that programs could have, None where there is no /proc/meminfo."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _disk(root: Path) -> Iterator[Finding]:
    there = next(folder for folder in [root.absolute(), *root.absolute().parents] if folder.exists())
    if not there.is_dir():
        yield Finding("problem", "results", f"{there} is a file: move it, or choose another folder by --results")
        return
    if os.access(there, os.W_OK | os.X_OK):
        yield Finding("ok", "results", f"{root} can be written")
    else:
        yield Finding("problem", "results", f"{there} is read-only for this user: choose another folder by --results")
    free = shutil.disk_usage(there).free
    text = f"{free / 1e9:.1f} GB free for {root}"
    yield (
        Finding("ok", "disk", text)
        if free >= _LEAST_DISK
        else Finding("problem", "disk", f"{text}: make room, or --results")
    )


def _torch() -> Finding:
    try:
        import torch

        x = torch.arange(4.0, requires_grad=True)
        (gradient,) = torch.autograd.grad((x @ x).sin(), x)
        right = torch.allclose(gradient, 2 * x * (x @ x).cos())
    except (ImportError, OSError, RuntimeError) as error:
        return Finding("problem", "torch", f"does not work ({' '.join(str(error).split())}): {_INSTALL}")
    if not right:
        return Finding("problem", "torch", f"{torch.__version__} computes wrong gradients: {_INSTALL}")
    return Finding("ok", "torch", f"{torch.__version__}, {torch.get_num_threads()} threads")


def _gpu(plan: Plan) -> Finding:
    scale = plan.experiment.scale
    if scale.device == "cpu" and not scale.resources.gpu:
        return Finding("ok", "gpu", f"the scale {plan.experiment.scale_name} needs none")
    try:
        import torch

        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    except (ImportError, OSError, RuntimeError) as error:
        return Finding("problem", "gpu", f"cannot be asked for ({error})")
    if names:
        return Finding("ok", "gpu", ", ".join(names))
    text = f"none is visible, and the scale {plan.experiment.scale_name} asks {scale.resources.gpu} a job"
    return Finding("problem", "gpu", f"{text}: see `nvidia-smi` and CUDA_VISIBLE_DEVICES, or choose the scale small")


# -- data --------------------------------------------------------------------------------------------------------------


def _data(plan: Plan, name: str, downloads: Path) -> Finding:
    """Whether a data set is prepared, or what it is made from can be read."""
    if (plan.data(name) / "card.json").exists():
        return Finding("ok", "data", f"{name} is prepared")
    entry = plan.experiment.datasets[name]
    try:
        with _without_network():
            catalog.load("dataset", entry.dataset)(downloads, **entry.parameters)
    except MissingData as error:
        text = " ".join(str(error).split())
        return Finding("problem", "data", f"{name}: {text} With a network, `robustscape prepare {name}` fetches it.")
    except UserError as error:
        return Finding("problem", "data", f"{name}: {' '.join(str(error).split())}")
    return Finding("ok", "data", f"{name} can be made from what is here")


@contextlib.contextmanager
def _without_network() -> Iterator[None]:
    """Data sets say what they miss instead of fetching it."""
    from robustscape.data import download

    def refuse(file: download.RemoteFile, folder: Path) -> Path:
        raise MissingData("This check downloads nothing.")

    original = download.download
    download.download = refuse
    try:
        yield
    finally:
        download.download = original
