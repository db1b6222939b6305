"""ma2025 chapter 6 as configured: roles of nets, attacks of torchattacks, and numbers of the work (sections 6.4, 6.5, 6.A)."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torchattacks

from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment

ROOT = Path(__file__).parents[2]
SCALES = ("smoke", "small", "paper")
TABLES = [f"table_6_{number}" for number in range(1, 12)]


@pytest.fixture(scope="module", params=SCALES)
def experiment(request: pytest.FixtureRequest) -> Experiment:
    return load_experiment(ROOT / "config", request.param)


@pytest.fixture(scope="module")
def paper() -> Experiment:
    return load_experiment(ROOT / "config", "paper")


def lists(experiment: Experiment) -> list[str]:
    return [name for name in experiment.studies["ma2025"].runs if name.startswith("ch6_")]


def test_no_net_has_two_roles(experiment: Experiment) -> None:
    for name in lists(experiment):
        for planned in experiment.runs("ma2025", name):
            read = experiment.aligned_runs(planned.run)
            if not read:
                continue
            source, *witnesses = read
            assert source.architecture == planned.run.architecture and source not in witnesses
            assert all(witness.seed >= 2 for witness in witnesses), "targets have seed 1"
            assert source.seed != 1 and len(set(witnesses)) == len(witnesses)
    roles = {name: {p.run for p in experiment.runs("ma2025", name)} for name in lists(experiment)}
    assert not roles["ch6_targets"] & (roles["ch6_sources"] | roles["ch6_witnesses"] | roles["ch6_held_out"])


def test_the_held_out_net_is_no_target(paper: Experiment) -> None:
    study = paper.studies["ma2025"]
    for name, entry in study.comparisons.items():
        if name.startswith("ch6_"):
            used = {*entry.parameters.get("targets", []), entry.parameters.get("target")}
            assert entry.parameters["held_out"] == "res34" and "res34" not in used


def test_every_alignment_has_three_rates_and_at_paper_three_repetitions(paper: Experiment) -> None:
    for name in lists(paper):
        runs = [p.run for p in paper.runs("ma2025", name) if paper.aligned_runs(p.run)]
        rates = {run.recipe: paper.recipes[run.recipe].optimizer.parameters["lr"] for run in runs}
        kinds = Counter(run.recipe for run in runs)
        assert set(kinds.values()) <= {3}
        by_witness: dict[str, set[float]] = {}
        for recipe, rate in rates.items():
            by_witness.setdefault(recipe.split("-lr")[0], set()).add(rate)
        assert all(found == {1e-3, 1e-2, 1e-1} for found in by_witness.values())


def test_the_recipes_are_those_of_the_work(paper: Experiment) -> None:
    recipe = paper.recipes["ma2025_alignment-res50"]
    assert recipe.epochs == 1 and recipe.batch_size == 128 and recipe.lr_schedule.kind == "cosine"
    assert recipe.optimizer.parameters["momentum"] == 0.9 and recipe.optimizer.parameters["max_norm"] is None
    assert recipe.parameters["distance"] == "kl" and recipe.parameters["temperature"] == 4
    vit = paper.recipes["ma2025_alignment-vit_b_16"]
    assert vit.batch_size == 512 and vit.optimizer.parameters["max_norm"] == 1
    cnn = paper.recipes["ma2025_nets-res50"]
    assert (cnn.epochs, cnn.batch_size, cnn.optimizer.parameters["lr"]) == (90, 256, 0.1)
    robust = paper.recipes["ma2025_nets-res50_at"]
    assert (robust.epochs, robust.method, robust.optimizer.parameters["lr"]) == (15, "adversarial_photographs", 0.1)
    nets = {"res50": 5, "res50_at": 1, "vit_b_16": 30, "swin": 20}
    for name, warm in nets.items():
        own = paper.recipes[f"ma2025_nets-{name}"]
        assert own.lr_schedule.kind == "cosine" and not own.phases
        assert own.lr_schedule.warmup * own.epochs == pytest.approx(warm, abs=0.02)
    for name, rate in (("vit_b_16", 3e-3), ("swin", 1e-3)):
        own = paper.recipes[f"ma2025_nets-{name}"]
        assert (own.epochs, own.batch_size, own.optimizer.parameters["max_norm"]) == (300, 1024, 1)
        assert own.optimizer.parameters["lr"] == pytest.approx(rate)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("mi", torchattacks.MIFGSM),
        ("ni", torchattacks.NIFGSM),
        ("vmi", torchattacks.VMIFGSM),
        ("vni", torchattacks.VNIFGSM),
        ("sini", torchattacks.SINIFGSM),
        ("ti", torchattacks.TIFGSM),
        ("di", torchattacks.DIFGSM),
    ],
)
def test_attacks_have_the_defaults_of_torchattacks(paper: Experiment, name: str, oracle: type) -> None:
    theirs = {key: p.default for key, p in inspect.signature(oracle).parameters.items()}
    ours = paper.attack(f"ma2025_{name}40").parameters
    names = {
        "decay": "decay",
        "copies": "m",
        "samples": "N",
        "probability": "diversity_prob",
        "resize_rate": "resize_rate",
    }
    shared = {mine: their for mine, their in names.items() if mine in ours and their in theirs}
    assert "decay" in shared and all(ours[mine] == theirs[their] for mine, their in shared.items())
    if "beta" in ours:
        assert ours["beta"] == theirs["beta"] == 1.5
    if "kernel" in ours:
        assert ours["kernel"] == theirs["len_kernel"]
    assert not theirs.get("random_start", False)


def test_an_alignment_has_one_rate_in_all_tables(experiment: Experiment) -> None:
    """Learning rates are chosen by the same attack, at the same budget, on the same net, whatever a table's budget is."""
    choices = set()
    for name, entry in experiment.studies["ma2025"].comparisons.items():
        if name.startswith("ch6_"):
            given, _ = experiment.sized("ma2025", name, entry)
            choices.add(
                (given.get("by", given.get("attack")), given["by_eps"], given["held_out"], given["target_seed"])
            )
    assert len(choices) == 1


