"""Every claim of every work is judged with the printed numbers as ours: one that fails or is too noisy then judges nobody's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from robustscape.claims.verdicts import claim_verdict
from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment
from robustscape.config.studies import Item
from robustscape.report.items import aggregate_repetitions, read_rows

REPOSITORY = Path(__file__).parents[2]
WORKS = sorted(path.stem for path in (REPOSITORY / "config" / "studies").glob("*.yaml"))

#: Sentences of the works that their own tables do not bear out.
REFUTED_IN_PRINT = {
    ("liu2020", "table_4", "a-vgg16-plain"),
    ("liu2020", "table_4", "a-vgg16-plain-better"),
    ("ma2025", "table_5_4", "C5-10-text"),
}


@pytest.fixture(scope="module")
def paper() -> Experiment:
    return load_experiment(REPOSITORY / "config", "paper")


def printed_as_ours(item: Item) -> pd.DataFrame:
    """The printed numbers as if each of three seeds had given them, on 10,000 samples."""
    printed = read_rows(REPOSITORY / "resources" / "paper" / f"{item.printed}.csv").dropna(subset=["value"])
    printed = printed.assign(**{factor: None for factor in item.factors if factor not in printed})
    table = aggregate_repetitions(printed[[*item.factors, "metric", "unit", "value"]], item.factors)
    return table.assign(std=0.0, n=3, seed="0;1;2", samples=10_000)


@pytest.mark.parametrize("work", WORKS)
def test_printed_numbers_bear_out_the_claims_that_read_no_others(work: str, paper: Experiment) -> None:
    refuted, holding = set(), 0
    for name, item in paper.studies[work].items.items():
        if item.printed is None:
            continue
        rows = printed_as_ours(item)
        for claim in item.claims:
            if claim.kind != "empirical":
                continue
            verdict, evidence = claim_verdict(claim, rows, item.factors, claim.scales[-1])
            holding += verdict == "holds"
            assert verdict != "not testable: too noisy", (name, claim.id, evidence)
            if verdict == "fails":
                refuted.add((work, name, claim.id))
    assert refuted == {one for one in REFUTED_IN_PRINT if one[0] == work}
    assert holding or work == "kanai2022"  # whose claims all read numbers that it does not print
