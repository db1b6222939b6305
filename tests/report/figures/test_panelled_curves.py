"""Panels that are described one by one draw the values of the CSV."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import is_solid
from made_up import make_item
from matplotlib.figure import Figure

from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures.panelled_curves import panelled_curves
from robustscape.report.items import aggregate_repetitions, select_metrics

FACTORS = ["eps", "split", "update"]
NAMES = {"distance": "distance from the start"}


def rows() -> pd.DataFrame:
    found = [
        {
            "eps": eps,
            "split": split,
            "update": update,
            "seed": seed,
            "metric": metric,
            "value": update * (1 + eps) + seed + (10 if split == "test" else 0) + (100 if metric == "error" else 0),
            "unit": "percent" if metric == "error" else "1",
        }
        for eps in (0.0, 0.1, 0.2)
        for split in ("train", "test")
        for update in range(1, 6)
        for seed in range(2)
        for metric in ("error", "distance")
    ]
    return pd.DataFrame(found).assign(stand_in="", paper_protocol=True)


def drawn(**options: Any) -> tuple[Figure, pd.DataFrame]:
    options = {
        "x": "update",
        "hue": "eps",
        "panels": [{"metric": "error", "where": {"split": "train"}, "title": "A"}, {"metric": "distance"}],
        "dash": "split",
        **options,
    }
    item = make_item(kind="figure", draw="panelled_curves", factors=FACTORS, options=options, names=NAMES)
    table = aggregate_repetitions(select_metrics(rows(), FACTORS, []), FACTORS).assign(scale="small")
    return panelled_curves(table, item, **options), table


def test_lines_are_the_rows_of_their_panel() -> None:
    figure, _ = drawn()
    first, second = (axes for axes in figure.axes if axes.lines)
    assert len([line for line in first.lines if len(line.get_xdata())]) == 3
    assert len([line for line in second.lines if len(line.get_xdata())]) == 6
    np.testing.assert_allclose(first.lines[0].get_ydata(), [100.5 + u for u in range(1, 6)])
    assert first.get_title() == "A"
    assert "%" in first.get_ylabel()
    assert second.get_ylabel() == "distance from the start"


def test_line_styles_are_the_levels_and_can_be_named() -> None:
    figure, _ = drawn(looks={"train": "dashed", "test": "solid"}, panels=[{"metric": "distance"}])
    assert [is_solid(line) for line in figure.axes[0].lines] == [False] * 3 + [True] * 3
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["0", "0.1", "0.2", "train", "test"]


def test_scales_steps_marks_and_empty_places() -> None:
    figure, _ = drawn(steps=True, points=True, columns=2, panels=[{"metric": "distance", "log_y": True}] * 3)
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].lines[0].get_drawstyle() == "steps-post"
    assert figure.axes[0].lines[0].get_marker() == "o"
    assert len(figure.axes) == 3  # nothing is where the fourth panel would be


def test_a_logarithmic_panel_of_diverged_runs_says_nan() -> None:
    where = {"metric": "error", "where": {"split": "train"}, "log_y": True}
    options = {"x": "update", "hue": "eps", "panels": [where]}
    item = make_item(kind="figure", draw="panelled_curves", factors=FACTORS, options=options)
    table = aggregate_repetitions(select_metrics(rows(), FACTORS, []), FACTORS).assign(value=np.nan)
    figure = panelled_curves(table, item, **item.options)
    figure.draw_without_rendering()
    assert [text.get_text() for text in figure.axes[0].texts] == ["nan"]


def test_the_same_bytes_every_time() -> None:
    assert style.render_figure(drawn()[0]) == style.render_figure(drawn()[0])


@pytest.mark.parametrize(
    ("panels", "says"),
    [
        ([{"metric": "nothing"}], "a panel's metric is 'nothing'"),
        ([{"metric": "error", "colour": "red"}], "keys \\['colour'\\]"),
        ([{"metric": "error", "where": {"nothing": 1}}], "no column \\['nothing'\\]"),
    ],
)
def test_a_wrong_panel_is_refused(panels: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        drawn(panels=panels)


def test_a_level_without_a_look_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no look for \['test'\] of 'split'"):
        drawn(looks={"train": "dashed"})


def test_two_values_at_one_place_are_refused() -> None:
    with pytest.raises(ConfigError, match="several values at one place"):
        drawn(dash=None, panels=[{"metric": "error"}])
