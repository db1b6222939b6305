"""Alt texts say what is on the axes, how large it is and what the claims came to, from the rows and not from the caption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from made_up import landscape_rows, make_item, plane_rows, progress_rows

from robustscape.config.loading import load_experiment
from robustscape.config.studies import Item
from robustscape.report.alt_text import alt_text
from robustscape.report.items import aggregate_repetitions, select_metrics

FACTORS = ["dataset", "noise", "norm", "eps", "alpha"]
CONFIG = Path(__file__).parents[2] / "config"


def curves(**keys: Any) -> tuple[Item, pd.DataFrame]:
    options = {"x": "alpha", "hue": "eps", "panel": "noise", "metrics": ["loss"]}
    stanza = {"names": {"RANDOM": "random noise"}, "caption": "A caption.", **keys}
    item = make_item(kind="figure", draw="curves", factors=FACTORS, options=options, **stanza)
    metrics = ["loss", "sharpness"]
    return item, aggregate_repetitions(select_metrics(landscape_rows(points=9), FACTORS, metrics), FACTORS)


def test_it_says_title_quantities_axes_and_verdicts() -> None:
    item, rows = curves(title="Landscapes")
    text = alt_text(item, rows, [{"says": "it rises.", "verdict": "holds"}, {"says": "it falls", "verdict": "fails"}])
    assert text.startswith("Landscapes. Shown: loss (nats) from 0.01 to ")
    assert "sharpness" not in text  # not drawn
    assert "By noise: PGD; random noise. By ε: 0; 0.2; 0.4; 0.6; 0.8; 1. By α from -1 to 1." in text
    assert text.endswith("Claim: it rises; holds. Claim: it falls; fails.")
    assert "MNIST" not in text and "caption" not in text  # a factor of one level, and what stands below the picture


def test_ranges_are_those_of_our_values_in_the_picture() -> None:
    item, rows = curves()
    drawn = rows["metric"] == "loss"
    text = alt_text(item, rows.assign(value=np.where(drawn, np.where(rows["alpha"] == 0, 2.0, 5.0), 99.0)), [])
    assert "Shown: loss (nats) from 2 to 5." in text
    assert "Shown: loss not measured." in alt_text(item, rows.assign(value=np.nan, n=0), [])
    assert "percent" not in alt_text(item, rows.assign(unit="percent"), [])
    assert "from 2.00% to 5.00%" in alt_text(
        item, rows.assign(unit="percent", value=[2.0, *[5.0] * (len(rows) - 1)]), []
    )


def test_printed_numbers_are_counted_where_they_are_of_what_is_drawn() -> None:
    item, rows = curves()
    assert "prints" not in alt_text(item, rows, [])
    printed = rows["metric"].eq("sharpness").map({True: 1.0, False: np.nan})
    assert "prints" not in alt_text(item, rows.assign(paper_value=printed), [])
    some = rows.assign(paper_value=np.where((rows["metric"] == "loss") & (rows["eps"] == 0), 1.0, np.nan))
    assert "The paper prints 18 of these numbers." in alt_text(item, some, [])


def test_quantities_are_all_of_the_item_where_the_options_name_none() -> None:
    rows = aggregate_repetitions(progress_rows(), ["method", "epoch"])
    item = make_item(
        kind="figure",
        draw="curves",
        factors=["method", "epoch"],
        metrics=["train_accuracy", "test_accuracy"],
        options={"x": "epoch", "hue": "method", "against": ["seconds"]},
    )
    text = alt_text(item, rows, [])
    assert "train accuracy" in text and "test accuracy" in text and "time from" in text
    assert "By epoch: 1; 2; 3; 4; 5." in text
    planes = aggregate_repetitions(plane_rows(), ["panel", "layer", "method", "point"])
    text = alt_text(make_item(kind="figure", draw="planes", factors=["panel", "layer", "method", "point"]), planes, [])
    assert "By panel: (a) plane; (b) curves." in text and "By point" not in text


def test_it_stays_short_enough_to_be_listened_to() -> None:
    item, rows = curves()
    claims = [{"says": f"claim {number} " + "is long " * 12, "verdict": "holds"} for number in range(9)]
    text = alt_text(item, rows, claims)
    assert len(text) < 800 and "claim 0" in text and "claims below." in text
    assert "claim 8" not in text
    assert "1 more claim below." in alt_text(item, rows, [claims[0], {"says": "long " * 200, "verdict": "fails"}])


def test_every_figure_of_the_studies_has_one_without_rows_of_ours() -> None:
    """Whatever the options are: the empty CSV of an item that was not measured has a text, too."""
    for study in load_experiment(CONFIG, "small").studies.values():
        for item in study.items.values():
            if item.kind == "figure":
                columns = [*item.factors, "metric", "value", "std", "n", "unit", "paper_value"]
                row = {**dict.fromkeys(columns), "metric": "loss", "unit": "nats", "n": 0}
                assert alt_text(item, pd.DataFrame([row]), []).startswith(f"{item.title}.")
