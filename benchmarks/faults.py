"""What can go wrong, made to go wrong: what happened, seconds lost, and whether one more command gives the same bits.

``make faults`` does all of it and writes the table of docs/explanation/reliability.md; the tests do the quickest of it.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

WORK = "faulty2099"

#: A study with every kind of output, of two runs that train in a second.
STUDY = """
work: faulty2099
title: A study to break
reference: nobody, 2099
runs:
  all:
    - {dataset: svhn, architecture: resnet18_svhn, recipe: yamada2021_svhn, eps: [0]}
    - {dataset: svhn, architecture: resnet18_svhn, recipe: yamada2021_svhn-pgd, eps: [8/255]}
measurements:
  accuracy: {measure: accuracy, runs: [all], parameters: {attack: yamada2021_svhn_test}}
  landscape: {measure: loss_surface_1d, runs: [all], parameters: {attack: yamada2021_svhn_test, points: 5, directions: 2}}
comparisons:
  transfer:
    compare: transferability
    runs: [all]
    parameters: {attack: yamada2021_svhn_test, eps: 8/255, samples: 16, denominators: [all]}
theory:
  lemma_1: {check: yamada2021/lemma_1}
items:
  table_1:
    title: A table
    kind: table
    draw: grid
    options: {index: [recipe]}
    rows: [{of: accuracy}]
    factors: [recipe]
  table_2:
    title: Another
    kind: table
    draw: grid
    options: {index: [source], columns: [target]}
    rows: [{of: transfer}]
    factors: [source, target]
  figure_1:
    title: A figure
    kind: figure
    draw: curves
    options: {x: alpha, hue: recipe, metrics: [adversarial_loss]}
    rows: [{of: landscape}]
    factors: [recipe, alpha]
    metrics: [adversarial_loss]
  theorems:
    title: A theorem
    kind: table
    draw: grid
    options: {index: [check]}
    rows: [{of: lemma_1}]
    factors: [check]
    metrics: [numbers_checked, numbers_holding]
