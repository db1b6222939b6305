"""The figures of kim2023, chapters 2 and 3, draw the values of the CSV, and the same rows give the same bytes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from robustscape import catalog
from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report.items import aggregate_repetitions
from robustscape.report.style import render_figure


def item(draw: str, factors: list[str], metrics: list[str], **options: Any) -> Item:
    return Item.model_validate(
        {
            "title": "made up",
            "kind": "figure",
            "draw": draw,
            "options": options,
            "rows": [{"of": "x"}],
            "factors": factors,
            "metrics": metrics,
        }
    )


def drawn(rows: list[dict[str, Any]], stanza: Item) -> Figure:
    table = aggregate_repetitions(pd.DataFrame(rows), stanza.factors)
    figure: Figure = catalog.load_function("figure", stanza.draw)(table, stanza, **stanza.options)
    return figure


def examples(methods: tuple[str, ...] = ("at", "trades")) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    return [
        {
            "method": method,
            "index": i,
            "metric": metric,
            "value": float(value),
            "unit": "1" if "margin" in metric else "nats",
        }
        for shift, method in enumerate(methods)
        for metric in ("margin", "margin_attacked", "kl_smoothness")
        for i, value in enumerate(random.uniform(-1, 1, 60) if "margin" in metric else 0.01 + shift + random.random(60))
    ]


def plane(level: str = "image", values: tuple[Any, ...] = (0, 1)) -> list[dict[str, Any]]:
    ticks = np.linspace(0, 1, 5)
    return [
        {level: value, "a": a, "b": b, "metric": metric, "value": number, "unit": unit}
        for value in values
        for a in ticks
        for b in ticks
        for metric, number, unit in (
            ("loss", float(a**2 + b), "nats"),
            ("misclassified", float(0.3 < a < 0.8 and b < 0.3), "1"),
        )
    ]


SURFACES = item("input_surfaces", ["image", "a", "b"], ["loss", "misclassified"])
HISTOGRAMS = item("histograms", ["method", "index"], ["margin", "kl_smoothness"], hue="method")
SCATTER = item(
    "example_scatter",
    ["method", "index"],
    ["margin", "margin_attacked", "kl_smoothness"],
    x="margin",
    y="margin_attacked",
    colour="kl_smoothness",
    panel="method",
)
CURVE = item("paths", ["method", "beta"], ["x", "y"], x="x", y="y", along="beta", hue="method", labelled=True)


BOTH = item(
    "curves_beside",
    ["method", "epoch", "index"],
    ["accuracy", "gamma"],
    x="epoch",
    hue="method",
    curves=["accuracy"],
    examples="gamma",
)


def both() -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    rows = [
        {"method": m, "epoch": e, "metric": "accuracy", "value": 10.0 * e, "unit": "percent"}
        for m in ("a", "b")
        for e in (1, 2)
    ]
    return rows + [
        {"method": m, "index": i, "metric": "gamma", "value": v, "unit": "nats"}
        for m in ("a", "b")
        for i, v in enumerate(random.normal(size=30).tolist())
    ]


def curve() -> list[dict[str, Any]]:
    return [
        {"method": method, "beta": beta, "metric": metric, "value": beta * factor, "unit": "1"}
        for factor, method in ((1.0, "trades"), (2.0, "bat"))
        for beta in (1, 2, 4)
        for metric in ("x", "y")
    ]


CASES = [(SURFACES, plane), (HISTOGRAMS, examples), (SCATTER, examples), (CURVE, curve), (BOTH, both)]


@pytest.mark.parametrize(("stanza", "rows"), CASES, ids=lambda v: getattr(v, "draw", ""))
def test_same_rows_same_bytes(stanza: Item, rows: Any) -> None:
    figures = [drawn(rows(), stanza) for _ in range(2)]
    for figure in figures:
        figure.set_dpi(40)
    first, second = (render_figure(figure) for figure in figures)
    assert first == second and first[".png"][:4] == b"\x89PNG"


def shares(steps: Any) -> np.ndarray:
    """The heights of a histogram that is drawn as an area: its upper side, step by step."""
    corners = steps.get_paths()[0].vertices
    edges = np.unique(corners[:, 0].round(9))
    middles = (edges[1:] + edges[:-1]) / 2
    sides = list(itertools.pairwise(corners))
    return np.array([max(a[1] for a, b in sides if min(a[0], b[0]) < x < max(a[0], b[0])) for x in middles])


def test_histograms_share_their_bins_and_mark_the_means() -> None:
    rows = [row for row in examples() if row["metric"] != "margin_attacked"]
    figure = drawn(rows, HISTOGRAMS)
    axes = figure.axes[0]
    assert [shares(steps).sum() for steps in axes.collections] == pytest.approx([100, 100])
    assert {len(shares(steps)) for steps in axes.collections} == {40}
    means = sorted(line.get_xdata()[0] for line in axes.lines)
    values = pd.DataFrame(rows).query("metric == 'margin'").groupby("method")["value"].mean()
    assert means == pytest.approx(sorted(values))


def test_curves_on_the_left_examples_on_the_right() -> None:
    curves, histogram = drawn(both(), BOTH).axes
    assert [list(line.get_ydata()) for line in curves.lines] == [[10, 20], [10, 20]]
    assert [shares(steps).sum() for steps in histogram.collections] == pytest.approx([100, 100])
    means = sorted(line.get_xdata()[0] for line in histogram.lines)
    assert means == pytest.approx(
        sorted(pd.DataFrame(both()).query("metric == 'gamma'").groupby("method")["value"].mean())
    )


def test_the_scatter_says_how_many_are_in_each_quadrant() -> None:
    rows = examples(("at",))
    wide = pd.DataFrame(rows).pivot(index="index", columns="metric", values="value")
    robust = 100 * ((wide["margin"] > 0) & (wide["margin_attacked"] > 0)).mean()
    texts = [text.get_text() for axes in drawn(rows, SCATTER).axes for text in axes.texts]
    assert f"{robust:.1f} %" in texts and len(texts) == 4


def test_the_surface_is_coloured_by_what_is_wrong() -> None:
    figure = drawn(plane(), SURFACES)
    perspective = [axes for axes in figure.axes if axes.name == "3d"]
    assert len(perspective) == 2 and len(figure.axes) == 4
    colours = {tuple(np.round(face, 2)) for face in perspective[0].collections[0].get_facecolor()}
    assert len(colours) > 1
    right = [row | {"value": 0.0} if row["metric"] == "misclassified" else row for row in plane()]
    maps = [axes for axes in drawn(right, SURFACES).axes if axes.name != "3d"]
    assert not maps[0].collections[0].get_array().any()


def test_the_curve_joins_the_points_in_the_order_of_the_factor() -> None:
    lines = drawn(curve(), CURVE).axes[0].lines
    assert [list(line.get_xdata()) for line in lines] == [[1, 2, 4], [2, 4, 8]]


def test_a_metric_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no row has a metric"):
        drawn(curve(), item("paths", ["method", "beta"], ["x"], x="z", y="z", along="beta", hue="method"))
    with pytest.raises(ConfigError, match="no column"):
        drawn(curve(), item("paths", ["method", "beta"], ["x"], x="x", y="y", along="gamma", hue="method"))
