"""The generated files: up to date, complete, the same every time, and agreeing with the models they are made from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robustscape import catalog
from robustscape.cli import documentation, schemas

ROOT = Path(__file__).parents[2]
FILES = {file.name: file for file in schemas.FILES}
PAGE = documentation.configuration_page()


def test_what_is_committed_is_up_to_date() -> None:
    assert documentation.write(ROOT, check=True) == [], "run `robustscape docs`"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A project in which everything that is generated has just been generated."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    assert len(documentation.write(tmp_path, check=True)) == 2  # all of them are missing
    documentation.write(tmp_path)
    return tmp_path


def test_check_finds_what_is_stale_and_changes_nothing(copy: Path) -> None:
    page, dvc = copy / "docs/configuration.md", copy / "dvc.yaml"
    page.write_text(page.read_text() + " ")
    dvc.unlink()
    stale = ["docs/configuration.md", "dvc.yaml"]
    assert documentation.write(copy, check=True) == stale
    assert documentation.write(copy, check=True) == stale
    assert documentation.write(copy) == []
    assert documentation.write(copy, check=True) == []


def test_generating_needs_no_torch_and_gives_the_same_bytes_in_every_process() -> None:
    program = (
        "import hashlib, sys; from pathlib import Path; from robustscape.cli.documentation import documents;"
        "print(hashlib.sha256(repr(documents(Path('.'))).encode()).hexdigest(), 'torch' in sys.modules)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONPATH": "src", "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[i]
        for seed in ("1", "2")
        for i in (0, 1)
    }
    assert len(said) == 2 and "False" in said


# -- the page ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", schemas.FILES, ids=lambda file: file.name)
def test_the_page_has_every_key_and_what_it_means(file: schemas.File) -> None:
    schema = schemas.schema_of(file.model)
    for definition in [schema, *schema.get("$defs", {}).values()]:
        for key, value in definition.get("properties", {}).items():
            row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{key}` | "))
            assert row.count("|") - row.count("\\|") == 5
            assert value.get("description"), f"{definition['title']}.{key} has no docstring"
            assert documentation._cell(value["description"]) in PAGE


@pytest.mark.parametrize("kind", catalog.KINDS)
def test_the_page_has_everything_in_the_catalogue(kind: str) -> None:
    for name, entry in catalog.entries(kind).items():
        source = entry.path.relative_to(ROOT).as_posix()
        section = PAGE.split(f"#### [`{name}`](../{source})\n", 1)[1].split("\n#")[0]
        assert all(f"| `{key}` | " in section for key in entry.parameters.model_fields)


def test_types_are_said_in_words() -> None:
    assert "| `step_size` | number > 0 or null | `null` | length of a step in input units;" in PAGE
    assert '| `norm` | `"Linf"`, `"L2"` | `"Linf"` |' in PAGE
    assert "| `eps` | list of number | required |" in PAGE


def test_links_within_the_page_lead_somewhere() -> None:
    headings = {documentation._anchor(line.lstrip("# ")) for line in PAGE.splitlines() if line.startswith("#")}
    links = {part.split(")")[0] for part in PAGE.split("](#")[1:]}
    assert links <= headings


# -- the pages written by hand ----------------------------------------------------------------------------------------

PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "results/README.md", ROOT / "benchmarks/README.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    links = re.findall(
        r"\]\(([^)#]+?)(?:#[^)]*)?\)", re.sub(r"```.*?```|<!--.*?-->", "", page.read_text(), flags=re.DOTALL)
    )
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_the_examples_of_adding_are_a_study_that_runs(tmp_path: Path) -> None:
    """The blocks of docs/adding.md that name a file, written to a copy of the project: valid, in style, and they run."""
    for name in ("src", "config"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    blocks = re.findall(
        r"^```\w+\n# (\S+)( \(add\))?\n(.*?)^```$",
        (ROOT / "docs/adding.md").read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    assert len(blocks) == 9
    for name, add, text in blocks:
        path = tmp_path / name
        assert path.exists() == bool(add), name
        path.write_text((path.read_text() + "\n" if add else "") + text)
    added = [str(tmp_path / name) for name, _, _ in blocks if name.endswith(".py")]
    for verb in (["check"], ["format", "--check"]):
        assert subprocess.run([sys.executable, "-m", "ruff", *verb, *added], cwd=tmp_path, check=False).returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "robustscape", "--scale", "smoke", "--threads", "1", "run", "mywork"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made = tmp_path / "results/smoke"
    assert {path.name for path in (made / "mywork").iterdir()} >= {
        "table_1.md",
        "table_1.tex",
        "figure_1.png",
        "figure_1.svg",
    }
    assert len(list(made.rglob("model.safetensors"))) == 3, "one seed at the scale smoke"
    assert "M-1" in (made / "claims.csv").read_text()
    assert "halving_pgd" in next((made / "mywork/measurements").rglob("*.csv")).read_text()
