"""Figures of kim2023 chapter 3, part A: bars in a grid of panels, and lines over bars, show every number at its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import make_item
from matplotlib.figure import Figure

from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures.bars import bars
from robustscape.report.figures.curves import curves
from robustscape.report.items import aggregate_repetitions

FAMILIES = {"mel": ["a", "b"], "code": ["c", "d", "e"]}


def bar_rows() -> pd.DataFrame:
    factors = ["source", "target", "attack"]
    made = [
        {"source": s, "target": t, "attack": attack, "metric": metric, "value": value, "unit": "percent"}
        for family in FAMILIES.values()
        for s in family
        for t in family
        for attack in ("cw", "pgd")
        for metric, value in (("adv", 10.0 + ord(t) - 97), ("noisy", 5.0))
    ]
    printed = pd.DataFrame(
        [{"source": "a", "target": "b", "attack": "cw", "metric": "adv", "value": 33.0, "unit": "percent"}]
    )
    return aggregate_repetitions(pd.DataFrame(made), factors, printed)


def draw_bars(rows: pd.DataFrame, **options: Any) -> Figure:
    given = {
        "x": "target",
        "hue": "metric",
        "panel": "attack",
        "down": "source",
        "first": "source",
        "numbers": True,
        **options,
    }
    item = make_item(
        kind="figure",
        draw="bars",
        factors=["source", "target", "attack"],
        metrics=["adv", "noisy"],
        options=given,
    )
    return bars(rows, item, **item.options)


def test_a_panel_has_the_groups_of_its_rows_and_its_source_first() -> None:
    figure = draw_bars(bar_rows())
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert len(panels) == 10 and {"a, cw", "e, pgd"} <= set(panels)
    names = [tick.get_text() for tick in panels["d, cw"].get_xticklabels()]
    assert names == ["d", "c", "e"]
    heights = [bar.get_height() for container in panels["d, cw"].containers[:1] for bar in container]
    assert heights == [13.0, 12.0, 14.0]
    assert [text.get_text() for text in panels["a, cw"].texts] == ["10", "11", "5", "5"]
    marks = [line.get_ydata() for line in panels["a, cw"].lines if line.get_marker() == "D"]
    assert 33.0 in np.concatenate(marks)
    assert style.render_figure(figure)[".png"] == style.render_figure(draw_bars(bar_rows()))[".png"]


def test_a_factor_that_is_not_there_and_two_values_in_one_place_are_refused() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        draw_bars(bar_rows(), panel="nowhere")
    with pytest.raises(ConfigError):
        draw_bars(bar_rows(), down="attack")


def test_bars_of_several_metrics_need_a_place_each() -> None:
    with pytest.raises(ConfigError, match="2 metrics"):
        draw_bars(bar_rows(), hue="attack", panel=None)


def step_rows() -> pd.DataFrame:
    made = [
        {"target": t, "attack": attack, "steps": s, "metric": "transfer", "value": 50.0 + s + k, "unit": "percent"}
        for k, t in enumerate("ab")
        for attack in ("pgd", "nia")
        for s in (1, 10, 100)
    ] + [
        {"target": "a", "attack": attack, "steps": s, "metric": "variance", "value": s / 10, "unit": "1"}
        for attack in ("pgd", "nia")
        for s in (1, 10, 100)
    ]
    return aggregate_repetitions(pd.DataFrame(made), ["target", "attack", "steps"])


def draw_steps(rows: pd.DataFrame, **options: Any) -> Figure:
    given = {"x": "steps", "metrics": ["transfer"], "bars": "variance", "hue": "target", "panel": "attack", **options}
    item = make_item(
        kind="figure",
        draw="curves",
        factors=["target", "attack", "steps"],
        metrics=["transfer", "variance"],
        options=given,
    )
    return curves(rows, item, **item.options)


def test_lines_and_bars_stand_at_evenly_spaced_steps() -> None:
    figure = draw_steps(step_rows())
    front = [axes for axes in figure.axes if axes.lines]
    behind = [axes for axes in figure.axes if axes.patches]
    assert len(front) == len(behind) == 2
    for axes in front:
        assert [list(line.get_xdata()) for line in axes.lines] == [[0, 1, 2]] * 2
        assert [list(line.get_ydata()) for line in axes.lines] == [[51, 60, 150], [52, 61, 151]]
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "10", "100"]
    for axes in behind:
        assert [bar.get_height() for bar in axes.patches] == [0.1, 1.0, 10.0]
        assert axes.get_zorder() < front[0].get_zorder()


def test_bars_that_compete_are_refused() -> None:
    rows = step_rows()
    doubled = pd.concat([rows, rows[rows["metric"] == "variance"].assign(target="b")], ignore_index=True)
    with pytest.raises(ConfigError):
        draw_steps(doubled)
    with pytest.raises(ConfigError, match="nothing"):
        draw_steps(rows, bars="nothing")
