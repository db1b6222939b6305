"""``robustscape doctor``: can this machine do what the configuration asks? One line per check, with a remedy for each problem."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from robustscape import catalog
from robustscape.cli.options import downloads_folder, make_plan, read_main, sentence_case
from robustscape.errors import MissingData, UserError
from robustscape.storage import provenance

if TYPE_CHECKING:
    from robustscape.pipeline.cost.estimates import Estimate, Estimates
    from robustscape.pipeline.cost.needs import Needs
    from robustscape.pipeline.plan import Plan

#: Bytes; with less than this only the smallest scale fits.
_LEAST_DISK = 2e9

_INSTALL = "pip install -r requirements/base.in -c requirements/lock.txt"


class Finding(NamedTuple):
    """The result of a check: a ``note`` is worth knowing, a ``problem`` must be solved first."""

    verdict: Literal["ok", "note", "problem"]
    subject: str
    text: str


def add_doctor_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "check this machine: packages, memory, disk, device, data"
    command = commands.add_parser(
        "doctor", help=text, description=f"{sentence_case(text)}, for the chosen scale. Nothing is written."
    )
    command.set_defaults(execute=doctor_command)


def doctor_command(options: argparse.Namespace) -> None:
    """Print the findings about this machine.

    Raises:
        UserError: there are problems.
    """
    problems = print_findings(make_plan(options, read_main(options).studies), downloads_folder(options))
    if problems:
        raise UserError(f"{problems} of the checks above failed.")


def print_findings(plan: Plan, downloads: Path) -> int:
    """Print one line per check; return the number of problems.

    Args:
        plan: the scale and studies to check for.
        downloads: folder of full data sets. Nothing is downloaded.
    """
    problems = 0
    for finding in check_machine(plan, downloads):
        print(f"{finding.verdict:<8} {finding.subject:<14} {finding.text}", flush=True)
        problems += finding.verdict == "problem"
    return problems


def check_machine(plan: Plan, downloads: Path) -> Iterator[Finding]:
    """Yield the finding of each check, quick ones first."""
    from robustscape.pipeline.cost.needs import list_needs

    yield _configuration(plan)
    yield _python()
    yield _packages(plan.experiment.folder.parent / "requirements" / "base.in")
    yield from _optional_packages(plan)
    yield from _tools()
    yield _git()
    yield _processor(plan)
    estimates = _estimates(plan)
    estimate = estimates.estimate(estimates.jobs) if estimates else None
    yield _memory(plan, list_needs(plan, estimates.jobs) if estimates else [])
    yield from _disk(plan.root, estimate.disk if estimate else 0.0)
    yield _torch()
    yield _gpu(plan)
    if estimate:
        yield _cost(plan, estimate)
    yield from _all_data(plan, downloads)


def read_pins(path: Path) -> dict[str, str]:
    """Return package -> version for a requirements file of lines ``name==version``."""
    return dict(re.findall(r"^([\w.-]+)==([\w.+]+)", path.read_text(encoding="utf-8"), re.MULTILINE))


# -- software ----------------------------------------------------------------------------------------------------------


def _configuration(plan: Plan) -> Finding:
    items = sum(len(study.items) for study in plan.studies.values())
    from robustscape.pipeline.jobs import list_jobs

    text = f"{len(plan.studies)} studies, {items} items, {len(plan.runs)} runs, {len(list_jobs(plan))} jobs"
    return Finding("ok", "configuration", f"scale {plan.experiment.scale_name}: {text}")


def _python() -> Finding:
    return Finding("ok", "python", ".".join(map(str, sys.version_info[:3])))


def _packages(requirements: Path) -> Finding:
    if not requirements.exists():
        return Finding(
            "note", "packages", f"there is no {requirements}, so nothing to compare the installed versions with"
        )
    wanted = read_pins(requirements)
    wrong = [
        f"{name} is {there or 'missing'}, not {want}"
        for name, want in wanted.items()
        if (there := _installed(name)) != want
    ]
    if wrong:
        return Finding("problem", "packages", f"{'; '.join(wrong)}: `make reproduce` installs them, or {_INSTALL}")
    return Finding("ok", "packages", f"all {len(wanted)} as pinned in {requirements.parent.name}/{requirements.name}")


def _installed(package: str) -> str | None:
    """Return the installed version, without the name of the build (2.11.0+cu130); None if there is none."""
    try:
        return importlib.metadata.version(package).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def _optional_packages(plan: Plan) -> Iterator[Finding]:
    """Check the packages that only some networks need."""
    entries = plan.experiment.architectures
    wanting = sorted({run.architecture for run in plan.runs if entries[run.architecture].architecture == "timm_net"})
    if wanting and _installed("timm") is None:
        needed = f"timm is missing, which {', '.join(wanting[:3])}{', ...' if len(wanting) > 3 else ''} are made by"
        yield Finding("problem", "packages", f"{needed}: pip install --no-deps -r requirements/no-deps.in")


def _tools() -> Iterator[Finding]:
    without = {
        "snakemake": "only `robustscape run` is possible, one job at a time",
        "dvc": "results cannot be shared or fetched",
    }
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    for tool, consequence in without.items():
        if shutil.which(tool, path=folders):
            yield Finding("ok", tool, _installed(tool) or "installed")
        else:
            yield Finding("note", tool, f"not found; without it {consequence}")


def _git() -> Finding:
    state = provenance.environment()
    if state["commit"] is None:
        return Finding(
            "note",
            "git",
            "not a checkout with a commit: records cannot name the code that made a number",
        )
    if state["dirty"]:
        return Finding("note", "git", f"{state['commit'][:12]} with uncommitted changes, which records will mention")
    return Finding("ok", "git", state["commit"][:12])


# -- machine -----------------------------------------------------------------------------------------------------------


def _processor(plan: Plan) -> Finding:
    cores, threads = _cores(), max(one.threads for one in plan.experiment.scale.resources.stages.values())
    if threads > cores:
        return Finding("note", "processor", f"{cores} cores; a job asks for {threads} threads and gets {cores}")
    return Finding("ok", "processor", f"{cores} cores; a job uses {threads}")


def _cores() -> int:
    """Return the number of cores that this process may use, which on a cluster are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory(plan: Plan, needs: Sequence[Needs] = ()) -> Finding:
    """Check that a job fits, the largest of the scale's stages and of ``needs``."""
    free, total = _memory_of_machine("MemAvailable"), _memory_of_machine("MemTotal")
    stages = list(plan.experiment.scale.resources.stages.values())
    threads, mem_mb = (max(getattr(one, name) for one in [*stages, *needs]) for name in ("threads", "mem_mb"))
    if free is None:
        return Finding("note", "memory", "this system does not tell how much is free")
    cores = _cores()
    fitting, wanted = free // (mem_mb * 10**6), max(1, cores // threads)
    text = f"{free / 1e9:.1f} GB free; a job needs up to {mem_mb / 1e3:.1f} GB"
    if fitting == 0:
        has_it = total is None or total >= mem_mb * 10**6
        advice = "Close other programs" if has_it else "Run on a machine that has as much"
        return Finding("problem", "memory", f"{text}. {advice}, or choose a smaller scale.")
    if fitting < wanted:
        return Finding(
            "note",
            "memory",
            f"{text}, and {wanted} jobs run at once: use `snakemake --cores {fitting * threads}`",
        )
    return Finding("ok", "memory", text)


