"""The figure functions of kanai2022 draw the values of the CSV."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import make_item, path_rows, progress_rows, surface_rows
from matplotlib.figure import Figure

from robustscape import catalog
from robustscape.errors import ConfigError
from robustscape.report.items import aggregate_repetitions, select_metrics


def drawn(
    name: str, rows: pd.DataFrame, factors: list[str], metrics: list[str] | None = None, **options: Any
) -> Figure:
    item = make_item(kind="figure", draw=name, factors=factors, metrics=metrics or [], options=options)
    figure: Figure = catalog.load_function("figure", name)(
        aggregate_repetitions(select_metrics(rows, factors, metrics or []), factors), item, **item.options
    )
    return figure


SURFACE = {"x": "alpha", "y": "beta", "panel": "eps", "metric": "loss"}


def test_surfaces_have_their_own_heights_and_wrap() -> None:
    rows = surface_rows(9)
    figure = drawn("surface_3d", rows, ["eps", "alpha", "beta"], wrap=1, **SURFACE)
    assert len(figure.axes) == rows["eps"].nunique()
    for axes, (_, part) in zip(figure.axes, rows[rows["metric"] == "loss"].groupby("eps"), strict=True):
        assert axes.get_zlim()[1] == pytest.approx(part["value"].max())
        assert axes.get_zlim()[0] < part["value"].min() and len(axes.collections) == 2  # surface and contours


def test_places_without_a_panel_are_empty_and_large_grids_thinned() -> None:
    rows = pd.concat([surface_rows(91).query("eps == 0").assign(eps=e) for e in (1.0, 2.0, 3.0)])
    figure = drawn("surface_3d", rows, ["eps", "alpha", "beta"], wrap=2, **SURFACE)
    assert len(figure.axes) == 3
    assert len(figure.axes[0].collections[0].get_paths()) <= 61**2


def test_a_factor_on_no_axis_is_refused() -> None:
    rows = pd.concat([surface_rows(5).assign(norm=norm) for norm in ("L2", "Linf")])
    with pytest.raises(ConfigError, match="norm"):
        drawn("surface_3d", rows, ["norm", "eps", "alpha", "beta"], **SURFACE)
    with pytest.raises(ConfigError, match="no column"):
        drawn("surface_3d", surface_rows(5), ["eps", "alpha", "beta"], **SURFACE | {"panel": "norm"})


def test_paths_are_joined_in_their_order_and_single_points_marked() -> None:
    figure = drawn(
        "paths",
        path_rows().sort_values("place", ascending=False, kind="stable"),
        ["panel", "shape", "place"],
        x="x_1",
        y="x_2",
        along="place",
        hue="shape",
        panel="panel",
        grey=["ball"],
        equal=True,
    )
    assert [axes.get_title() for axes in figure.axes] == ["(a)", "(b)", "(c)"]
    by_length = {len(line.get_xdata()): line for line in figure.axes[0].lines}
    assert sorted(by_length) == [1, 4, 9]
    np.testing.assert_allclose(by_length[4].get_xdata(), 0.3 * np.cos(np.arange(4)))
    np.testing.assert_allclose(by_length[9].get_ydata(), 0.3 * np.sin(np.arange(9)))
    assert by_length[1].get_linewidth() == 0 and by_length[9].get_linewidth() < by_length[4].get_linewidth()
    assert figure.axes[0].get_aspect() == 1.0
    assert sorted(text.get_text() for text in figure.legends[0].get_texts()) == ["ball", "the end", "the way"]


def test_progress_is_shown_against_epochs_and_seconds() -> None:
    rows, metrics = progress_rows(), ["train_accuracy", "test_accuracy", "seconds"]
    options = {"x": "epoch", "hue": "method", "points": True}
    figure = drawn("curves", rows, ["method", "epoch"], metrics, **options, against=["seconds"])
    assert len(figure.axes) == 4
    train = [axes.lines for axes in figure.axes[:2]]
    np.testing.assert_allclose(train[0][1].get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_allclose(train[1][1].get_xdata(), [2.5, 5, 7.5, 10, 12.5])
    np.testing.assert_allclose(train[1][1].get_ydata(), [46, 51, 56, 61, 66])
    assert [axes.get_xlabel() for axes in figure.axes[2:]] == ["epoch", "time (s)"]
    assert [figure.axes[i].get_ylabel() for i in (0, 2)] == ["train accuracy (%)", "test accuracy (%)"]
