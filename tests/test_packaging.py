"""The environment: every pin in one place only by rights, every import declared, and a Makefile that survives a bad day."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

import robustscape
from robustscape.cli.doctor import read_pins
from robustscape.config.studies import Study

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
BASE, TEST = (
    read_pins(REQUIREMENTS / "base.in"),
    read_pins(REQUIREMENTS / "test.in") | read_pins(REQUIREMENTS / "no-deps.in"),
)
#: What a study asks for at the scale `paper` alone, and says so where it is missing.
OPTIONAL = {"timm": TEST["timm"]}
LOCK = read_pins(REQUIREMENTS / "lock.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

#: Tools of the main process, which no job needs.
MAIN_PROCESS = {"shtab", "snakemake", "snakemake-executor-plugin-slurm", "dvc", "setuptools"}


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


# -- pins --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.in")), ids=lambda path: path.name)
def test_a_requirement_is_pinned_and_its_version_is_the_locks(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    wanted = read_pins(path)
    assert len(wanted) == len(lines), "every line is name==version"
    lock = {normal(name): version for name, version in LOCK.items()}
    assert {name: lock.get(normal(name)) for name in wanted} == wanted


def test_conda_environments_have_the_same_pins() -> None:
    for path, wanted in (
        ("environment.yml", BASE),
        ("workflow/envs/robustscape.yaml", {n: v for n, v in BASE.items() if n not in MAIN_PROCESS}),
    ):
        entries = yaml.safe_load((ROOT / path).read_text())["dependencies"]
        (packages,) = (entry["pip"] for entry in entries if isinstance(entry, dict))
        assert dict(entry.split("==") for entry in packages) == wanted, path
        assert "python=3.11" in entries


def test_what_is_installed_here_is_what_is_pinned() -> None:
    """Results of another version are results of another project."""
    for name in ("torch", "torchvision", "torchaudio", "numpy", "snakemake", "pydantic", "safetensors"):
        assert importlib.metadata.version(name).partition("+")[0] == BASE[name]


def third_party(paths: Iterable[Path]) -> set[str]:
    """Packages imported by these files, inside functions too, that are neither Python's nor ours."""
    found: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            found |= {name.split(".")[0] for name in names}
    ours = [path for folder in ("tests", "benchmarks", "resources") for path in (ROOT / folder).rglob("*.py")]
    local = {name for path in ours for name in (path.stem, path.parent.name)}
    return found - set(sys.stdlib_module_names) - local - {"robustscape", "__main__"}


@pytest.mark.parametrize(
    ("folder", "declared"),
    [("src", BASE | OPTIONAL), ("resources", BASE), ("tests", BASE | TEST), ("benchmarks", BASE | TEST)],
)
def test_every_import_is_a_requirement(folder: str, declared: dict[str, str]) -> None:
    """A package that another one brings today may be missing tomorrow."""
    owners = importlib.metadata.packages_distributions()
    imported = third_party((ROOT / folder).rglob("*.py"))
    assert not (imported - set(owners)), "not installed"
    names = {normal(name) for name in declared}
    assert {name for name in imported if not names & {normal(owner) for owner in owners[name]}} == set()


# -- the package -------------------------------------------------------------------------------------------------------