"""

SCALE = """
about: tiny
datasets: {svhn: digits_tiny}
architectures: {resnet18_svhn: resnet18_tiny_half}
recipes: {"*": {epochs: 4, probe_samples: 16}}
measurements: {"*": {samples: 16}}
runs_per_job: 1
device: cpu
"""


@dataclass(frozen=True)
class Outcome:
    """What came of a fault."""

    fault: str
    happened: str
    lost: float
    """Seconds beyond those of an undisturbed run."""
    identical: bool
    """Whether one more command gave the bits of an undisturbed run."""


@dataclass(frozen=True)
class Place:
    """A folder with the project and one study, and the ways to run it."""

    root: Path

    @property
    def results(self) -> Path:
        """What the study writes."""
        return self.root / "results" / "smoke"

    def environment(self) -> dict[str, str]:
        """One thread, and this copy's code."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return os.environ | {"PYTHONPATH": str(self.root / "src"), "OMP_NUM_THREADS": "1", "PATH": path}

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own, so that it can be killed with all its children."""
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self) -> tuple[int, str, float]:
        """Run the one command: exit code, output, seconds."""
        began = time.perf_counter()
        process = self.start(*RUN)
        output = process.communicate(timeout=1200)[0]
        return process.returncode, output, time.perf_counter() - began

    def empty(self) -> None:
        """Remove all results."""
        for name in ("results", ".snakemake"):
            shutil.rmtree(self.root / name, ignore_errors=True)


RUN = ("robustscape", "--scale", "smoke", "--threads", "1", "run", WORK)
SNAKEMAKE = ("snakemake", "--cores", "1", "--config", "scale=smoke")


def make_place(target: Path) -> Place:
    """Copy what the study needs of the project."""
    target.mkdir(parents=True)
    for name in ("src", "config", "workflow"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", ".snakemake"))
    shutil.copy(ROOT / "Snakefile", target)
    (target / "profiles").symlink_to("workflow/profiles")
    (target / "resources").mkdir()
    (target / "resources" / "paper").symlink_to(ROOT / "resources" / "paper")
    for folder, kept in (("studies", "-"), ("recipes", "yamada2021_svhn.yaml")):
        for path in (target / "config" / folder).iterdir():
            if path.name != kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    (target / "config/studies" / f"{WORK}.yaml").write_text(STUDY, encoding="utf-8")
    shutil.rmtree(target / "config/scales/smoke")
    (target / "config/scales/smoke").mkdir()
    (target / "config/scales/smoke/common.yaml").write_text(SCALE, encoding="utf-8")
    return Place(target)


def contents(place: Place) -> dict[str, bytes]:
    """Return the results that must be the same bits: weights, tables of numbers, items; not records, which hold seconds."""
    kept = (".safetensors", ".csv", ".md", ".tex", ".png", ".svg")
    files = [path for path in place.results.rglob("*") if path.suffix in kept]
    return {
        str(path.relative_to(place.results)): path.read_bytes()
        for path in sorted(files)
        if path.parts[-2] not in ("logs", "benchmarks") and "states" not in path.parts
    }


class Suite:
    """The study, made once without a fault, and the faults.

    Args:
        folder: an empty folder.
        seed: of the moments of kills.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.place = make_place(folder / "project")
        code, output, self.seconds = self.place.run()
        assert code == 0, output[-3000:]
        self.right = contents(self.place)
        self.kept = folder / "kept"
        shutil.copytree(self.place.root / "results", self.kept)

    def fresh(self) -> None:
        """Put back the results of the undisturbed run."""
        self.place.empty()
        shutil.copytree(self.kept, self.place.root / "results")

    def again(self) -> tuple[bool, float]:
        """Run one more command; return whether the results are the right ones, and its seconds."""
        code, _, seconds = self.place.run()
        return code == 0 and contents(self.place) == self.right, seconds

    # -- kills ----------------------------------------------------------------------------------------------------------

    def kill(self) -> tuple[bool, float]:
        """Kill the command, from nothing, at a random moment; return whether all is right after one more, and seconds lost."""
        self.place.empty()
        after = self.random.uniform(0.0, self.seconds)
        process = self.place.start(*RUN)
        try:
            process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, self.random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
            process.communicate()
        identical, seconds = self.again()
        return identical, max(after + seconds - self.seconds, 0.0)

    def kills(self, count: int) -> Outcome:
        """Kill it so many times."""
        found = [self.kill() for _ in range(count)]
        right, lost = sum(identical for identical, _ in found), [seconds for _, seconds in found]
        return Outcome(
            f"killed at a random moment, {count} times (SIGKILL, every third SIGTERM)",
            f"{right} of {count} went on to the same results; at most {max(lost):.0f} s lost",
            statistics.median(lost),
            right == count,
        )

    # -- files ----------------------------------------------------------------------------------------------------------

    def kinds(self) -> dict[str, Path]:
        """Return one file of every kind of output, by its kind."""
        self.fresh()
        found: dict[str, Path] = {}
        for path in sorted(self.place.results.rglob("*")):
            relative = path.relative_to(self.place.results)
            if path.is_dir() or {"logs", "benchmarks", "states"} & set(relative.parts):
                continue
            section = next((name for name in ("measurements", "comparisons", "theory") if name in relative.parts), "")
            kind = (
                f"{section}/*{path.suffix}"
                if section
                else relative.name
                if relative.parts[0] in ("models", "data")
                else ""
            )
            item = f"{WORK}/*{path.suffix}" if relative.parts[0] == WORK else relative.as_posix()
            found.setdefault(kind or item, path)
        return found

    def truncated(self, kind: str) -> Outcome:
        """Cut a file of a kind in half."""
        path = self.kinds()[kind]
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        code, output, seconds = self.place.run()
        happened, lost = "made again", seconds
        if code != 0:
            named = path.name in output
            happened = "named and refused; deleted, it is made again" if named else "refused, and not named"
            path.unlink()
            more = self.place.run()
            code, lost = more[0], seconds + more[2]
        identical = code == 0 and contents(self.place) == self.right and path.exists()
        return Outcome(f"{kind} cut in half", happened, lost, identical)

    def data_removed(self) -> Outcome:
        """Remove a data file while the study is made."""
        self.place.empty()
        process = self.place.start(*RUN)
        data = self.place.results / "data/digits_tiny/data.safetensors"
        wait_for(lambda: (self.place.results / "states").exists() or process.poll() is not None)
        data.unlink(missing_ok=True)
        output, code = process.communicate()[0], process.returncode
        identical, seconds = self.again()
        said = "named" if code == 2 and "data.safetensors" in output else f"exit code {code}"
        happened = "not noticed: it was in memory" if code == 0 else f"{said}, and made again by the next command"
        return Outcome("a data file removed in mid-run", happened, seconds, identical)

    def clock(self, year: int) -> Outcome:
        """Have half of the files be from another year, as a clock that was set leaves them."""
        self.fresh()
        other = time.mktime((year, 1, 1, 0, 0, 0, 0, 0, 0))
        files = sorted(path for path in self.place.results.rglob("*") if path.is_file())
        for path in self.random.sample(files, len(files) // 2):
            os.utime(path, (other, other))
        began = time.perf_counter()
        done = self.place.start(*SNAKEMAKE)
        output = done.communicate(timeout=1200)[0]
        count = re.search(r"^total\s+(\d+)", output, re.MULTILINE)
        happened = f"{count[1]} jobs looked again at what they have" if count else "nothing to do"
        if done.returncode != 0:
            # A file that is younger than what was just made of it: Snakemake takes that for a wrong clock.
            named = "clock" in output
            happened = f"Snakemake {'names a wrong clock' if named else 'fails'} and removes what it looked at again"
        identical, _ = self.again()
        return Outcome(f"files dated {year} (the clock was set)", happened, time.perf_counter() - began, identical)

    # -- the machine ----------------------------------------------------------------------------------------------------

    def two_at_once(self) -> Outcome:
        """Start Snakemake twice."""
        self.place.empty()
        first, began = self.place.start(*SNAKEMAKE), time.perf_counter()
        wait_for(lambda: any((self.place.root / ".snakemake/locks").glob("*")) or first.poll() is not None)
        second = self.place.start(*SNAKEMAKE)
        refused = second.communicate()[0]
        first.communicate()
        seconds = time.perf_counter() - began
        identical, _ = self.again()
        locked = second.returncode != 0 and "lock" in refused.lower()
        happened = "the second says that the folder is locked; the first goes on" if locked else "both ran"
        return Outcome(
            "two `snakemake` at once", happened, max(seconds - self.seconds, 0), identical and first.returncode == 0
        )

    def nan(self) -> Outcome:
        """Have training diverge to what is no number."""
        self.place.empty()
        path = self.place.root / "config/recipes/yamada2021_svhn.yaml"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("lr: 0.01", "lr: 1.0e+30"), encoding="utf-8")
        code, output, _ = self.place.run()
        path.write_text(text, encoding="utf-8")
        made = list(self.place.results.rglob("model.safetensors"))
        identical, seconds = self.again()
        said = (
            "a sentence names the run and the epoch" if code == 2 and "Traceback" not in output else f"exit code {code}"
        )
        happened = f"{said}; {'no' if not made else len(made)} weights are kept"
        return Outcome("NaN from a network", happened, max(seconds - self.seconds, 0), identical)

    def full_disk(self) -> Outcome | None:
        """Have the disk of the results be full, and then larger; None where none can be mounted."""
        self.place.empty()
        with small_disk(self.place.root / "results") as remount:
            if remount is None:
                return None
            code, output, _ = self.place.run()
            said = "a sentence says so" if code == 2 and "Traceback" not in output else f"exit code {code}"
            partial = [path for path in self.place.results.rglob("*.safetensors") if path.stat().st_size == 0]
            remount("size=200m")
            identical, seconds = self.again()
            happened = f"{said}; {'no half file is left' if not partial else 'half files are left'}"
            return Outcome("the disk is full", happened, max(seconds - self.seconds, 0), identical)

    def read_only(self) -> Outcome | None:
        """Have the results be on a disk that cannot be written, and then can; None where none can be mounted."""
        self.place.empty()
        with small_disk(self.place.root / "results", "size=200m") as remount:
            if remount is None:
                return None
            remount("ro")
            code, output, _ = self.place.run()
            said = "a sentence names the folder" if code == 2 and "results" in output else f"exit code {code}"
            remount("rw,size=200m")
            identical, seconds = self.again()
            return Outcome("read-only folders", said, max(seconds - self.seconds, 0), identical)


