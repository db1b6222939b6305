"""Small wrong changes of the code, made one at a time: does a test fail?

``mutants.yaml`` lists the changes, each with the tests that should notice it. Every change is made in a scratch copy of the
project, never here. A change that no named test notices is *missed*: a blind spot of the tests, to be closed for its whole kind.

Run: ``make mutants``, half an hour on one core; ``python benchmarks/mutants.py WORD``: only the changes of that kind, or with the
word in their file or description; ``--new``: only those without a verdict. Verdicts are kept in ``results/mutants.json``, and the
score is printed as a table, for docs/explanation/tests.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("mutants.yaml")
VERDICTS = Path(__file__).with_name("results") / "mutants.json"
#: What tests read, copied once.
COPIED = ("src", "tests", "config", "resources", "workflow", "pyproject.toml", "requirements")
#: What most tests import, loaded once: it takes longer than many of them.
HEAVY = (
    "torch",
    "torch.func",
    "pandas",
    "scipy.stats",
    "sklearn.datasets",
    "hypothesis",
    "pydantic",
    "safetensors.torch",
)


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


def read_verdicts() -> dict[str, bool]:
    """Return whether each change was caught when it was last made, by what it says."""
    return json.loads(VERDICTS.read_text(encoding="utf-8"))["caught"] if VERDICTS.exists() else {}


def score_table(mutants: Sequence[Mutant], verdicts: Mapping[str, bool]) -> str:
    """Return, by kind and as Markdown, the number of changes, of those that were made, and of those that were caught."""
    rows = ["| kind | changes | made | caught |", "|---|--:|--:|--:|"]
    kinds = dict.fromkeys(mutant.kind for mutant in mutants)
    for kind in [*kinds, "all"]:
        of_kind = [mutant for mutant in mutants if kind in (mutant.kind, "all")]
        made = [verdicts[mutant.says] for mutant in of_kind if mutant.says in verdicts]
        rows.append(f"| {kind} | {len(of_kind)} | {len(made)} | {sum(made)} |")
    return "\n".join(rows)


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

    They run in a fork of this process, which has the heavy packages loaded and nothing of the project.

    Raises:
        RuntimeError: pytest ran no test.
    """
    child = multiprocessing.get_context("fork").Process(target=_run_tests, args=(root, tests))
    child.start()
    child.join(seconds)
    if child.exitcode is None:
        child.kill()
        child.join()
        return True
    if child.exitcode in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"pytest runs nothing for: {' '.join(tests)}")
    return child.exitcode != 0


def _run_tests(root: Path, tests: Sequence[str]) -> None:
    os.chdir(root)
    os.environ |= {"PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    sys.path.insert(0, str(root / "src"))
    sys.dont_write_bytecode = True
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    sys.exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--rootdir", str(root), *tests]))


def chosen_mutants(words: Sequence[str]) -> list[Mutant]:
    """Return the changes of the kinds in ``words``, and those with another word in file or description; without words, all."""
    mutants = read_mutants()
    kinds = {mutant.kind for mutant in mutants}
    return [
        mutant
        for mutant in mutants
        if not words
        or mutant.kind in words
        or any(word in f"{mutant.file} {mutant.says}" for word in words if word not in kinds)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "words", nargs="*", help="only changes of these kinds, or with these in their file or description"
    )
    parser.add_argument("--seconds", type=float, default=300, help="limit of a change's tests (default: %(default)s)")
    parser.add_argument("--new", action="store_true", help="only changes without a verdict")
    options = parser.parse_args()
    verdicts = read_verdicts()
    mutants = [one for one in chosen_mutants(options.words) if not (options.new and one.says in verdicts)]
    for name in HEAVY:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder)
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, root / name)
        for mutant in mutants:
            if reason := misfit(mutant, root):
                sys.exit(reason)
            started = time.perf_counter()
            with applied(mutant, root):
                caught = tests_fail(root, mutant.tests, options.seconds)
            verdict = "caught" if caught else "MISSED"
            print(f"{verdict}  {time.perf_counter() - started:5.1f} s  {mutant.file}: {mutant.says}", flush=True)
            kept = {one.says for one in read_mutants()}
            verdicts = {says: was for says, was in {**read_verdicts(), mutant.says: caught}.items() if says in kept}
            content = {"command": "python benchmarks/mutants.py", "caught": verdicts}
            VERDICTS.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"\n{score_table(read_mutants(), verdicts)}")


if __name__ == "__main__":
    main()
