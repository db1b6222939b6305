"""Small wrong changes of the code, made one at a time: does a test fail?

``mutants.yaml`` lists the changes, each with the tests that should notice it. Every change is made in a scratch copy of the
project, never here. A change that no named test notices is *missed*: a blind spot of the tests, to be closed for its whole kind.

Run: ``make mutants``, half an hour on one core; ``python benchmarks/mutants.py WORD``: only the changes whose kind, file or
description has one of them. At the end the score as a table, for docs/explanation/tests.md.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("mutants.yaml")
#: What tests read, copied once.
COPIED = ("src", "tests", "config", "resources", "workflow", "pyproject.toml", "requirements")


@dataclass(frozen=True)
class Mutant:
    """A wrong change."""

    kind: str
    """What the change is about."""
    says: str
    """The change in words."""
    file: str
    """Below the root of the project."""
    old: str
    """Text that occurs once in the file."""
    new: str
    """What stands in its place."""
    tests: tuple[str, ...]
    """Arguments of pytest: files or single tests, and options such as ``-k``."""


def read_mutants(path: Path = LIST) -> list[Mutant]:
    """Return the changes of a list, which has kind -> its changes."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [
        Mutant(kind, one["says"], one["file"], one["old"], one["new"], tuple(shlex.split(one["tests"])))
        for kind, entries in content.items()
        for one in entries
    ]


def misfit(mutant: Mutant, root: Path = ROOT) -> str:
    """Return why a change cannot be made, in words; empty if it can: its file is there and has its text once."""
    path = root / mutant.file
    if not path.is_file():
        return f"{mutant.file} is not there"
    count = path.read_text(encoding="utf-8").count(mutant.old)
    if count != 1:
        return f"{mutant.file} has {mutant.old!r} {count} times"
    if mutant.old == mutant.new:
        return f"{mutant.file}: nothing changes"
    missing = [test for test in mutant.tests if test.startswith("tests/") and not (root / test.split("::")[0]).exists()]
    return f"there is no {', '.join(missing)}" if missing else ""


@contextmanager
def applied(mutant: Mutant, root: Path) -> Iterator[None]:
    """Within the block the project at ``root`` has the change."""
    path = root / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def tests_fail(root: Path, tests: Sequence[str], seconds: float) -> bool:
    """Return whether one of ``tests`` fails at ``root``, or does not end within ``seconds``.

    Raises:
        RuntimeError: pytest ran no test.
    """
    variables = os.environ | {"PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests]
    try:
        done = subprocess.run(command, cwd=root, env=variables, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    if done.returncode in (4, 5):  # pytest was called wrongly, or found no tests
        raise RuntimeError(f"{' '.join(tests)}: {done.stdout[-300:]} {done.stderr[-300:]}")
    return done.returncode != 0


def chosen_mutants(words: Sequence[str]) -> list[Mutant]:
    """Return the changes whose kind, file or description has one of ``words``; all without words."""
    return [
        mutant
        for mutant in read_mutants()
        if not words or any(word in f"{mutant.kind} {mutant.file} {mutant.says}" for word in words)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only changes whose kind, file or description has one of these")
    parser.add_argument("--seconds", type=float, default=300, help="limit of a change's tests (default: %(default)s)")
    parser.add_argument("--clean", action="store_true", help="run the named tests first on the code as it is")
    options = parser.parse_args()
    mutants = chosen_mutants(options.words)
    found: dict[str, list[bool]] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder)
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, root / name)
        if options.clean:
            for tests in dict.fromkeys(mutant.tests for mutant in mutants):
                if tests_fail(root, tests, options.seconds):
                    sys.exit(f"{' '.join(tests)} fails on the code as it is.")
        for mutant in mutants:
            if reason := misfit(mutant, root):
                sys.exit(reason)
            started = time.perf_counter()
            with applied(mutant, root):
                caught = tests_fail(root, mutant.tests, options.seconds)
            found.setdefault(mutant.kind, []).append(caught)
            verdict = "caught" if caught else "MISSED"
            print(f"{verdict}  {time.perf_counter() - started:5.1f} s  {mutant.file}: {mutant.says}", flush=True)
    print("\n| kind | changes | caught |\n|---|---|---|")
    found["all"] = [caught for verdicts in found.values() for caught in verdicts]
    for kind, verdicts in found.items():
        print(f"| {kind} | {len(verdicts)} | {sum(verdicts)} |")


if __name__ == "__main__":
    main()
