"""Claims of ma2025 chapter 5 on lists of members and on paired counts, which must fail on wrong ones."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from robustscape.claims.expressions import expand_claim
from robustscape.claims.verdicts import claim_verdict, evaluate_expression
from robustscape.config.loading import load_experiment
from robustscape.config.studies import Claim
from robustscape.report.items import aggregate_repetitions, read_rows
from robustscape.report.words import FAILS, HOLDS, UNTESTABLE
from robustscape.theory.ma2025.class_hierarchies import class_hierarchies

ROOT = Path(__file__).parents[2]
STUDY = load_experiment(ROOT / "config", "paper").studies["ma2025"]
TABLE = STUDY.items["table_5_1"]
MEMBERS = {claim.id: claim for claim in TABLE.claims if claim.id != "C5-hierarchies-sizes"}


def members(hierarchies: dict[str, Any]) -> pd.DataFrame:
    """The item's rows of a configuration, beside the printed ones."""
    rows = pd.DataFrame(class_hierarchies(hierarchies=hierarchies))
    return aggregate_repetitions(rows, TABLE.factors, read_rows(ROOT / "resources" / "paper" / f"{TABLE.printed}.csv"))


def verdicts(hierarchies: dict[str, Any]) -> dict[str, tuple[str, str]]:
    table = members(hierarchies)
    return {name: claim_verdict(claim, table, TABLE.factors, "paper", TABLE.names) for name, claim in MEMBERS.items()}


def configured() -> dict[str, Any]:
    return deepcopy(STUDY.theory["ch5_hierarchies"].parameters["hierarchies"])


def test_the_configured_members_are_the_printed_ones() -> None:
    assert len(MEMBERS) == 3 and {verdict for verdict, _ in verdicts(configured()).values()} == {HOLDS}


@pytest.mark.parametrize("dataset", ["cifar10", "cifar5x5", "cifar100"])
@pytest.mark.parametrize("wrong", ["moved", "missing", "renamed", "added", "meta_class_missing"])
def test_a_wrong_member_makes_the_claim_of_its_data_set_fail(dataset: str, wrong: str) -> None:
    hierarchies = configured()
    first, second = list(hierarchies[dataset])[:2]
    leaves = hierarchies[dataset][first]
    match wrong:
        case "moved":
            hierarchies[dataset][second].append(leaves.pop())
        case "missing":
            leaves.pop()
        case "renamed":
            leaves[0] = "unicorn"
        case "added":
            leaves.append("unicorn")
        case "meta_class_missing":
            del hierarchies[dataset][first]
    found = verdicts(hierarchies)
    assert {name for name, (verdict, _) in found.items() if verdict == FAILS} == {f"C5-hierarchies-{dataset}"}
    if wrong == "renamed":
        evidence = found[f"C5-hierarchies-{dataset}"][1]
        assert f"that we alone have: {first} unicorn" in evidence and "the paper alone has: " in evidence


def test_what_was_not_measured_is_not_counted() -> None:
    rows = pd.DataFrame(
        {"a": ["x", "y"], "metric": "m", "value": float("nan"), "n": 0, "paper_value": 1.0, "stand_in": ""}
    )
    assert evaluate_expression("unmatched('m') == 0", rows, ["a"])[0] == UNTESTABLE


@pytest.mark.parametrize(("only_har", "only_flat", "verdict"), [(100, 60, HOLDS), (80, 60, FAILS), (60, 100, FAILS)])
def test_paired_counts_are_judged_as_those_of_one_set_of_images(only_har: int, only_flat: int, verdict: str) -> None:
    """(b - c)^2 / (b + c) of McNemar is 10 and 2.9 here, against 3.84; three seeds of the same images are no 3,000 pairs."""
    item = STUDY.items["hierarchical_readings"]
    (claim,) = [claim for claim in item.claims if claim.id == "C5-5-paired"]
    rows = [
        {"dataset": "cifar100", "network": "paired", "method": m, "attack_family": "hierarchical", "attack": "pgd200"}
        | {"metric": metric, "value": float(count), "unit": "1", "seed": seed}
        for m in ("standard", "pgd10_at", "trades")
        for metric, count in (("only_har_right", only_har), ("only_flat_right", only_flat))
        for seed in (0, 1, 2)
    ]
    table = aggregate_repetitions(pd.DataFrame(rows), item.factors)
    assert judged(claim, table, item.factors) == verdict


def judged(claim: Claim, table: pd.DataFrame, factors: list[str]) -> str:
    return evaluate_expression(expand_claim(claim), table, factors)[0]
