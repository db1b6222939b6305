"""Results that one clone pushes and others pull, through a folder and through S3, as docs/how-to/share-results.md says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import shared_study
from .shared_study import RESULTS, Remote, commit, documented_lines, output, planned, pull, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.smoke,
    pytest.mark.timeout(1800),
    pytest.mark.xdist_group("shared results"),
]


@dataclass(frozen=True)
class Shared:
    """A project whose results are in a remote."""

    root: Path
    remote: Remote

    def clone(self, target: Path) -> Path:
        """Clone it with Git: no results, but the remote is known."""
        output(self.root, "git", "clone", "--quiet", str(self.root), str(target))
        assert not (target / RESULTS).exists()
        return target


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose studies DVC made."""
    project = tmp_path_factory.mktemp("made") / "project"
    shared_study.make_project(project)
    output(project, "dvc", "repro")
    commit(project)
    return project


@pytest.fixture(scope="module", params=["folder", "s3"])
def shared(made: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """The same project with a remote, set by the lines of the page, to which all is pushed."""
    place = tmp_path_factory.mktemp(request.param)
    project = place / "project"
    shutil.copytree(made, project, symlinks=True)
    with shared_study.s3_server() if request.param == "s3" else shared_study.folder(place / "remote") as remote:
        for line in documented_lines(remote):
            output(project, "bash", "-c", line)
        commit(project)
        output(project, "dvc", "push")
        yield Shared(project, remote)


def same(name: Path, *projects: Path) -> bool:
    """Return whether a file is there, and the same bytes, in these projects."""
    return len({(project / name).read_bytes() for project in projects}) == 1


def test_what_was_made_is_up_to_date_and_not_in_git(made: Path) -> None:
    assert (made / RESULTS / "report/index.html").exists()
    assert "Nothing to be done" in planned(made)
    assert "didn't change" in output(made, "dvc", "repro", "other2099")
    assert not [path for path in output(made, "git", "ls-files").splitlines() if path.startswith("results/")]


def test_a_clone_pulls_everything_and_has_nothing_left_to_do(shared: Shared, tmp_path: Path) -> None:
    clone = shared.clone(tmp_path / "clone")
    done = pull(clone)
    assert done.returncode == 0 and "changed since" not in done.stdout, done.stdout + done.stderr
    assert "Nothing to be done" in planned(clone)
    nets = [path.relative_to(clone) for path in (clone / RESULTS).rglob("model.safetensors")]
    assert len(nets) == 3 and all(same(path, clone, shared.root) for path in nets)

    times = {path: path.stat().st_mtime_ns for path in (clone / RESULTS / "models").rglob("*") if path.is_file()}
    output(clone, "python", "-m", "robustscape", "--scale", "small", "run")
    assert {path: path.stat().st_mtime_ns for path in times} == times, "`robustscape run` trains nothing either"

    scale = clone / "config/scales/small/common.yaml"
    scale.write_text(scale.read_text().replace("epochs: 1", "epochs: 2"))
    assert "train_" in planned(clone), "a clone sees changes as the original does"


def test_one_study_is_pulled_alone(shared: Shared, tmp_path: Path) -> None:
    clone = shared.clone(tmp_path / "clone")
    done = pull(clone, "STUDY=one2099")
    assert done.returncode == 0 and "changed since" not in done.stdout, done.stdout + done.stderr
    assert same(RESULTS / "one2099/table_1.csv", clone, shared.root)
    assert "Nothing to be done" in planned(clone, "one2099")
    assert not (clone / RESULTS / "other2099").exists()
    assert {path.parent.name for path in (clone / RESULTS).rglob("model.safetensors")} == {"seed0", "seed7"}


def test_one_stage_or_one_file_is_pulled_alone(shared: Shared, tmp_path: Path) -> None:
    clone = shared.clone(tmp_path / "clone")
    wanted = RESULTS / "one2099/table_1.csv"
    output(clone, "dvc", "pull", str(wanted))
    assert [path.relative_to(clone) for path in (clone / RESULTS).rglob("*") if path.is_file()] == [wanted]
    assert same(wanted, clone, shared.root)
    output(clone, "dvc", "pull", "data")
    assert {path.name for path in (clone / RESULTS).iterdir()} == {"data", "one2099"}


def test_a_corrupted_object_is_refused_by_name_and_pulled_once_it_is_right(shared: Shared, tmp_path: Path) -> None:
    name = RESULTS / "one2099/table_1.csv"
    content = (shared.root / name).read_bytes()
    clone = shared.clone(tmp_path / "clone")
    shared.remote.spoil(content)
    try:
        done = run(clone, "dvc", "pull")
        assert done.returncode != 0 and "one2099" in done.stdout + done.stderr
        assert not (clone / name).exists()
    finally:
        shared.remote.mend(content)
    output(clone, "dvc", "pull")
    assert (clone / name).read_bytes() == content


def test_a_pull_of_what_was_never_recorded_or_has_no_remote_is_a_sentence(made: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    output(made, "git", "clone", "--quiet", str(made), str(clone))
    done = pull(clone)
    assert done.returncode != 0 and "Nobody said from where to pull: `dvc remote add" in done.stderr
    (clone / "dvc.lock").unlink()
    done = pull(clone)
    assert done.returncode != 0 and "There is nothing to pull" in done.stderr
