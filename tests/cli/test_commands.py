"""The command line: one command per stage, help that a newcomer can read, errors that are sentences."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from robustscape.cli.main import build_parser, main
from robustscape.cli.options import make_plan, works_to_do
from robustscape.cli.run import STEPS
from robustscape.config.reading import scale_names

ROOT = Path(__file__).parents[2]


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command and its parser."""
    (action,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def test_every_stage_is_a_command_with_a_file_or_shares_one() -> None:
    assert set(STEPS) <= set(commands())
    files = {path.stem for path in (ROOT / "src/robustscape/cli").glob("*.py")}
    assert set(commands()) - files == {"landscape"}, "evaluate.py holds both"


@pytest.mark.parametrize("name", ["", *commands()])
def test_help_is_complete(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*([name] if name else []), "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0 and "None" not in text and "==" not in text
    parser = commands()[name] if name else build_parser()
    assert parser.description and parser.description[0].isupper() and parser.description.rstrip().endswith(".")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        assert action.help, action.dest
        optional = action.option_strings and action.nargs != 0 and action.dest != "version"
        about_model = name == "attack" and action.dest in ("checkpoint", "model", "architecture")
        assert "(default: " in action.help or not optional or about_model, f"{name} {action.option_strings}"


def test_the_help_names_every_command_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^ {4}(\w+)  ", capsys.readouterr().out, re.MULTILINE)
    assert listed == list(commands())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--threads", "0", "check"], "--threads: got '0', allowed is an integer of at least 1"),
        (["attack", "--samples", "many"], "--samples: got 'many', allowed is an integer of at least 1"),
        (["measure", "x"], "invalid choice: 'measure'"),
        (["attack", "--modle", "x"], "--modle x. Did you mean --model? See `robustscape attack --help`."),
        (["attack", "--modle=x"], "--modle=x. Did you mean --model? See `robustscape attack --help`."),
        (["--scael=small", "check"], "Did you mean --scale? See `robustscape --help`."),
        (["list", "atacks"], "Did you mean attacks? See `robustscape list --help`."),
        (["atack", "--data", "x"], "Did you mean attack? See `robustscape --help`."),
        (["check", "more"], "robustscape check: unrecognized arguments: more. See `robustscape check --help`."),
    ],
)
def test_bad_options_are_named(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["item", "yamada2021/tabel_1"], "unknown item of yamada2021 'tabel_1'. Did you mean 'table_1'?"),
        (["item", "yamada2021/table_1"], "which is not there; `robustscape run yamada2021` makes it."),
        (["train", "no/such/run"], "unknown run 'no/such/run'"),
        (["prepare", "mnits"], "unknown data set 'mnits'."),
        (["theory", "yamada2021/theorem"], "unknown theory check of yamada2021 'theorem'."),
        (["attack", "--eps", "0.1"], "say which data set or files to attack with --data"),
        (["explain", "yamada2021/table_1"], "make the item first (robustscape item yamada2021/table_1)"),
    ],
)
def test_errors_are_sentences(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--config", str(ROOT / "config"), "--scale", "smoke", "--results", str(tmp_path), "--threads", "1"]
    assert main([*options, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("robustscape: ") and expected in error


def test_a_damaged_record_beside_a_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"config": {}})[:5])
    (tmp_path / "model.safetensors").touch()
    options = ["--config", str(ROOT / "config"), "--scale", "smoke", "attack"]
    assert main([*options, "--checkpoint", str(tmp_path / "model.safetensors"), "--dataset", "digits_tiny"]) == 2
    assert "run.json' is not the record of a run" in capsys.readouterr().err


def test_check_says_how_large_the_experiment_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(ROOT / "config"), "--scale", "smoke", "check"]) == 0
    assert re.search(r"\d+ studies, \d+ runs, \d+ jobs at the scale smoke\.", capsys.readouterr().out)


@pytest.mark.parametrize(("what", "name"), [("attacks", "pgd"), ("suites", "autoattack"), ("datasets", "digits")])
def test_what_the_package_has_is_listed_outside_of_a_project(
    what: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `robustscape attack` says where to look for names, and needs no project."""
    monkeypatch.chdir(tmp_path)
    assert main(["list", what]) == 0
    assert re.search(rf"^{name} +\S", capsys.readouterr().out, re.MULTILINE)
    assert main(["list", "works"]) == 2 and "config.yaml" in capsys.readouterr().err


def test_outside_of_a_project_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--scale", "smal", "list", "items"]) == 2
    said = (
        "config/config.yaml: there is no such configuration file. Run the command in the folder of a project, or name"
    )
    assert said in capsys.readouterr().err
    assert main(["--config", str(ROOT), "list", "items"]) == 2
    assert f"Did you mean --config {ROOT / 'config'}?" in capsys.readouterr().err


def test_the_help_and_the_makefile_name_every_scale(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    help_text = " ".join(capsys.readouterr().out.split())
    scales = set(scale_names(ROOT / "config" / "scales"))
    (named,) = re.findall(r"size of the experiment: ([\w, ]+?) \(", help_text)
    assert set(re.split(", | or ", named)) == scales
    (named,) = re.findall(r"^#.* SCALE=([\w|]+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(named.split("|")) == scales


def test_a_list_has_a_line_per_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(ROOT / "config"), "list", "attacks"]) == 0
    assert re.search(r"^pgd +\S", capsys.readouterr().out, re.MULTILINE)


def test_what_config_yaml_leaves_out_can_be_asked_for_by_name(tmp_path: Path) -> None:
    """`studies` of config.yaml says what is done without a word; the jobs of another study know its runs all the same."""
    config = tmp_path / "config"
    config.mkdir()
    (config / "config.yaml").write_text(
        "scale: smoke\nstudies: [yamada2021]\nresults: results\ndownloads: downloads\nplugins: null\n"
    )
    for name in ("studies", "recipes", "attacks", "scales", "datasets.yaml", "architectures.yaml", "suites.yaml"):
        (config / name).symlink_to(ROOT / "config" / name)
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    options = argparse.Namespace(
        command="run", config=str(config), scale=None, seeds=None, downloads=None, results=None, targets=[]
    )
    assert {"yamada2021", "kim2023"} <= set(make_plan(options).studies)
    assert list(make_plan(options, works_to_do(options)).studies) == ["yamada2021"]
    options.targets = ["kim2023"]
    assert list(make_plan(options, works_to_do(options)).studies) == ["kim2023"]


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], ("pandas", "numpy", "torch", "yaml", "robustscape.pipeline.plan")),
        (["attack", "--help"], ("pandas", "numpy", "torch", "yaml", "robustscape.pipeline.plan")),
        (["list", "attacks"], ("pandas", "numpy", "torch", "robustscape.pipeline.plan")),
        (["list", "suites"], ("pandas", "numpy", "torch", "robustscape.pipeline.plan")),
    ],
    ids=["help", "help of a command", "attacks", "suites"],
)
def test_help_and_lists_start_at_once(arguments: list[str], heavy: tuple[str, ...]) -> None:
    """What takes seconds is imported, and the whole configuration checked, where a command needs it."""
    code = (
        "import sys\nfrom robustscape.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stderr.strip() == "[]" and done.stdout
