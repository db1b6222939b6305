"""Tables of methods: items are joined by what was trained, and a cost is that of the weights a row was measured on."""

from __future__ import annotations

import pandas as pd
from made_up import labelled_frame, make_item

from robustscape.report.items import aggregate_repetitions
from robustscape.report.methods import method_tables
from robustscape.report.run_facts import RunFacts

OPTIONS = {"index": ["method"], "columns": ["metric"]}
ITEM = make_item(factors=["dataset", "architecture", "method", "attack"], title="One", options=OPTIONS)
OTHER = make_item(factors=["dataset", "architecture", "method"], title="Other", options=OPTIONS)


def rows(metric: str = "accuracy", attacks: tuple[str, ...] = ("pgd", "fgsm"), **columns) -> pd.DataFrame:
    found = labelled_frame(
        [
            {
                "method": method,
                "recipe": f"r{place}",
                "eps": 0.1,
                "seed": seed,
                "attack": attack,
                "metric": metric,
                "value": 50.0 + place + seed,
                "unit": "percent",
                "checkpoint": f"{place}{seed}",
            }
            for place, method in enumerate(("AT", "SAM"))
            for attack in attacks
            for seed in range(2)
        ],
        **columns,
    )
    return aggregate_repetitions(found, ["dataset", "architecture", "method", "attack"])


def run(place: int, seed: int, seconds: float) -> RunFacts:
    name = f"{place}{seed}"
    return RunFacts(name, "a", "b", f"r{place}", 0.1, seed, seconds=seconds, epoch_seconds=1.0, checkpoints=(name,))


def test_items_are_joined_by_what_was_trained_and_costs_by_its_weights() -> None:
    runs = [run(place, seed, 10.0 * place + seed) for place in range(2) for seed in range(2)]
    runs.append(RunFacts("x", "a", "b", "r0", 0.1, 7, seconds=1e9, checkpoints=("another run of the recipe",)))
    (table,) = method_tables([(ITEM, rows()), (OTHER, rows("sharpness", ("none",)))], runs)
    assert table.title == "MNIST 0/1, logistic regression"
    assert table.columns == (
        "accuracy (%), pgd",
        "accuracy (%), FGSM",
        "sharpness (%)",
        "time of an epoch (s)",
        "training of a run (s)",
    )
    assert [label for label, _ in table.rows] == ["AT", "SAM"]
    assert table.rows[0][1] == ("50.50 ± 0.71", "50.50 ± 0.71", "50.50 ± 0.71", "1", "0.5")
    assert table.rows[1][1][-1] == "10.5"


def test_settings_tell_networks_apart_and_attacks_do_not() -> None:
    item = make_item(factors=["dataset", "architecture", "method", "rho", "attack"], options=OPTIONS)
    sam = pd.concat([rows().assign(rho=rho, recipe=lambda r, rho=rho: r["recipe"] + str(rho)) for rho in (0.1, 0.2)])
    (table,) = method_tables([(item, sam)], [])
    assert [label for label, _ in table.rows] == ["AT, ρ 0.1", "SAM, ρ 0.1", "AT, ρ 0.2", "SAM, ρ 0.2"]
    assert len(table.columns) == 2


def test_one_name_for_two_protocols_does_not_mix_them() -> None:
    second = rows().assign(value=lambda r: r["value"] + 1)
    (table,) = method_tables(
        [(ITEM, rows()), (make_item(factors=ITEM.factors, title="Two", options=OPTIONS), second)], []
    )
    assert "accuracy (%), FGSM (Two)" in table.columns and table.rows[0][1][1] == "50.50 ± 0.71"


def test_figures_sweeps_and_works_without_methods_have_none() -> None:
    figure = make_item(kind="figure", draw="curves", factors=ITEM.factors, options={"x": "attack"})
    assert method_tables([(figure, rows())], []) == []
    sweep = rows(attacks=tuple(f"a{number}" for number in range(40)))
    assert method_tables([(ITEM, sweep)], []) == []
    assert method_tables([(make_item(factors=["dataset"], options=OPTIONS), rows())], []) == []
    one = rows()
    assert method_tables([(ITEM, one[one["method"] == "AT"])], []) == []