@contextmanager
def small_disk(folder: Path, size: str = "size=300k") -> Iterator[Callable[[str], None] | None]:
    """Mount a small disk in a folder; yield what remounts it with other options, None where mounting is not allowed."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)

    try:
        yield remount
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    """Wait until a function returns something true, but no longer than so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


def all_outcomes(suite: Suite, kills: int) -> Iterator[Outcome]:
    """Yield what comes of every fault; those that cannot be made here are left out."""
    yield suite.kills(kills)
    for fault in (suite.full_disk, suite.read_only, suite.data_removed, suite.two_at_once, suite.nan):
        outcome = fault()
        if outcome:
            yield outcome
    for year in (1999, 2037):
        yield suite.clock(year)
    for kind in suite.kinds():
        yield suite.truncated(kind)


BEGIN = "<!-- Table made by `make faults`: do not edit. -->"
END = "<!-- End of the table. -->"


def table(outcomes: list[Outcome], seconds: float) -> str:
    """Return the table of the page."""
    rows = [
        f"| {one.fault} | {one.happened} | {one.lost:.0f} | {'yes' if one.identical else '**no**'} |"
        for one in outcomes
    ]
    head = ["| fault | what happened | seconds lost | same bits after one more command |", "| --- | --- | --- | --- |"]
    return "\n".join([f"An undisturbed run of the study took {seconds:.0f} s.", "", *head, *rows])


def main() -> None:
    """Do everything, print the table, and write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--page", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("build/faults"))
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    suite = Suite(options.folder.resolve())
    outcomes: list[Outcome] = []
    for outcome in all_outcomes(suite, options.kills):
        outcomes.append(outcome)
        print(outcome, flush=True)
    text = table(outcomes, suite.seconds)
    print(text)
    if options.page:
        head, _, rest = options.page.read_text(encoding="utf-8").partition(BEGIN)
        tail = rest.partition(END)[2]
        options.page.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}", encoding="utf-8")
    sys.exit(not all(outcome.identical for outcome in outcomes))


if __name__ == "__main__":
    main()
