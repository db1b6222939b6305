"""Made-up results of two works, of which the tests of pages have a copy each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from made_up import accuracy_rows, landscape_rows, make_item, make_study, printed_accuracies, surface_rows, vouch_for

from robustscape.claims.verdicts import CLAIM_COLUMNS, claim_rows
from robustscape.config.studies import Claim, Item, Study
from robustscape.report.items import write_item

FACTORS = ["dataset", "architecture", "noise", "norm", "eps"]


def table_item(**keys) -> Item:
    stanza = {
        "factors": FACTORS,
        "options": {"index": ["eps"]},
        "title": "Accuracy under <script>alert(1)</script>",
    }
    return make_item(**{**stanza, **keys})


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> tuple[dict[str, Study], Path]:
    said = [
        Claim(id="Y-8", says="does not rise", holds="non_increasing(series('robust_test_accuracy'), 0.15)"),
        Claim(id="Y-9", says="constant", holds="spread(series('robust_test_accuracy')) < 0.05"),
        Claim(id="Y-5", says="linear", holds="r2_linear(series('robust_test_accuracy')) > 2", scales=["paper"]),
    ]
    theory = Claim(
        id="Y-T",
        says="a theorem",
        given={"metric": "robust_test_accuracy"},
        let={"ours": "series()"},
        holds="spread(ours) > 1",
        kind="theory",
    )
    table, own, missing = (
        table_item(claims=said),
        table_item(title="Own data", claims=[theory]),
        table_item(title="Not there", claims=said[:1]),
    )
    options = {"x": "alpha", "hue": "eps", "panel": "noise"}
    curves = make_item(
        kind="figure", draw="curves", title="Curves", factors=[*FACTORS, "alpha"], metrics=["loss"], options=options
    )
    surface = make_item(
        kind="figure",
        draw="surface_3d",
        factors=["eps", "alpha", "beta"],
        options={"metric": "loss", "panel": "eps"},
    )
    first = make_study("yamada2021", table_1=table, table_2=own, table_3=missing, figure_1=curves)
    second = make_study("kim2023", figure_4_1=surface)
    root = tmp_path_factory.mktemp("page") / "results" / "small"
    flagged = accuracy_rows(flag_zero_gradients=True)
    write_item(table, flagged, root / "yamada2021" / "table_1.csv", printed=printed_accuracies(), scale="small")
    write_item(
        own,
        accuracy_rows(stand_in="", paper_protocol=True),
        root / "yamada2021" / "table_2.csv",
        printed=printed_accuracies(),
    )
    write_item(curves, landscape_rows(points=5), root / "yamada2021" / "figure_1.csv", scale="small")
    write_item(surface, surface_rows(9), root / "kim2023" / "figure_4_1.csv", scale="small")
    vouch_for(
        root / "yamada2021" / "table_1.csv",
        command="robustscape --scale small item yamada2021/table_1",
        seconds=2.5,
        code="c0de" * 16,
        config={"title": "x"},
        inputs=[{"path": "m.csv", "sha256": "feedbeef" * 8}],
        environment={
            "python": "3.11.7",
            "torch": "2.11.0",
            "gpu": None,
            "commit": "abcdef" * 6 + "abcd",
            "dirty": True,
        },
        versions={"pandas": pd.__version__},
    )
    for name in ("yamada2021/table_2", "yamada2021/figure_1", "kim2023/figure_4_1"):
        vouch_for(root / f"{name}.csv")
    studies = {"yamada2021": first, "kim2023": second}
    judge(studies, root)
    return studies, root


def judge(studies: dict[str, Study], root: Path) -> None:
    """Write the verdicts of all claims."""
    pd.DataFrame(claim_rows(studies, root, "small"), columns=CLAIM_COLUMNS).to_csv(root / "claims.csv", index=False)
    vouch_for(root / "claims.csv")


@pytest.fixture
def results(made_once: tuple[dict[str, Study], Path], tmp_path: Path) -> tuple[dict[str, Study], Path]:
    studies, root = made_once
    return studies, Path(shutil.copytree(root, tmp_path / "results" / "small"))
