"""The whole DAG at the scale smoke: it runs, it runs once, and it reruns what a change touches and no more (contract 4)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from .conftest import Project

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(1800), pytest.mark.xdist_group("workflow")]


@contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    """The file with a change, put back afterwards."""
    text = path.read_text()
    assert old in text, f"the test no longer fits {path.name}"
    path.write_text(text.replace(old, new, 1))
    try:
        yield
    finally:
        path.write_text(text)


def test_every_item_is_made_with_paper_values_beside_it(finished: Project) -> None:
    work = finished.results / "yamada2021"
    for number in range(1, 7):
        table = pd.read_csv(work / f"table_{number}.csv")
        assert {"metric", "value", "std", "n", "unit", "paper_value", "difference"} <= set(table.columns)
        assert table["value"].notna().all() and table["paper_value"].notna().all()
        assert table["difference"].isna().all(), "a stand-in is context, not a reproduction (contract 3)"
        assert (work / f"table_{number}.md").stat().st_size and (work / f"table_{number}.tex").stat().st_size
    for number in range(1, 6):
        assert (work / f"figure_{number}.png").read_bytes()[:4] == b"\x89PNG"
        assert "<svg" in (work / f"figure_{number}.svg").read_text()[:2000]
    claims = pd.read_csv(finished.results / "claims.csv")
    assert set(claims["verdict"]) <= {"holds", "fails", "not testable at this scale"}
    assert claims["evidence"].notna().all() and set(claims["kind"]) == {"empirical", "theory"}
    assert "<html" in (finished.results / "report" / "index.html").read_text()[:500]


def test_a_number_can_be_traced_to_its_data(finished: Project) -> None:
    """Item -> measurement -> weights -> data, by hashes that agree."""
    item = json.loads((finished.results / "yamada2021" / "table_1.json").read_text())
    csv = next(entry["path"] for entry in item["inputs"] if entry["path"].endswith("seed0.csv"))
    measurement = json.loads((finished.root / csv).with_suffix(".json").read_text())
    weights = next(entry for entry in measurement["inputs"] if entry["path"].endswith("model.safetensors"))
    run = json.loads((finished.root / weights["path"]).with_name("run.json").read_text())
    assert run["files"]["model.safetensors"] == weights["sha256"]
    card = json.loads((finished.root / run["data_card"]).read_text())
    assert run["data"] == card["sha256"] and run["config"]["seed"] == 0 and run["environment"]["torch"]
    explained = finished.command("explain", "yamada2021/table_1")
    assert explained.returncode == 0 and card["sha256"][:8] in explained.stdout


def test_a_second_run_plans_nothing_and_says_so_quickly(finished: Project) -> None:
    began = time.perf_counter()
    done = finished.snakemake()
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
    assert time.perf_counter() - began < 30  # under 10 s on a quiet machine; the figure is in benchmarks/


def test_a_comment_or_docstring_reruns_nothing(finished: Project) -> None:
    with edited(
        finished.root / "src/robustscape/training/methods/adversarial.py", "    return", "    # why\n    return"
    ):
        assert finished.planned() == []
    with edited(finished.root / "src/robustscape/training/loop.py", '"""The training loop', '"""A training loop'):
        assert finished.planned() == []


def test_a_methods_code_reruns_its_runs_and_no_others(finished: Project) -> None:
    path = finished.root / "src/robustscape/training/methods/adversarial.py"
    with edited(path, "else CrossEntropy(model, x_adv, y)", "else CrossEntropy(model, x_adv, 1 * y)"):
        planned = finished.planned()
    trained = {name for name in planned if name.startswith("train_")}
    assert trained and all("pgd" in name or "random" in name for name in trained)
    assert not any(name.startswith(("prepare_", "theory_")) for name in planned)
    assert {"claims", "report"} <= set(planned)


def test_an_attacks_code_reruns_what_uses_it(finished: Project) -> None:
    path = finished.root / "src/robustscape/attacks/random_noise.py"
    with edited(path, "return threat.random_point(x, generator)", "return threat.random_point(x, generator) + 0"):
        planned = finished.planned()
    trained = [name for name in planned if name.startswith("train_")]
    assert len(trained) == 9 and all("_random_l" in name for name in trained)
    assert not any("svhn" in name or "theory_1" in name for name in planned)


def test_a_key_that_is_read_reruns_and_one_that_is_not_does_not(finished: Project) -> None:
    recipe = finished.root / "config/recipes/yamada2021_svhn.yaml"
    with edited(recipe, "yamada2021 section", "as yamada2021 says in section"):  # in its text, 'about'
        assert finished.planned() == []
    attacks = finished.root / "config/attacks/yamada2021.yaml"
    with edited(attacks, "parameters: {steps: 10, step_size: 1/255}", "parameters: {steps: 11, step_size: 1/255}"):
        planned = finished.planned()
    trained = [name for name in planned if name.startswith("train_")]
    assert len(trained) == 4 and all("svhn_pgd" in name for name in trained)
    assert not any("mnist2" in name or "cifar10" in name for name in planned)


def test_a_claim_reruns_the_claims_only(finished: Project) -> None:
    with edited(finished.root / "config/studies/yamada2021.yaml", "smallest(", "0 + smallest("):
        assert set(finished.planned()) == {"claims", "report"}


def test_a_new_eps_trains_one_run_more(finished: Project) -> None:
    """A job of several runs keeps those that are already right."""
    folder = finished.results / "models/digits_tiny/resnet18_tiny_half/yamada2021_svhn-pgd"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/seed0/history.csv")}
    contents = {path: path.read_bytes() for path in before}
    done = finished.command(
        "train", *(f"digits_tiny/resnet18_tiny_half/yamada2021_svhn-pgd/{p.parent.parent.name}/seed0" for p in before)
    )
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    victim = min(before).parent
    (victim / "model.safetensors").unlink()
    done = finished.command(
        "train", *(f"digits_tiny/resnet18_tiny_half/yamada2021_svhn-pgd/{p.parent.parent.name}/seed0" for p in before)
    )
    assert done.returncode == 0, done.stderr
    changed = {path.parent for path in before if path.stat().st_mtime_ns != before[path]}
    assert changed == {victim}
    assert {path: path.read_bytes() for path in before} == contents, "the same bits again"
    assert finished.snakemake("--touch").returncode == 0


def test_snakemake_lint_and_report(finished: Project) -> None:
    lint = finished.snakemake("--lint")
    assert lint.returncode == 0, lint.stdout + lint.stderr
    report = finished.snakemake("--report", "report.zip")
    assert report.returncode == 0 and (finished.root / "report.zip").stat().st_size > 10_000, report.stderr
