"""The sentences of the documentation that can be checked: paths, links, commands, names and numbers; the examples run."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from test_imports import ORDER

import robustscape
from robustscape import catalog
from robustscape.cli import reference
from robustscape.cli.main import build_parser
from robustscape.config.base import validate_model
from robustscape.config.datasets import DatasetEntry
from robustscape.config.loading import load_experiment
from robustscape.config.main import Main
from robustscape.evaluation.own_model.samples import LABELS, Samples
from robustscape.models import build_classifier
from robustscape.pipeline.cost import page
from robustscape.pipeline.cost.prices import Rate
from robustscape.pipeline.fingerprints import dataset_fingerprint
from robustscape.pipeline.jobs import Job, list_jobs
from robustscape.pipeline.plan import Plan

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/robustscape"
PAGES = sorted(
    [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md", "benchmarks/README.md")),
    ]
)
#: Text whose paths and contracts are checked beside the pages': code, configuration, workflow.
TEXTS = sorted(
    [
        *SOURCE.rglob("*.py"),
        *(ROOT / "config").rglob("*.yaml"),
        *(path for path in (ROOT / "workflow").rglob("*") if path.suffix in (".smk", ".yaml", ".rst")),
        *(ROOT / name for name in ("Snakefile", "mkdocs.yml", "CHANGELOG.md", "dvc.yaml")),
    ]
)

#: A file or folder of the project, as text names it.
PATH = re.compile(
    r"(?<![\w./<>-])((?:src|config|docs|tests|workflow|resources|requirements|benchmarks|\.github)/[\w./*<>{}-]*)"
)
#: Works of the examples, which exist only in the tests that write them.
EXAMPLES = {"mywork", "myattack"}


def text_of(pages: list[Path]) -> dict[str, str]:
    return {str(page.relative_to(ROOT)): page.read_text() for page in pages}


def example_files(outside: bool = False) -> list[tuple[str, bool, str]]:
    """The blocks of the pages that name a file in their first line: (path, whether it is added to a file, text).

    Those of plug-ins, which are ``outside`` of the project, are in a folder ``mine``.
    """
    block = re.compile(r"^```\w+\n# (\S+/\S+)( \(add\))?\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
    return [
        (name, bool(add), body)
        for page in (ROOT / "docs").rglob("*.md")
        for name, add, body in block.findall(page.read_text())
        if name.startswith("mine/") == outside
    ]


def is_there(path: str) -> bool:
    """Return whether a path, perhaps with placeholders (``<work>``, ``NAME``, ``*``), matches a file or folder."""
    pattern = re.sub(r"<\w+>|\bNAME\b", "*", path.rstrip("."))
    if pattern.startswith("workflow/schemas"):  # written on demand, not tracked
        return True
    return bool(list(ROOT.glob(pattern.rstrip("/")))) or path in {name for name, _, _ in example_files()}


@cache
def plan(scale: str) -> Plan:
    return Plan(load_experiment(ROOT / "config", scale), Path("results"))


@cache
def generated() -> set[Path]:
    return {ROOT / "docs" / path for path in reference.pages()}


# -- paths and links ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, *TEXTS], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_is_named_exists(page: Path) -> None:
    named = {match for match in PATH.findall(page.read_text()) if "{" not in match}
    assert {path for path in named if not is_there(path)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|<!--.*?-->", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        if "://" in file:
            continue
        path = Path(os.path.normpath(page.parent / file)) if file else page
        assert path.exists() or path in generated(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}, (
                target
            )


def test_the_site_has_every_page_in_its_navigation() -> None:
    named = set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    folders = {Path(name).parent for name in named if name.endswith("/index.md")}
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    assert {str(page) for page in pages} <= named
    generated_pages = [path.relative_to(ROOT / "docs") for path in generated()]
    assert all(str(path) in named or path.parent in folders for path in generated_pages)


# -- commands ----------------------------------------------------------------------------------------------------------


def commands(program: str) -> list[list[str]]:
    """The words after ``program`` of every command in a page: in bash blocks, and between backticks."""
    found: list[list[str]] = []
    for text in text_of([*PAGES, ROOT / "CHANGELOG.md"]).values():
        blocks = re.findall(r"^```bash\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        lines = [part for block in blocks for line in block.splitlines() for part in line.split("#")[0].split("&&")]
        for line in [*lines, *re.findall(r"`([^`]+)`", prose)]:
            if line.split()[:1] == [program] and len(line.split()) > 1:
                found.append(shlex.split(line, comments=True)[1:])
    return found


@pytest.mark.parametrize("words", commands("robustscape"), ids=" ".join)
def test_a_robustscape_command_parses_and_names_what_exists(words: list[str]) -> None:
    if words in (["<command>"], ["..."]):
        return
    options = build_parser().parse_args(words)
    experiment = plan("small").experiment
    works = {*experiment.studies, *EXAMPLES}
    assert set(getattr(options, "works", [])) <= works
    if options.command == "explain":
        work, item = options.target.split("/")
        assert item in experiment.studies[work].items
    if options.command == "prepare":
        assert set(options.targets) <= {*experiment.datasets, "NAME"}
    if options.command == "attack":
        assert set(options.suite) <= {*experiment.suites, *experiment.attacks}
        assert options.data is None or options.data in {*experiment.datasets, "images/", "test.npz"}
        assert options.architecture is None or options.architecture in experiment.architectures


def makefile_targets() -> set[str]:
    return set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1].split())  # type: ignore[index]


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_a_make_command_has_a_target_and_known_variables(words: list[str]) -> None:
    assert {word for word in words if "=" not in word} <= makefile_targets()
    settings = dict(word.split("=") for word in words if "=" in word)
    assert set(settings) <= {"STUDY", "SCALE", "CORES"}
    assert settings.get("SCALE", "small").split("|")[0] in {"smoke", "small", "paper"}
    assert settings.get("STUDY", "mywork") in {*plan("small").studies, *EXAMPLES}


@pytest.mark.parametrize("words", commands("snakemake"), ids=" ".join)
def test_a_snakemake_command_parses_and_names_rules_and_keys(words: list[str]) -> None:
    from snakemake.cli import get_argument_parser

    options = get_argument_parser(profiles=[]).parse_args(words)
    assert {entry.partition("=")[0] for entry in options.config or []} <= set(Main.model_fields)
    rules = {"all", "report", *plan("paper").studies, *EXAMPLES}
    rules |= {f"{work}_{item}" for work, study in plan("paper").studies.items() for item in study.items}
    rules |= {part for work in plan("paper").studies for part in plan("paper").some_items(work)}
    assert set(options.targets) <= rules
    assert all((ROOT / profile / "config.yaml").exists() for profile in options.profile or [])


@pytest.mark.parametrize("words", commands("dvc"), ids=" ".join)
def test_a_dvc_command_exists_and_names_a_stage(words: list[str]) -> None:
    assert words[0] in {"commit", "push", "pull", "repro", "remote", "status"}
    if words[0] == "repro":
        assert set(words[1:]) <= set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])


@pytest.mark.parametrize("words", commands("pytest"), ids=" ".join)
def test_a_pytest_command_names_tests_that_exist(words: list[str]) -> None:
    assert all((ROOT / word).exists() for word in words if word.startswith("tests"))


# -- names and numbers -------------------------------------------------------------------------------------------------


def test_contracts_are_numbered_as_the_code_cites_them() -> None:
    headings = re.findall(r"^## (\d+)\. ", (ROOT / "docs/contracts.md").read_text(), flags=re.MULTILINE)
    assert headings == [str(number) for number in range(1, 12)]
    texts = [*TEXTS, *(ROOT / "tests").rglob("*.py"), *PAGES]
    cited = {number for path in texts for number in re.findall(r"contract (\d+)", path.read_text())}
    assert cited <= set(headings)


def test_the_glossary_is_in_order_and_its_columns_and_keys_are_in_the_code() -> None:
    text = (ROOT / "docs/glossary.md").read_text()
    terms = re.findall(r"^\*\*(.+)\*\*$", text, flags=re.MULTILINE)
    assert terms == sorted(terms, key=str.lower)
    assert len(terms) >= 25
    code = "".join(path.read_text() for path in [*SOURCE.rglob("*.py"), *(ROOT / "config").rglob("*.yaml")])
    named = [
        word
        for sentence in re.findall(r"(?:Columns?|Keys?|Parameter|Class) ((?:`[\w*]+`(?:, | and )?)+)", text)
        for word in re.findall(r"`([\w*]+)`", sentence)
    ]
    assert len(named) >= 20
    assert {word for word in named if not re.search(rf"\b{word.rstrip('*')}", code)} == set()


def test_the_page_on_architecture_lists_packages_in_the_order_of_imports() -> None:
    text = (ROOT / "docs/explanation/architecture.md").read_text()
    table = text.split("| package | content |")[1].split("\n\n")[0]
    listed = [set(re.findall(r"`(\w+)`", row.split(" | ")[0])) for row in table.splitlines()[2:]]
    assert listed == [set(names) for names in reversed(ORDER)]


def test_the_readme_says_which_works_are_in() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    assert {work for work, status in rows if status != "to come"} == set(plan("small").studies)


def test_the_page_on_ones_own_model_shows_signatures_and_every_name_of_a_column_of_labels() -> None:
    text = (ROOT / "docs/how-to/evaluate-a-model.md").read_text()
    for function in (robustscape.read_samples, robustscape.load_weights, robustscape.Normalize):
        parameters = inspect.signature(function).parameters.values()
        written = [name if p.default is p.empty else f"{name}={p.default}" for p in parameters for name in [p.name]]
        assert f"`{function.__name__}({', '.join(written)})`" in text
    assert {f"`{field.name}`" for field in dataclasses.fields(Samples)} <= set(re.findall(r"`\w+`", text))
    docstring = robustscape.read_samples.__doc__ or ""
    for name in LABELS:
        assert f"``{name}``" in docstring and f"`{name}`" in text


def test_the_page_on_data_lists_every_data_set() -> None:
    text = (ROOT / "docs/how-to/data.md").read_text()
    told = text.split("\nThe first five")[1].split("\n`robustscape")[0]
    first = re.findall(r"^\| `(\w+)` \|.*?\| ([^|]*) \|$", text, flags=re.MULTILINE)[:5]
    assert all("inside" in files or "resources/" in files for _, files in first), "these come with a package"
    assert set(re.findall(r"`(\w+)` \| .*synthetic speech", text)) == set(re.findall(r"`(spoken_\w+)`", told))
    table = text.split("## Available data sets")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == set(catalog.catalog_entries("dataset"))
    for name, size in re.findall(r"^\| `(\w+)` \| ([\d,]+ \+ [\d,]+)", table, flags=re.MULTILINE):
        train, test = size.split(" + ")
        described = catalog.catalog_entries("dataset")[name].summary
        total = f"{int(train.replace(',', '')) + int(test.replace(',', '')):,}"
        assert size in described or total in described, name
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    for entry in yaml.safe_load(example).values():
        validate_model(DatasetEntry, entry, "docs/how-to/data.md")


def test_flags_of_a_suite_are_those_the_page_explains() -> None:
    files = ("evaluation/harness/flags.py", "evaluation/own_model/result.py")
    flags = "".join((SOURCE / file).read_text() for file in files)
    explained = re.findall(r"^\| `(flag_\w+)` \|", (ROOT / "docs/how-to/evaluate-a-model.md").read_text(), re.MULTILINE)
    assert set(explained) == set(re.findall(r"flag_[a-z_]+[a-z]", flags))


def runs_behind(items: list[str]) -> set[str]:
    """The runs that items of the scale ``paper`` need, directly or not."""
    jobs = list_jobs(plan("paper"))
    maker: dict[str, Job] = {output: job for job in jobs for output in job.outputs}
    to_do = [job for job in jobs if job.stage == "item" and set(items) & set(job.targets)]
    assert len(to_do) == len(items)
    done: dict[str, Job] = {}
    while to_do:
        job = to_do.pop()
        if job.outputs[0] not in done:
            done[job.outputs[0]] = job
            to_do += [maker[path] for path in job.inputs if path in maker]
    return {run for job in done.values() if job.stage == "train" for run in job.targets if run.count("/") == 4}


def test_the_page_on_cost_counts_the_runs_of_the_configuration() -> None:
    text = (ROOT / "docs/explanation/cost.md").read_text()
    (command,) = [words for words in commands("snakemake") if "liu2020_table_2" in words]
    lenet = [word.replace("_", "/", 1) for word in command if word.startswith("liu2020_")]
    runs = runs_behind(lenet)
    assert f"They share {len(runs)} runs" in text
    assert {run.split("/")[0] for run in runs} == {"mnist"}


@pytest.mark.slow
def test_the_tables_of_the_page_on_cost_are_made_from_the_plan() -> None:
    """`robustscape --scale paper cost --page docs/explanation/cost.md` brings them up to date."""
    a_plan = plan("paper")
    tflops = a_plan.experiment.scale.resources.tflops
    assert tflops is not None
    tables = (ROOT / "docs/explanation/cost.md").read_text().split(page.BEGIN)[1].split(page.END)[0]
    assert tables.strip() == page.page_tables(a_plan, Rate(tflops)).strip()


# -- examples ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_examples_are_studies_that_run(tmp_path: Path) -> None:
    """The blocks that name a file, written to a copy of the project: valid, in style, and they run."""
    for name in ("src", "config"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    examples = example_files()
    assert len(examples) == 12
    for name, add, text in examples:
        path = tmp_path / name
        assert path.exists() == add, name
        path.write_text((path.read_text() + "\n" if add else "") + text)
    added = [str(tmp_path / name) for name, _, _ in examples if name.endswith(".py")]
    for verb in (["check"], ["format", "--check"]):
        assert subprocess.run([sys.executable, "-m", "ruff", *verb, *added], cwd=tmp_path, check=False).returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "robustscape", "--scale", "smoke", "--threads", "1", "run", *sorted(EXAMPLES)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made = tmp_path / "results/smoke"
    drawn = {path.name for work in EXAMPLES for path in (made / work).iterdir()}
    assert drawn >= {"table_1.md", "table_1.tex", "figure_1.png", "figure_1.svg"}
    assert len(list(made.rglob("model.safetensors"))) == 6 + 3, "one seed at the scale smoke"
    verdicts = (made / "claims.csv").read_text()
    assert "M-1" in verdicts and "A-1" in verdicts
    assert "halving_pgd" in next((made / "myattack/measurements").rglob("*.csv")).read_text()


@pytest.mark.slow
def test_the_example_of_plug_ins_runs_and_follows_its_files(tmp_path: Path) -> None:
    """A folder outside the project: a data set of PNGs, an attack, a study with weights from outside."""
    examples = example_files(outside=True)
    assert len(examples) == 7
    for name, add, text in examples:
        assert not add
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for verb in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *verb, "mine"]
        assert subprocess.run(ruff, cwd=tmp_path, check=False).returncode == 0
    generator = torch.Generator().manual_seed(0)
    for place, number in itertools.product(range(2), range(30)):
        folder = tmp_path / "downloads" / "my_images" / f"class{place}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.rand(6, 6, generator=generator) * 150 + 100 * place
        Image.fromarray(pixels.numpy().astype("uint8")).save(folder / f"{number:02}.png")
    torch.save(build_classifier("mlp", {"hidden": [16]}, (1, 6, 6), 2).net.state_dict(), tmp_path / "theirs.pt")
    options = ["--config", str(ROOT / "config"), "--plugins", "mine", "--scale", "smoke", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "robustscape", *options, "run", "mywork_outside"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE.parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    table = (tmp_path / "results/smoke/mywork_outside/table_1.csv").read_text()
    assert "my_recipe" in table and "theirs" in table and "weights from outside (theirs.pt)" in table
    try:
        catalog.use_plugins(tmp_path / "mine")
        entry = DatasetEntry(dataset="png_folder", parameters={"folder": "my_images"})
        before = dataset_fingerprint(entry, tmp_path / "downloads")
        changed = tmp_path / "downloads/my_images/class0/00.png"
        Image.new("L", (6, 6)).save(changed)
        assert dataset_fingerprint(entry, tmp_path / "downloads") != before
    finally:
        catalog.use_plugins(None)


def test_the_python_example_evaluates_a_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs/how-to/evaluate-a-model.md").read_text()
    programs = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(programs) == 4
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 10))
    names: dict[str, Any] = {"model": model, "x": torch.rand(3, 1, 4, 4), "y": torch.tensor([0, 1, 2])}
    for program in programs:
        exec(compile(program, "docs/how-to/evaluate-a-model.md", "exec"), names)
    assert "clean accuracy" in capsys.readouterr().out
    assert 0 <= names["robust_superclass_accuracy"] <= 1


@pytest.mark.slow
def test_the_script_on_ones_own_model_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs/evaluate_own_model.py", tmp_path],
        env={**os.environ, "PYTHONPATH": str(SOURCE.parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    content = json.loads((tmp_path / "result.json").read_text())
    first, second = content["robust_accuracy"]
    assert 100 > content["clean_accuracy"] > first > second > 5, "a net that is neither perfect nor broken"
    assert [row["attack"] for row in content["evaluations"][0]["attacks"]][1:] == [
        "apgd_ce",
        "apgd_t",
        "square5000",
        "fab_t",
    ]
    assert "robust accuracy" in done.stdout and "backward_passes" in done.stdout
    assert (tmp_path / "adversarial.safetensors").exists() and list(tmp_path.glob("adversarial_*.png"))