def test_metadata_agree_with_the_package() -> None:
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "robustscape.__version__"
    module, _, name = PROJECT["project"]["scripts"]["robustscape"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == robustscape.__version__
    assert citation["license"] == PROJECT["project"]["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_the_package_is_typed_and_brings_its_files() -> None:
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["robustscape"]
    package = ROOT / "src" / "robustscape"
    brought = {path for pattern in patterns for path in package.glob(pattern)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert package / "py.typed" in brought and brought == others


def test_every_work_is_cited() -> None:
    references = {entry["notes"]: entry for entry in yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]}
    assert set(references) == {"yamada2021", "liu2020", "kanai2022", "kim2023", "ma2025"}
    for path in (ROOT / "config/studies").glob("*.yaml"):
        study = Study.model_validate(yaml.safe_load(path.read_text()))
        if study.work not in references:  # a study of the reader's own
            continue
        reference = references[study.work]
        assert study.title.lower() == reference["title"].lower()
        before_year = re.split(r"\d{4}|PhD|arXiv|\(", study.reference)[0]
        authors = {author["family-names"] for author in reference["authors"]}
        assert set(re.findall(r"[A-Z]\w+", before_year)) <= authors, f"authors of {study.work}"


# -- the Makefile ------------------------------------------------------------------------------------------------------

#: Stands for Python, pip and Snakemake: writes down how it is called, and makes an environment of itself.
PRETENDER = """#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
case "$*" in
  *"-m venv"*) for last; do :; done; mkdir -p "$last/bin"
    for name in python snakemake; do cp "$0" "$last/bin/$name"; done ;;
  *"-m pip"*) test ! -e "$BROKEN" ;;
esac
"""


class Sandbox:
    """The Makefile beside an empty environment, with pretenders for all it calls."""

    def __init__(self, root: Path) -> None:
        self.root, self.log, self.broken = root / "project", root / "log", root / "broken"
        self.root.mkdir()
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        shutil.copytree(REQUIREMENTS, self.root / "requirements")
        (root / "bin").mkdir()
        pretender = root / "bin" / "python3.11"
        pretender.write_text(PRETENDER)
        pretender.chmod(0o755)
        self.environment = {
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
            "LOG": str(self.log),
            "BROKEN": str(self.broken),
        }

    def make(self, *arguments: str) -> tuple[int, str, list[str]]:
        """Exit code, output, and the calls that were made."""
        self.log.write_text("")
        done = subprocess.run(
            ["make", *arguments], cwd=self.root, env=self.environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr, self.log.read_text().splitlines()


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def test_reproduce_installs_once_and_runs_snakemake(sandbox: Sandbox) -> None:
    code, output, calls = sandbox.make("reproduce")
    assert code == 0, output
    assert any("requirements/base.in --constraint requirements/lock.txt" in call for call in calls)
    assert not any("test.in" in call for call in calls)
    assert calls[-1] == "snakemake --cores all --config scale=small"
    assert "results/small/report/index.html" in output
    code, output, calls = sandbox.make("reproduce", "STUDY=yamada2021", "SCALE=smoke", "CORES=3")
    assert code == 0, output
    assert calls == ["snakemake --cores 3 --config scale=smoke studies=[yamada2021]"]


def test_the_tests_have_more_packages_than_the_workflow(sandbox: Sandbox) -> None:
    _, _, calls = sandbox.make(".venv/.test")
    installed = [call for call in calls if "-m pip" in call]
    assert [name for call in installed for name in re.findall(r"(\S+)\.in\b", call)] == [
        "requirements/base",
        "requirements/test",
        "requirements/no-deps",
    ]
    assert "--no-deps" in installed[-1]
    assert sandbox.make(".venv/.test")[2] == []


def test_an_install_that_failed_begins_anew(sandbox: Sandbox) -> None:
    sandbox.broken.touch()
    code, _, _ = sandbox.make("reproduce")
    assert code != 0
    half = sandbox.root / ".venv" / "half_a_package"
    half.touch()
    sandbox.broken.unlink()
    code, output, calls = sandbox.make("reproduce")
    assert code == 0, output
    assert not half.exists()
    assert any("-m venv" in call for call in calls)


def test_a_changed_pin_is_installed_into_the_same_environment(sandbox: Sandbox) -> None:
    sandbox.make("reproduce")
    kept = sandbox.root / ".venv" / "kept"
    kept.touch()
    stamp = (sandbox.root / ".venv" / ".base").stat().st_mtime
    os.utime(sandbox.root / "requirements" / "lock.txt", (stamp + 5, stamp + 5))
    _, _, calls = sandbox.make("reproduce")
    assert any("-m pip" in call for call in calls) and not any("-m venv" in call for call in calls)
    assert kept.exists()


def test_no_python_is_a_sentence(sandbox: Sandbox) -> None:
    tools = sandbox.root.parent / "tools"
    tools.mkdir()
    for tool in ("make", "sh", "test", "rm", "mkdir", "touch", "echo"):
        (tools / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    sandbox.environment["PATH"] = str(tools)
    code, output, _ = sandbox.make("reproduce")
    assert code != 0
    assert "robustscape needs Python 3.11 to 3.13" in output
    assert "apt-get install python3-venv" in output


def test_ci_runs_the_same_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "make test"
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "results").glob("*.json")), ids=lambda path: path.stem)
def test_a_figure_names_no_folder_of_the_machine_it_was_taken_on(path: Path) -> None:
    command = json.loads(path.read_text())["command"]
    assert not [word for word in command.split() if Path(word).is_absolute()]
