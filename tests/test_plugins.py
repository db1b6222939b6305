"""Functions and configuration outside the package: found by the same rule, named in errors, and their code counts."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import torch

import robustscape
from robustscape import catalog
from robustscape.cli.main import main
from robustscape.config.loading import load_experiment
from robustscape.config.shipped import find_suite
from robustscape.errors import ConfigError, UserError
from robustscape.pipeline.jobs import list_jobs
from robustscape.pipeline.plan import Plan
from robustscape.storage import provenance

ROOT = Path(__file__).parents[1]

ATTACK = '''\
"""One step to the corner of the ball, the same for every input."""

from typing import Annotated

from pydantic import Field

from ._sign import SIGN


def corner(model, x, y, threat, generator, *, share: Annotated[float, Field(gt=0, le=1)] = 1.0):
    return threat.project(x + SIGN * share * threat.eps_like(x), x)
'''


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dedent(text))
    return folder


@pytest.fixture(autouse=True)
def no_plugins() -> Iterator[None]:
    """Each test names its own; nothing stays."""
    yield
    catalog.use_plugins(None)
    catalog._installed.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "own_package"]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = "corner_half:\n  attack: corner\n  parameters: {share: 1/2}\n"
    files = {"attacks/corner.py": ATTACK, "attacks/_sign.py": "SIGN = 1.0\n", "config/attacks/own.yaml": config}
    return write(tmp_path / "mine", files)


def small_model() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return (
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)),
        torch.rand(8, 1, 2, 2) / 2,
        torch.arange(8) % 3,
    )


# -- finding -----------------------------------------------------------------------------------------------------------


def test_a_plugins_attack_is_one_of_the_catalogue(folder: Path) -> None:
    robustscape.use_plugins(folder)
    entry = catalog.find_entry("attack", "corner")
    assert entry.folder == "attacks" and entry.path == folder / "attacks/corner.py"
    assert entry.summary == "One step to the corner of the ball, the same for every input."
    assert entry.parameters.model_validate({"share": "1/4"}).model_dump() == {"share": 0.25}
    model, x, y = small_model()
    for name, share in (("corner", 1.0), ("corner_half", 0.5)):
        torch.testing.assert_close(robustscape.attack(model, x, y, name, eps=0.1), x + 0.1 * share)
        assert robustscape.evaluate(model, x, y, suite=name, eps=0.1).attacks
    assert [name for name, _ in find_suite(["corner", "pgd"]).attacks] == ["corner", "pgd"]
    robustscape.use_plugins(None)
    with pytest.raises(ConfigError, match="unknown attack 'corner'"):
        catalog.find_entry("attack", "corner")


def test_an_installed_package_is_found_by_its_entry_point(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(folder, tmp_path / "own_package" / "robust")
    write(tmp_path / "own_package", {"__init__.py": "raise ImportError('planning imports no plug-in')\n"})
    point = importlib.metadata.EntryPoint("own", "own_package.robust", catalog.ENTRY_POINTS)
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: [point] if group == catalog.ENTRY_POINTS else []
    )
    monkeypatch.syspath_prepend(tmp_path)
    catalog._installed.cache_clear()
    catalog.catalog_entries.cache_clear()
    entry = catalog.find_entry("attack", "corner")
    assert entry.module == "own_package.robust.attacks.corner"
    assert catalog.plugin_packages() == {"own_package": tmp_path / "own_package"}
    with pytest.raises(UserError, match=r"corner\.py: importing it fails: ImportError: planning imports no plug-in"):
        entry.load()
    write(tmp_path / "own_package", {"__init__.py": ""})
    model, x, y = small_model()
    torch.testing.assert_close(robustscape.attack(model, x, y, "corner", eps=0.1), x + 0.1)


def test_an_entry_point_without_a_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("own", "no_such_package", catalog.ENTRY_POINTS)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point])
    catalog._installed.cache_clear()
    catalog.catalog_entries.cache_clear()
    with pytest.raises(
        ConfigError, match=r"entry point 'own' of robustscape\.plugins names no package: 'no_such_package'"
    ):
        catalog.catalog_entries("attack")
    catalog.catalog_entries.cache_clear()


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "another name": (
        {"attacks/corner.py": ATTACK.replace("def corner", "def edge")},
        r"attack 'corner': .*mine/attacks/corner\.py exists, but defines no function of that name with arguments "
        r"\(model, x, y, threat, generator\)\.",
    ),
    "other arguments": (
        {"attacks/corner.py": ATTACK.replace("x, y, threat", "x, labels, threat")},
        r"exists, but defines no function of that name with arguments",
    ),
    "a name that is taken": (
        {"attacks/pgd.py": ATTACK.replace("def corner", "def pgd")},
        r"mine/attacks/pgd\.py: the attack 'pgd' exists already, one of the package's own; give yours another name\.",
    ),
    "no Python": ({"attacks/corner.py": "def corner(:\n"}, r"mine/attacks/corner\.py: line 1: this is not Python"),
    "an annotation of its own": (
        {"attacks/corner.py": ATTACK.replace("share: Annotated[float, Field(gt=0, le=1)]", "share: Share")},
        r"corner\.py: line 10: parameter 'share' of 'corner' cannot be read .*annotation may consist of float, int",
    ),
    "a default of its own": (
        {"attacks/corner.py": ATTACK.replace("= 1.0):", "= ONE):")},
        r"parameter 'share' of 'corner' cannot be read .*default of literals",
    ),
    "a wrong folder": (
        {"attack/corner.py": ATTACK},
        r"mine/attack/corner\.py is where the catalogue does not look; allowed folders are attacks, .*training/methods",
    ),
    "a file beside the folders": ({"corner.py": ATTACK}, "where the catalogue does not look"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_plugin_is_a_sentence(folder: Path, case: str) -> None:
    files, message = WRONG[case]
    shutil.rmtree(folder / "attacks")
    write(folder, files)

    def named() -> None:
        catalog.use_plugins(folder)
        catalog.find_entry("attack", "corner")

    with pytest.raises(ConfigError, match=message):
        named()


#: Body of a plug-in's attack -> what is said.
BAD_ATTACKS = {
    "return None": "attack 'bad' returned None, not adversarial inputs",
    "return x.numpy()": "attack 'bad' returned a ndarray, not adversarial inputs",
    "return x, y": "attack 'bad' returned a tuple, not adversarial inputs",
    "return (x * 255).byte()": "attack 'bad' returned uint8, not floating numbers",
    "return x[0] / [1]": "attack 'bad' fails: TypeError: ",
    "raise SystemExit": "attack 'bad' fails: SystemExit: no reason given",
    "return x.mul_(0.5)": "the model or attack 'bad' changes its input in place",
}


@pytest.mark.parametrize("body", BAD_ATTACKS)
def test_what_a_plugins_attack_does_wrong_is_said_with_its_name(tmp_path: Path, body: str) -> None:
    write(tmp_path, {"attacks/bad.py": f'"""Bad."""\n\n\ndef bad(model, x, y, threat, generator):\n    {body}\n'})
    catalog.use_plugins(tmp_path)
    model, x, y = small_model()
    before = x.clone()
    for call in (
        lambda: robustscape.attack(model, x, y, "bad"),
        lambda: robustscape.evaluate(model, x, y, suite="bad"),
    ):
        with pytest.raises(UserError, match=BAD_ATTACKS[body]):
            call()
    assert torch.equal(x, before)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plugins", str(tmp_path / "nowhere"), "--config", str(ROOT / "config"), "list", "attacks"]) == 2
    assert f"plugins: there is no folder '{tmp_path / 'nowhere'}'" in capsys.readouterr().err


def test_a_plugin_that_cannot_be_imported_is_blamed(folder: Path) -> None:
    write(folder, {"attacks/_sign.py": "import no_such_module\n"})
    catalog.use_plugins(folder)
    with pytest.raises(
        UserError, match=r"corner\.py: importing it fails: ModuleNotFoundError: No module named 'no_such"
    ):
        catalog.load_function("attack", "corner")


def test_a_plugin_that_ends_the_program_is_blamed(folder: Path) -> None:
    write(folder, {"attacks/_sign.py": "raise SystemExit(0)\n"})
    catalog.use_plugins(folder)
    with pytest.raises(UserError, match=r"corner\.py: importing it fails: SystemExit: 0"):
        catalog.load_function("attack", "corner")


@pytest.mark.parametrize("named", ["edge", ["edge"]])
def test_a_file_with_a_function_of_another_name_is_explained_wherever_it_is_named(folder: Path, named: object) -> None:
    write(folder, {"attacks/edge.py": ATTACK})
    catalog.use_plugins(folder)
    model, x, y = small_model()
    sentence = r"attack 'edge': .*edge\.py exists, but defines no function of that name"
    with pytest.raises(ConfigError, match=sentence):
        robustscape.evaluate(model, x, y, suite=named, eps=0.1)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match=sentence):
        robustscape.attack(model, x, y, "edge", eps=0.1)


def test_names_of_the_packages_files_that_define_nothing_are_explained_too() -> None:
    with pytest.raises(ConfigError, match=r"evaluation/collapse_rule\.py exists, but defines no function .*\(run\)"):
        catalog.find_entry("measurement", "collapse_rule")


# -- configuration -----------------------------------------------------------------------------------------------------

STUDY = """\
work: mine
title: My study
reference: me, unpublished
runs:
  digits: [{dataset: digits_tiny, architecture: small_cnn_bn_w4, recipe: mine_recipe, eps: [0.1]}]
