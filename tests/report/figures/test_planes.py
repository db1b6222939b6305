"""Figures of planes: each layer is where its rows say, panels are in order, diverging colours are symmetric around 0."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from made_up import make_item, plane_rows
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, SymLogNorm, to_hex
from matplotlib.figure import Figure

from robustscape import catalog
from robustscape.errors import ConfigError
from robustscape.report.figures import _layers
from robustscape.report.items import aggregate_repetitions

FACTORS = ["panel", "layer", "method", "point"]


def table(printed: pd.DataFrame | None = None, **columns: Any) -> pd.DataFrame:
    return aggregate_repetitions(plane_rows(**columns), FACTORS, printed).assign(scale="small")


def drawn(rows: pd.DataFrame | None = None, **options: Any) -> Figure:
    item = make_item(kind="figure", draw="planes", factors=FACTORS)
    return catalog.load_function("figure", "planes")(table() if rows is None else rows, item, **options)


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def words(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.findobj(matplotlib.text.Text) if text.get_text()]


def test_panels_in_the_order_of_the_rows_with_their_axes() -> None:
    figure = drawn(labels={"(b)": ("step", "mean loss")}, x_label="w₁", y_label="w₂")
    plane, curves = panels(figure)
    assert (plane.get_title(), curves.get_title()) == ("(a) plane", "(b) curves")
    assert (plane.get_xlabel(), plane.get_ylabel()) == ("w₁", "w₂")
    assert (curves.get_xlabel(), curves.get_ylabel()) == ("step", "mean loss")
    backwards = table()
    backwards["point"] = backwards["point"].max() - backwards["point"]
    assert [axes.get_title() for axes in panels(drawn(backwards))] == ["(b) curves", "(a) plane"]


def test_layers_are_where_the_rows_say() -> None:
    plane, curves = panels(drawn())
    path = next(line for line in plane.lines if len(line.get_xdata()) == 3)
    np.testing.assert_allclose(path.get_xydata(), [(0.0, 0.0), (0.5, 0.5), (0.9, 0.2)])
    scattered = next(c for c in plane.collections if len(c.get_offsets()) == 2)
    np.testing.assert_allclose(scattered.get_offsets(), [(0.1, 0.2), (-0.3, 0.4)])
    arrow = next(t for t in plane.texts if getattr(t, "arrow_patch", None))
    assert arrow.xy == pytest.approx((0.3, -0.2))
    assert {"here", "saddle"} <= set(words(plane)) and "saddle" in words(curves)  # no panel: all of them
    line = next(line for line in curves.lines if len(line.get_xdata()) == 3)
    np.testing.assert_allclose(line.get_xydata(), [(0.0, 2.0), (0.5, 2.25), (1.0, 3.0)])
    assert "floor: 2" in words(curves)


def test_one_colour_a_method_in_every_panel() -> None:
    figure = drawn()
    legend = figure.legends[0]
    assert [t.get_text() for t in legend.get_texts()] == ["GD", "SAM", "step"]
    colours = [to_hex(handle.get_color()) for handle in legend.legend_handles]
    assert len(set(colours)) == 3
    path, curve = (next(x for x in axes.lines if len(x.get_xdata()) == 3) for axes in panels(figure))
    assert to_hex(path.get_color()) == to_hex(curve.get_color()) == colours[0]


def test_numbers_that_are_not_drawn_stay_out() -> None:
    assert "final loss" not in " ".join(words(drawn()))
    with pytest.raises(ConfigError, match="no row has a layer"):
        drawn(table()[lambda rows: rows["layer"].isna()])
    with pytest.raises(ConfigError, match=r"no column \['layer'\]"):
        drawn(table().drop(columns="layer"))


def test_diverging_colours_are_white_at_zero() -> None:
    rows = table()
    low, high = -1.0, 5.0
    surface = rows["layer"] == "surface"
    rows.loc[surface, "value"] = np.linspace(low, high, surface.sum())
    for decades in (None, 3.0):
        scale = _layers.surface_colours(rows, "diverging", decades, None)
        assert scale is not None
        assert scale.norm(0.0) == pytest.approx(0.5)
        assert (scale.norm.vmin, scale.norm.vmax) == (-5, 5)
        assert isinstance(scale.norm, SymLogNorm) == (decades is not None)
        assert min(scale.to_rgba(0.0)[:3]) > 0.95
    limited = _layers.surface_colours(rows, "diverging", None, 2.0)
    assert limited is not None and (limited.norm.vmin, limited.norm.vmax) == (-2, 2)
    assert _layers.surface_colours(rows[~surface], "diverging", None, None) is None
    assert drawn(rows, colour="diverging", decades=2, colour_limit=2)


def test_logarithmic_colours_span_the_decades_asked_for() -> None:
    rows = table()
    surface = rows["layer"] == "surface"
    rows.loc[surface, "value"] = np.geomspace(1e-9, 100, surface.sum())
    scale = _layers.surface_colours(rows, "sequential", 3, None)
    assert scale is not None and isinstance(scale.norm, LogNorm)
    assert (scale.norm.vmin, scale.norm.vmax) == (pytest.approx(0.1), pytest.approx(100))
    assert drawn(rows, decades=3)


def test_a_surface_of_one_value_can_be_drawn() -> None:
    rows = table()
    rows.loc[rows["layer"] == "surface", "value"] = 1.0
    assert drawn(rows) and drawn(rows, colour="diverging")


def test_perspective_zoom_marginal_and_logarithms() -> None:
    steep = drawn(perspective=["(a)"])
    assert panels(steep)[0].name == "3d" and panels(steep)[1].name != "3d"
    zoomed, logarithmic = panels(drawn(zoom={"(a)": (-0.5, 0.5, 0.0, 0.25)}, log_y=["(b)"], equal=True))
    assert zoomed.get_xlim() == (-0.5, 0.5) and zoomed.get_ylim() == (0.0, 0.25)
    assert zoomed.get_aspect() == 1 and logarithmic.get_yscale() == "log"
    topped = panels(drawn(marginal=["(a)"]))[0]
    (histogram,) = topped.child_axes
    assert histogram.get_title() == "(a) plane" and not topped.get_title()
    assert sum(patch.get_height() for patch in histogram.patches) == 2


def test_printed_numbers_are_beside_ours() -> None:
    printed = pd.DataFrame([{"method": "SAM", "metric": "loss", "value": 2.5, "unit": "nats"}])
    rows = plane_rows()
    rows = rows[(rows["method"] != "SAM") | (rows["layer"] == "dots")]
    figure = drawn(aggregate_repetitions(rows, FACTORS, printed))
    diamonds = [line for line in panels(figure)[1].lines if line.get_marker() == "D"]
    assert [tuple(line.get_xydata()[0]) for line in diamonds if len(line.get_xdata())] == [(0.5, 2.5)]
    assert "printed in the paper" in " ".join(words(figure))
    assert "printed in the paper" not in " ".join(words(drawn()))


def test_few_points_of_a_flow_become_arrows() -> None:
    rows = plane_rows()
    coarse = rows[(rows["layer"] != "flow") | (rows["x"].abs().isin([1.0]) & rows["y"].abs().isin([1.0]))]
    figure = drawn(aggregate_repetitions(coarse, FACTORS))
    assert any(isinstance(c, matplotlib.quiver.Quiver) for c in panels(figure)[0].collections)
