"""Curves beside a map, and curves with stars, draw the values of the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn import mark_points
from made_up import make_item
from matplotlib.collections import QuadMesh

from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures.curves import curves
from robustscape.report.figures.curves_beside import curves_beside
from robustscape.report.items import aggregate_repetitions


def rows_of_both() -> tuple[pd.DataFrame, list[str]]:
    factors = ["rho", "epoch", "a", "b"]
    rows = [
        {"rho": rho, "epoch": epoch, "metric": "cosine", "value": 1 - rho * epoch / 10, "seed": 0}
        for rho in (0.1, 0.5)
        for epoch in (1, 2, 3)
    ]
    rows += [
        {"rho": 0.5, "a": a / 10, "b": b / 10, "metric": "cosine", "value": 1 - a * b / 100, "seed": 0}
        for a in range(4)
        for b in range(4)
    ]
    return aggregate_repetitions(pd.DataFrame(rows).assign(unit="1"), factors).assign(scale="small"), factors


def test_the_curves_and_the_map_have_their_own_rows() -> None:
    rows, factors = rows_of_both()
    item = make_item(kind="figure", draw="heatmap", factors=factors, options={"x": "a", "y": "b"})
    options = {"x": "epoch", "hue": "rho", "curves": ["cosine"], "surface": "cosine"}
    figure = curves_beside(rows, item, **options)
    left, right = figure.axes[:2]
    assert [list(line.get_ydata()) for line in left.get_lines()] == [
        pytest.approx([0.99, 0.98, 0.97]),
        pytest.approx([0.95, 0.9, 0.85]),
    ]
    (mesh,) = [c for c in right.collections if isinstance(c, QuadMesh)]
    values = np.asarray(mesh.get_array()).reshape(4, 4)
    assert values[3, 2] == pytest.approx(1 - 3 * 2 / 100) and values[0, 3] == 1
    assert style.render_figure(figure) == style.render_figure(curves_beside(rows, item, **options))
    final = rows[rows["epoch"] == 3].assign(metric="final", epoch=np.nan, paper_value=[np.nan, 0.6])
    (mark,) = curves_beside(pd.concat([rows, final]), item, **options, ends="final").axes[0].get_lines()[2:]
    assert (list(mark.get_xdata()), list(mark.get_ydata()), mark.get_marker()) == ([3], [0.6], "D")
    with pytest.raises(ConfigError, match="no column"):
        curves_beside(rows.drop(columns="a"), item, **options)


def test_stars_are_where_they_were_asked_for() -> None:
    rows = pd.DataFrame(
        [
            {"gradient": g, "mu": mu / 2, "metric": "loss_decrease", "value": height + mu, "seed": s, "unit": "nats"}
            for height, g in enumerate(("at w", "at one step"))
            for mu in range(3)
            for s in range(2)
        ]
    )
    factors = ["gradient", "mu"]
    item = make_item(kind="figure", draw="curves", factors=factors, options={"x": "mu"})
    table = aggregate_repetitions(rows, factors).assign(scale="small")
    figure = curves(table, item, x="mu", hue="gradient", stars={"at one step": 1})
    assert mark_points(figure.axes[0]) == [(1.0, 3.0)]
    assert [list(line.get_ydata()) for line in figure.axes[0].get_lines()] == [[0, 1, 2], [1, 2, 3]]