def _memory_of_machine(name: Literal["MemAvailable", "MemTotal"]) -> int | None:
    """Return the bytes that programs could have, or all there are; None where there is no /proc/meminfo."""
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _estimates(plan: Plan) -> Estimates | None:
    """Return the prices of the plan's jobs at the scale's own speed; None where the scale states none."""
    from robustscape.pipeline.cost.estimates import Estimates
    from robustscape.pipeline.cost.prices import Rate

    tflops = plan.experiment.scale.resources.tflops
    return Estimates(plan, Rate(tflops)) if tflops else None


def _disk(root: Path, wanted: float = 0.0) -> Iterator[Finding]:
    """Check the folder of results, and that there is room for ``wanted`` bytes, those that are there already included."""
    there = next(folder for folder in [root.absolute(), *root.absolute().parents] if folder.exists())
    if not there.is_dir():
        yield Finding("problem", "results", f"{there} is a file: move it, or choose another folder with --results")
        return
    if os.access(there, os.W_OK | os.X_OK):
        yield Finding("ok", "results", f"{root} can be written")
    else:
        yield Finding("problem", "results", f"{there} is read-only for this user: choose another folder with --results")
    free = shutil.disk_usage(there).free
    held = _held(root) if wanted else 0
    text = f"{free / 1e9:.1f} GB free for {root}"
    text += f", which comes to {wanted / 1e9:.0f} GB" if wanted else ""
    yield (
        Finding("ok", "disk", text)
        if free >= max(_LEAST_DISK, wanted - held)
        else Finding("problem", "disk", f"{text}: make room, or choose another folder with --results")
    )