measurements:
  accuracy: {measure: accuracy, runs: [digits], parameters: {attack: corner_half, samples: 50}}
items:
  table_1:
    title: Accuracy
    kind: table
    draw: grid
    options: {index: [eps]}
    rows: [{of: accuracy}]
    factors: [eps]
    metrics: [robust_train_accuracy, robust_test_accuracy]
"""

RECIPE = """\
method: adversarial
attack: corner_half
optimizer: {name: sgd, parameters: {lr: 0.1}}
epochs: 1
batch_size: 50
"""


@pytest.fixture
def project(folder: Path) -> Path:
    """The folder with a recipe and a study of its own."""
    name = next(name for name in load_experiment(ROOT / "config", "smoke").architectures if "cnn" in name)
    study = STUDY.replace("small_cnn_bn_w4", name)
    return write(folder, {"config/studies/mine.yaml": study, "config/recipes/mine_recipe.yaml": RECIPE})


def jobs_of(project: Path) -> dict[str, str]:
    """The fingerprints of the jobs of the study, read anew."""
    for cached in (provenance._code_version, provenance._reached, provenance._read_module, provenance._kinds_in):
        cached.cache_clear()
    catalog.use_plugins(project)
    plan = Plan(load_experiment(ROOT / "config", "smoke"), Path("results"), ["mine"])
    return {job.stage: job.fingerprint for job in list_jobs(plan)}


@pytest.mark.parametrize("file", ["corner", "_sign"])
def test_an_edit_of_a_plugin_plans_what_uses_it_and_a_comment_nothing(project: Path, file: str) -> None:
    before = jobs_of(project)
    assert {"prepare", "train", "evaluate", "item", "claims", "report"} <= set(before)
    path = project / f"attacks/{file}.py"
    path.write_text(path.read_text() + "# a remark\n")
    assert jobs_of(project) == before
    path.write_text(path.read_text().replace("1.0", "0.5"))
    after = jobs_of(project)
    assert {stage for stage in after if after[stage] != before[stage]} == {"train", "evaluate"}


def test_the_shipped_works_do_not_depend_on_plugins(project: Path) -> None:
    def fingerprints() -> list[str]:
        plan = Plan(load_experiment(ROOT / "config", "smoke"), Path("results"), ["yamada2021"])
        return [job.fingerprint for job in list_jobs(plan)]

    before = fingerprints()
    catalog.use_plugins(project)
    assert fingerprints() == before


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "config/studies/yamada2021.yaml",
            STUDY.replace("work: mine", "work: yamada2021"),
            "there is another study of that",
        ),
        ("config/recipes/yamada2021_svhn.yaml", RECIPE, "there is another recipe of that name"),
        (
            "config/attacks/more.yaml",
            "corner_half: {attack: pgd}\n",
            r"'corner_half' is also in .*; give it another name",
        ),
        ("config/suites.yaml", "autoattack: {attacks: [corner_half]}\n", r"'autoattack' is also in .*suites\.yaml"),
        ("config/datasets.yaml", "digits: {dataset: digits}\n", r"'digits' is also in .*datasets\.yaml"),
    ],
)
def test_names_of_the_projects_configuration_are_taken(project: Path, file: str, text: str, message: str) -> None:
    write(project, {file: text})
    catalog.use_plugins(project)
    with pytest.raises(ConfigError, match=message):
        load_experiment(ROOT / "config", "smoke")


#: What is wrong in which file of the plug-in: its name, the text that is replaced and by what, and what is said of it.
MISPLACED = {
    "eps": ("studies/mine.yaml", "eps: [0.1]", "eps: [8]", "runs 'digits': eps got 8"),
    "architecture": (
        "studies/mine.yaml",
        "architecture: ",
        "architecture: x",
        "runs 'digits': unknown architecture 'x",
    ),
    "architecture in a part": (
        "studies/mine/more.yaml",
        "architecture: ",
        "architecture: x",
        "runs 'others': unknown architecture 'x",
    ),
    "data set": ("studies/mine.yaml", "digits_tiny", "digist_tiny", "runs 'digits': unknown data set 'digist_tiny'"),
    "grid": (
        "studies/mine.yaml",
        "recipe: mine_recipe",
        "recipe: mine_recipe, grid: {nothing: [1]}",
        "runs 'digits': grid: the recipe 'mine_recipe' has no key 'nothing'",
    ),
    "attack of a measurement": (
        "studies/mine.yaml",
        "attack: corner_half",
        "attack: corner_hal",
        "measurement 'accuracy': unknown attack",
    ),
    "printed": (
        "studies/mine.yaml",
        "    kind: table",
        "    printed: mine_table_1\n    kind: table",
        "item 'table_1': unknown file of resources/paper",
    ),
    "claim": (
        "studies/mine.yaml",
        "    factors: [eps]",
        "    claims: [{id: A, says: s, holds: valu() > 1}]\n    factors: [eps]",
        "item 'table_1': claim 'A': holds: unknown function 'valu'",
    ),
    "metric of a claim": (
        "studies/mine.yaml",
        "    metrics: [robust_train_accuracy, robust_test_accuracy]",
        "    claims: [{id: A, says: s, given: {metric: robust_test_accuracy}, holds: value(eps=0.1) > 1}]\n"
        "    metrics: [robust_test_acuracy]",
        "item 'table_1': claim 'A': given: the metric 'robust_test_accuracy' of the claim is not among the item's `metrics`: "
        "robust_test_acuracy. One of them may be misspelt",
    ),
    "claim in a part": (
        "studies/mine/more.yaml",
        "    factors: [eps]",
        "    claims: [{id: A, says: s, holds: valu() > 1}]\n    factors: [eps]",
        "item 'table_2': claim 'A': holds: unknown function 'valu'",
    ),
    "attack of a recipe": ("recipes/mine_recipe.yaml", "corner_half", "corner_hal", "'mine_recipe': unknown attack"),
    "attack of a suite": ("suites.yaml", "corner_half", "corner_hal", "'mine_suite': unknown attack"),
    "size": (
        "scales/smoke/mine.yaml",
        "samples: 9",
        "samples: 1, points: 3",
        "measurements: 'mine/accuracy': 'points'",
    ),
    "pattern": ("scales/smoke/mine.yaml", "accuracy", "acuracy", "measurements: unknown measurement pattern"),
}


@pytest.mark.parametrize("case", MISPLACED)
def test_a_message_names_the_plugins_file_in_which_the_fault_is(project: Path, case: str) -> None:
    """And not a file of that name in the project's configuration, where there is none."""
    file, old, new, said = MISPLACED[case]
    more = STUDY.split("runs:\n")[1].replace("  digits:", "  others:").replace("[digits]", "[others]")
    more = (
        more.replace("table_1", "table_2")
        .replace("accuracy: {", "accuracy_2: {")
        .replace("of: accuracy", "of: accuracy_2")
    )
    text = (project / "config/studies/mine.yaml").read_text()
    name = text.split("architecture: ")[1].split(",")[0]
    write(
        project,
        {
            "config/studies/mine/more.yaml": "runs:\n" + more.replace("small_cnn_bn_w4", name),
            "config/suites.yaml": "mine_suite: {attacks: [corner_half]}\n",
            "config/scales/smoke/mine.yaml": "measurements:\n  accuracy: {samples: 9}\n",
        },
    )
    path = project / "config" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    catalog.use_plugins(project)
    with pytest.raises(ConfigError) as error:
        Plan(load_experiment(ROOT / "config", "smoke"), Path("results"))
    assert str(error.value).startswith(f"{path}: {said}")


@pytest.mark.slow
def test_a_study_outside_runs_and_leaves_the_project_as_it_was(project: Path, tmp_path: Path) -> None:
    """`robustscape run` with a plug-in named in config.yaml, in a copy of the configuration."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    main_file = tmp_path / "config/config.yaml"
    main_file.write_text(main_file.read_text().replace("plugins: null", "plugins: mine"))
    tracked = {path: path.read_bytes() for path in (tmp_path / "config").rglob("*") if path.is_file()}

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "robustscape", "--scale", "smoke", "--threads", "1", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=False,
        )

    done = command("run", "mine")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "results/smoke/mine/table_1.md").exists()
    assert "corner" in next((tmp_path / "results/smoke/mine/measurements").rglob("*.csv")).read_text()
    run = next((tmp_path / "results/smoke/models").rglob("model.safetensors"))
    attacked = command("attack", "--checkpoint", str(run), "--suite", "corner_half", "--samples", "20")
    assert attacked.returncode == 0 and "corner_half" in attacked.stdout, attacked.stderr
    assert {path: path.read_bytes() for path in tracked} == tracked