def test_budgets(paper: Experiment) -> None:
    found = {n: e.parameters.get("eps") for n, e in paper.studies["ma2025"].comparisons.items() if n.startswith("ch6_")}
    assert found.pop("ch6_similarity") is None, "which attacks nothing but to choose learning rates"
    large = {"ch6_seven_attacks", "ch6_modified_large", "ch6_ensembles"}
    assert {name for name, eps in found.items() if eps == pytest.approx(8 / 255)} == large
    assert all(found[name] == pytest.approx(4 / 255) for name in set(found) - large)
    for name, steps in (("ma2025_transfer_pgd20", 20), ("ma2025_transfer_pgd40", 40), ("ma2025_linbp40", 40)):
        parameters = paper.attack(name).parameters
        assert parameters["steps"] == steps and parameters["rel_step_size"] == 0.25


@pytest.mark.parametrize("name", [*TABLES, "figure_6_1"])
def test_printed_numbers_are_those_of_the_reference_columns(paper: Experiment, name: str) -> None:
    item = paper.studies["ma2025"].items[name]
    printed = pd.read_csv(paper.paper / f"{item.printed}.csv")
    assert set(item.factors) <= set(printed.columns)
    # The text restates means and a cell of table 6.8; no item has these again.
    assert {metric for metric in printed["metric"] if not metric.endswith("_stated")} <= set(item.metrics)
    assert not printed.duplicated([*item.factors, "metric"]).any()


def test_what_is_derived_from_table_6_3_is_measured_on_its_images(paper: Experiment) -> None:
    """The bars of figure 6.1 are means of rows of that table; every table has 1000 images for a pair (section 6.5.1)."""
    items = paper.studies["ma2025"].items
    sets = {
        name: {(row.where["images"], row.where["common_images"]) for row in items[name].rows if "images" in row.where}
        for name in ("table_6_3", "figure_6_1")
    }
    assert sets["table_6_3"] == sets["figure_6_1"] == {("pair", False)}
    limits = {
        entry.parameters["limit"]
        for name, entry in paper.studies["ma2025"].comparisons.items()
        if name.startswith("ch6_") and "limit" in entry.parameters
    }
    assert limits == {1000}


def test_all_items_of_the_chapter_are_there(paper: Experiment) -> None:
    items = [name for name in paper.studies["ma2025"].items if "_6_" in name]
    assert sorted(items) == sorted([*TABLES, "figure_6_1", "figure_6_2", "figure_6_3"])


def test_the_page_on_cost_counts_the_runs(paper: Experiment) -> None:
    text = (ROOT / "docs/explanation/cost.md").read_text()
    rows = re.findall(r"^\| (ch6_[^|]*) \| [^|]* \| (\d+) \|", text, flags=re.MULTILINE)
    assert len(rows) == 7
    for cell, count in rows:
        runs = {planned.run for name in cell.split(", ") for planned in paper.runs("ma2025", name)}
        assert len(runs) == int(count), cell
    listed = {name for cell, _ in rows for name in cell.split(", ")}
    shared = {"ch6_self_aligned", "ch6_by_res18", "ch6_by_vit_t"}
    assert listed == set(lists(paper)) - shared
    of = {name: {planned.run for planned in paper.runs("ma2025", name)} for name in lists(paper)}
    assert of["ch6_self_aligned"] <= of["ch6_aligned"]
    assert of["ch6_by_res18"] | of["ch6_by_vit_t"] <= of["ch6_by_capacity"]