def _held(root: Path) -> int:
    """Return the bytes of the files in a folder."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def _cost(plan: Plan, estimate: Estimate) -> Finding:
    """Compare what the plan takes with the GPUs that are here."""
    memories = _gpu_memories()
    text = f"about {estimate.hours:,.0f} GPU-hours, the longest job {estimate.longest[0]:.0f} h"
    largest = f"the largest job needs {estimate.device_memory / 1e9:.1f} GB of a GPU"
    if not memories:
        return Finding("note", "cost", f"{text}; {largest}. `robustscape cost` has the details")
    days = estimate.hours / 24 / len(memories)
    text = f"{text}: {days:,.0f} days on the {len(memories)} here"
    if min(memories) < estimate.device_memory:
        return Finding("problem", "cost", f"{largest}, and one here has {min(memories) / 1e9:.1f} GB: use a larger one")
    return Finding("ok", "cost", f"{text}; {largest}")


def _gpu_memories() -> list[int]:
    """Return the bytes of each visible GPU; none where torch does not tell."""
    try:
        import torch

        return [torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())]
    except (ImportError, OSError, RuntimeError, AssertionError):
        return []


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
    if scale.device == "cpu" and not any(one.gpu for one in scale.resources.stages.values()):
        return Finding("ok", "gpu", f"not needed at the scale {plan.experiment.scale_name}")
    try:
        import torch

        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    except (ImportError, OSError, RuntimeError) as error:
        return Finding("problem", "gpu", f"torch cannot tell ({error})")
    if names:
        return Finding("ok", "gpu", ", ".join(names))
    text = f"none is visible, but a job of the scale {plan.experiment.scale_name} needs one"
    return Finding("problem", "gpu", f"{text}: see `nvidia-smi` and CUDA_VISIBLE_DEVICES, or use --scale small")


# -- data --------------------------------------------------------------------------------------------------------------


def _all_data(plan: Plan, downloads: Path) -> Iterator[Finding]:
    """Check the data sets of the plan; those that wait for the same files share a line."""
    waiting: dict[str, list[str]] = {}
    for name in sorted({run.dataset for run in plan.runs}):
        missing: list[str] = []
        finding = _data(plan, name, downloads, missing)
        if missing:
            waiting.setdefault(" and ".join(dict.fromkeys(missing)), []).append(name)
        else:
            yield finding
    for files, names in waiting.items():
        others = f" and {len(names) - 1} more that are made of the same files" if len(names) > 1 else ""
        fetch = (
            f"with a network, `robustscape prepare {names[0]}` fetches it; docs/how-to/data.md says from where it comes"
        )
        yield Finding("problem", "data", f"{names[0]}{others}: {files} is not here; {fetch}")


def _data(plan: Plan, name: str, downloads: Path, missing: list[str]) -> Finding:
    """Check that a data set is prepared, or that the files it is made from can be read; add those to download to ``missing``."""
    if (plan.data_folder(name) / "card.json").exists():
        return Finding("ok", "data", f"{name} is prepared")
    entry = plan.experiment.datasets[name]
    try:
        with _without_network(missing):
            catalog.load_function("dataset", entry.dataset)(downloads, **entry.parameters)
    except UserError as error:
        return Finding("problem", "data", f"{name}: {' '.join(str(error).split())}")
    return Finding("ok", "data", f"{name} can be made from what is here")


@contextlib.contextmanager
def _without_network(missing: list[str]) -> Iterator[None]:
    """Within the block, data sets add the files that they would download to ``missing``."""
    from robustscape.data import download

    def refuse(file: download.RemoteFile, folder: Path) -> Path:
        missing.append(f"{folder / file.name} ({file.size / 1e6:,.0f} MB)")
        raise MissingData("This check downloads nothing.")

    original = download.download_file
    download.download_file = refuse
    try:
        yield
    finally:
        download.download_file = original
