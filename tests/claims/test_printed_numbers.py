"""No claim may fail on the numbers that its own work printed, which would say more than the work found.

Exceptions are listed: sentences of a work that its table contradicts. So are claims that are too fine for anybody's images.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from robustscape.claims.verdicts import claim_verdict
from robustscape.config.loading import load_experiment
from robustscape.config.studies import Item
from robustscape.report.items import aggregate_repetitions, read_rows
from robustscape.report.words import FAILS, HOLDS, TOO_NOISY

ROOT = Path(__file__).parents[2]
STUDIES = load_experiment(ROOT / "config", "paper").studies
ITEMS = [
    (work, name)
    for work, study in STUDIES.items()
    for name, item in study.items.items()
    if item.printed and item.claims
]

#: Claims that are a sentence of the work which its own table contradicts; their texts say so.
CONTRADICTED = {("liu2020", "table_4"): {"a-vgg16-plain-better"}, ("ma2025", "table_5_4"): {"C5-10-text"}}

#: Claims of the works about differences between networks so small that 10,000 images do not tell them, if other images would
#: move the networks independently of each other: with these sentences the works say more than their tables can.
TOO_FINE = {
    ("kim2023", "table_3_7"): {"C3B-9"},
    ("kim2023", "table_3_8"): {"C3B-10-16-margins"},
    ("kim2023", "table_4_1"): {"K4-13"},
    ("kim2023", "table_5_1"): {"K5-3"},
    ("kim2023", "table_5_2"): {"K5-10-best", "K5-10-best-A", "K5-10-margin", "K5-10-reported"},
    ("kim2023", "table_5_3"): {"K5-12", "K5-12-order", "K5-12-small"},
    ("liu2020", "table_4"): {
        "a-resnet18-periodic",
        "a-vgg16-periodic",
        "b-resnet18-plain",
        "c-vgg16",
        "d-resnet18",
    },
    ("ma2025", "table_3_3"): {"M3-3-best-resnet10"},
    ("ma2025", "table_5_6"): {"C5-16"},
    ("ma2025", "table_5_7"): {"C5-19"},
    ("yamada2021", "table_2"): {"Y-9"},
    ("yamada2021", "table_4"): {"Y-9"},
}

#: Factors that change what is done to a network, not which network: numbers that differ in them alone are paired.
NOT_OF_NETS = ("attack", "attack_family", "source", "direction", "a", "perturbation", "level", "topk")

#: How far a number is put beyond its printed bound, so that a strict comparison with the bound can hold.
BEYOND = {"at_least": 1e-6, "at_most": -1e-6}


def printed_as_measured(item: Item) -> pd.DataFrame:
    """The item's CSV as if each printed number had been measured with its printed deviation (0 if none) over three seeds."""
    printed = read_rows(ROOT / "resources" / "paper" / f"{item.printed}.csv").dropna(subset=["value"])
    printed = printed.assign(**{factor: None for factor in item.factors if factor not in printed})
    beyond = printed["metric"].map(item.bounds).map(BEYOND).fillna(0.0)
    rows = printed[[*item.factors, "metric", "unit"]].assign(value=printed["value"] + beyond)
    table = aggregate_repetitions(rows, item.factors, printed)
    deviations = table["paper_std"].fillna(0.0) if "paper_std" in table else 0.0
    return table.assign(std=deviations, n=3)


def printed_verdicts(work: str, name: str) -> dict[str, tuple[str, str]]:
    """Verdict and evidence of each claim of an item on the printed numbers, at a scale that it can be tested at."""
    item = STUDIES[work].items[name]
    table = printed_as_measured(item)
    return {claim.id: claim_verdict(claim, table, item.factors, claim.scales[-1], item.names) for claim in item.claims}


@pytest.mark.parametrize(("work", "name"), ITEMS)
def test_no_claim_fails_on_the_printed_numbers(work: str, name: str) -> None:
    failing = {
        claim: evidence for claim, (verdict, evidence) in printed_verdicts(work, name).items() if verdict == FAILS
    }
    assert set(failing) == CONTRADICTED.get((work, name), set()), failing


@pytest.mark.parametrize(("work", "name"), ITEMS)
def test_the_claims_too_noisy_for_the_printed_numbers_are_known(work: str, name: str) -> None:
    """With seeds that all agree and 10,000 samples: a new one should ask for more than its work's numbers can tell apart."""
    item = STUDIES[work].items[name]
    table = printed_as_measured(item).assign(std=0.0, seed="0;1;2", samples=10_000)
    of_nets = [factor for factor in item.factors if factor not in NOT_OF_NETS]
    table["checkpoint"] = ["/".join(map(str, cells)) or "one" for cells in table[of_nets].itertuples(index=False)]
    verdicts = {
        claim.id: claim_verdict(claim, table, item.factors, claim.scales[-1], item.names)[0] for claim in item.claims
    }
    assert {claim for claim, verdict in verdicts.items() if verdict == TOO_NOISY} == TOO_FINE.get((work, name), set())


def test_most_claims_on_printed_tables_are_tested_so() -> None:
    found = [verdict for work, name in ITEMS for verdict, _ in printed_verdicts(work, name).values()]
    assert sum(verdict == HOLDS for verdict in found) >= 100
