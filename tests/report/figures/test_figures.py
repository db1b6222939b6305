"""Figures draw the values of the CSV, ours and the printed ones, and the same rows give the same bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawn import curves_of, error_bars, line_points, mark_points
from made_up import (
    L2,
    LINF,
    accuracy_rows,
    eigenvalue_rows,
    landscape_rows,
    make_item,
    path_rows,
    plane_rows,
    printed_accuracies,
    progress_rows,
    surface_rows,
    transfer_rows,
)
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from robustscape import catalog
from robustscape.config.loading import load_experiment
from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures import _parts
from robustscape.report.items import aggregate_repetitions, select_metrics

FACTORS = ["dataset", "architecture", "noise", "norm", "eps"]
CONFIG = Path(__file__).parents[3] / "config"


def case(name: str) -> tuple[Item, pd.DataFrame]:
    """A figure item and its rows."""
    metrics: list[str] = []
    printed = None
    if name == "curves":
        rows, factors, metrics = landscape_rows(points=9), [*FACTORS, "alpha"], ["loss", "loss_centred", "sharpness"]
        options = {"x": "alpha", "hue": "eps", "panel": "noise", "metrics": ["loss", "loss_centred"]}
    elif name == "points":
        rows, factors, printed = accuracy_rows(), FACTORS, printed_accuracies()
        options = {"x": "eps", "hue": "metric", "points": True}
    elif name == "eigenvalues":
        rows, factors = eigenvalue_rows(), ["norm", "eps", "convention", "rank"]
        options = {"x": "eps", "hue": "rank", "dash": "convention", "panel": "norm", "points": True, "share": False}
    elif name == "bars":
        rows, factors, printed = accuracy_rows(), FACTORS, printed_accuracies()
        metrics = ["robust_train_accuracy", "robust_test_accuracy"]
        options = {"x": "eps", "hue": "metric"}
    elif name == "heatmap":
        rows, factors, options = transfer_rows(), ["source", "target"], {"x": "target", "y": "source"}
        printed = rows[rows["seed"] == 0][[*factors, "metric", "value", "unit"]].assign(
            value=lambda r: r["value"] - 3.25
        )
    elif name == "planes":
        rows, factors, options = plane_rows(), ["panel", "layer", "method", "point"], {"labels": {"(b)": ["t", "loss"]}}
    elif name == "paths":
        rows, factors, options = path_rows(), ["panel", "shape", "place"], {"x": "x_1", "y": "x_2", "along": "place"}
        options |= {"hue": "shape", "panel": "panel", "grey": ["ball"], "equal": True}
    elif name == "progress":
        rows, factors, metrics = progress_rows(), ["method", "epoch"], ["train_accuracy", "test_accuracy", "seconds"]
        options = {"x": "epoch", "hue": "method", "against": ["seconds"], "points": True}
    else:
        rows, factors = surface_rows(7), ["eps", "alpha", "beta"]
        options = {"metric": "loss", "panel": "eps", "wrap": 4, "share_z": True}
    item = make_item(
        names={"RANDOM": "random noise"},
        colours={"1": 0, "2": 1, "3": 2} if name == "eigenvalues" else {},
        kind="figure",
        draw="curves" if name in CURVES else name,
        title="A title",
        factors=factors,
        metrics=metrics,
        options=options,
    )
    return item, aggregate_repetitions(select_metrics(rows, factors, metrics), factors, printed).assign(scale="small")


def drawn_again(rows: pd.DataFrame, item: Item, **changes) -> Figure:
    return catalog.load_function("figure", item.draw)(rows, item, **{**item.options, **changes})


def drawn(name: str, **changes) -> tuple[Figure, pd.DataFrame]:
    item, rows = case(name)
    return drawn_again(rows, item, **changes), rows


#: Cases of the figure ``curves``.
CURVES = ["progress", "curves", "points", "eigenvalues"]
NAMES = [
    *CURVES,
    "paths",
    "bars",
    "heatmap",
    "surface_3d",
    "planes",
]


def texts(figure: Figure) -> str:
    return " ".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))


def test_every_figure_of_the_catalogue_is_tested() -> None:
    """Each figure is tested here on made-up rows, or by name in another file of this folder."""
    others = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__))
    untested = set(catalog.catalog_entries("figure")) - set(NAMES)
    assert not [name for name in untested if not re.search(rf"\b{name}\b", others)]


@pytest.mark.parametrize("name", NAMES)
def test_same_bytes_without_dates_and_the_users_settings_untouched(name: str) -> None:
    before = dict(matplotlib.rcParams)
    first, second = (style.render_figure(drawn(name)[0]) for _ in range(2))
    assert dict(matplotlib.rcParams) == before
    assert first == second
    assert first[".png"].startswith(b"\x89PNG") and first[".svg"].startswith(b"<?xml")
    assert b"<dc:date>" not in first[".svg"] and b"Matplotlib v" not in first[".svg"]
    assert b"Software" not in first[".png"] and len(first[".png"]) > 10_000


@pytest.mark.parametrize("name", NAMES)
def test_title_footer_and_axes_are_labelled(name: str) -> None:
    figure, _ = drawn(name)
    assert figure.get_suptitle() == "A title"
    footer = " ".join(figure.get_supxlabel().split())
    assert (
        "scale small" in footer
        and "stand-in: digits_01 for MNIST 0/1" in footer
        and "not the study's own protocol" in footer
    )
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert all(axes.get_ylabel() for axes in panels if axes.get_subplotspec().is_first_col())
    assert all(axes.get_xlabel() for axes in panels if axes.get_subplotspec().is_last_row())


def test_curves_draw_the_means_and_bands() -> None:
    figure, rows = drawn("curves")
    assert len(figure.axes) == 4
    wanted = rows[(rows["metric"] == "loss") & (rows["noise"] == "PGD") & (rows["eps"] == 0.6)]
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 9]
    assert len(lines) == len(L2)
    np.testing.assert_allclose(lines[3].get_ydata(), wanted["value"])
    band = figure.axes[0].patches[3].get_path().vertices
    assert band[:, 1].max() == pytest.approx((wanted["value"] + wanted["std"]).max())
    assert figure.axes[0].patches[3].get_facecolor()[:3] == pytest.approx(to_rgb(lines[3].get_color()))
    narrow, _ = drawn("curves", standard_error=True)
    assert narrow.axes[0].patches[3].get_path().vertices[:, 1].max() == pytest.approx(
        (wanted["value"] + wanted["std"] / np.sqrt(wanted["n"])).max()
    )
    assert wanted["n"].min() > 1 and "mean ± standard error over" in texts(narrow)
    assert "mean ± standard deviation over" in texts(figure)
    centred = [line for line in figure.axes[2].lines if len(line.get_xdata()) == 9]
    assert all(line.get_ydata()[4] == 0 for line in centred)
    assert "loss (nats)" in texts(figure) and "rise in loss (nats)" in texts(figure) and "random noise" in texts(figure)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_curves_say_what_stands_in_for_a_panels_data_set() -> None:
    factors = [*FACTORS, "alpha"]
    rows = pd.concat(
        landscape_rows("Linf", LINF, 5, dataset=d, stand_in=f"fashion_14 for {d}, small_cnn for resnet18")
        for d in ("cifar10", "svhn")
    )
    item = make_item(kind="figure", draw="curves", factors=factors, options={"x": "alpha"}, metrics=["loss"])
    table = aggregate_repetitions(rows[(rows["noise"] == "PGD") & (rows["metric"] == "loss")], factors)
    figure = catalog.load_function("figure", "curves")(table, item, x="alpha", hue="eps", panel="dataset")
    assert [axes.get_title() for axes in figure.axes] == [
        "CIFAR-10\n(fashion_14 stands in)",
        "SVHN\n(fashion_14 stands in)",
    ]
    assert "small_cnn for ResNet18" in figure.get_supxlabel()


def test_printed_points_are_where_the_paper_has_them() -> None:
    figure, rows = drawn("points")
    tests = rows[rows["metric"] == "robust_test_accuracy"]
    printed = rows.dropna(subset=["paper_value"])
    wanted = sorted(zip(printed["eps"], printed["paper_value"], strict=True))
    np.testing.assert_allclose(mark_points(figure.axes[0], "white"), wanted)
    (diamonds,) = [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    assert {to_hex(edge) for edge in diamonds.get_edgecolor()} == {to_hex(colour) for colour in style.OKABE_ITO[:2]}
    assert diamonds.get_zorder() > max(line.get_zorder() for line in figure.axes[0].lines)
    assert "printed in the paper" in texts(figure)
    assert [axes.get_ylabel() for axes in figure.axes] == ["accuracy (%)", "generalization gap (points)"]
    ours = [line for line in curves_of(figure.axes[0]) if line.get_marker() == "s"]
    np.testing.assert_allclose([y for _, y in line_points(ours[0])], tests["value"])
    dotted = [line for line in curves_of(figure.axes[0]) if line.get_color()[3] == pytest.approx(0.8)]
    np.testing.assert_allclose(sorted(line_points(dotted[0]) + line_points(dotted[1])), wanted)


def test_a_place_is_marked_in_every_panel_where_the_csv_has_it() -> None:
    """kim2023 figure 2.2: a dashed line at the batch of the collapse."""
    item, rows = case("points")
    turn = rows.iloc[:1].assign(metric="turn", value=0.01, eps=np.nan, paper_value=np.nan)
    figure = drawn_again(pd.concat([rows, turn]), item, upright="turn")
    dashed = [[line for line in axes.lines if line.get_color() == style.INK] for axes in figure.axes]
    assert [[line.get_xdata()[0] for line in lines] for lines in dashed] == [[0.01]] * len(figure.axes)
    assert "turn" in texts(figure)
    absent = drawn_again(rows, item, upright="turn")
    assert not any(line.get_color() == style.INK for axes in absent.axes for line in axes.lines)
    assert "turn" not in texts(absent)
    with pytest.raises(ConfigError, match="'turn' has 2 values"):
        drawn_again(pd.concat([rows, turn, turn]), item, upright="turn")


def test_no_legend_entry_for_the_paper_without_printed_numbers() -> None:
    item, rows = case("points")
    figure = drawn_again(rows.assign(paper_value=np.nan), item)
    assert "printed in the paper" not in texts(figure)


def test_eigenvalues_show_ranks_and_conventions() -> None:
    figure, rows = drawn("eigenvalues")
    assert [axes.get_title() for axes in figure.axes] == ["L2", "L∞"]
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == ["1", "2", "3", "fixed", "total"]
    lines = curves_of(figure.axes[0])
    assert len(lines) == 6
    top = rows[(rows["norm"] == "L2") & (rows["rank"] == 1) & (rows["convention"] == "total")]
    np.testing.assert_allclose([y for _, y in line_points(lines[3])], top["value"])
    assert lines[3].get_color()[:3] == pytest.approx(style.darker(style.OKABE_ITO[0], 0.55))
    assert [line.get_marker() for line in lines] == ["o", "s", "^", "", "", ""]
    assert [t.get_text() for t in figure.axes[1].get_xticklabels()] == ["0", "4/255", "8/255", "12/255", "16/255"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"against": ["secnds"]}, "no row has a metric of ['secnds']"),
        ({"against": ["seconds"], "panel": "method"}, "'against' is for figures without 'panel'"),
        ({"hue": None, "stars": {"a": 1.0}}, "'stars' is for figures with 'hue'"),
        ({"bars": "variance"}, "no row has a metric of ['variance']"),
    ],
)
def test_options_of_curves_that_do_not_fit_are_refused_in_words(change: dict[str, Any], message: str) -> None:
    item, rows = case("progress")
    item = item.model_copy(update={"options": {**item.options, **change}})
    with pytest.raises(ConfigError, match=re.escape(message)):
        drawn_again(rows, item)


def test_a_band_is_one_standard_deviation_on_each_side() -> None:
    """On the first line of the solid look of a figure with two looks."""
    item, rows = case("eigenvalues")
    axes = drawn_again(rows.assign(std=0.25), item).axes[0]
    line, band = curves_of(axes)[0], axes.patches[0].get_path().vertices
    for x, y in line_points(line):
        edges = [place for at, place in band if at == pytest.approx(x)]
        assert min(edges) == pytest.approx(y - 0.25) and max(edges) == pytest.approx(y + 0.25)


@pytest.mark.parametrize("name", CURVES)
def test_nothing_repeated_draws_no_bands(name: str) -> None:
    item, rows = case(name)
    assert drawn_again(rows, item).axes[0].patches
    assert not drawn_again(rows.assign(std=np.nan), item).axes[0].patches


def test_bars_have_the_heights_and_diamonds_of_the_csv() -> None:
    figure, rows = drawn("bars")
    bars = sorted(figure.axes[0].patches, key=lambda patch: patch.get_x())
    train = rows[rows["metric"] == "robust_train_accuracy"]
    np.testing.assert_allclose([patch.get_height() for patch in bars[::2]], train["value"])
    assert all(patch.get_y() == 0 for patch in bars)
    assert {to_hex(patch.get_facecolor()) for patch in bars[::2]} == {to_hex(style.OKABE_ITO[0])}
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    diamonds = sorted(point for line in marks for point in line_points(line))
    np.testing.assert_allclose([y for _, y in diamonds[::2]], train["paper_value"])
    middles = [patch.get_x() + patch.get_width() / 2 for patch in bars]
    np.testing.assert_allclose([x for x, _ in diamonds], middles)
    np.testing.assert_allclose([x for x, _, _ in error_bars(figure.axes[0])], middles)


def test_heatmap_cells_carry_ours_and_the_papers() -> None:
    figure, _ = drawn("heatmap")
    cells = [t.get_text() for t in figure.axes[0].texts]
    assert cells[0] == "95.50\n(91.75)" and len(cells) == 16
    assert figure.axes[0].get_ylim()[0] > figure.axes[0].get_ylim()[1]  # words: the first on top
    item, rows = case("surface_3d")
    above = catalog.load_function("figure", "heatmap")(rows, item, x="alpha", y="beta", panel="eps")
    assert above.axes[0].get_ylim()[0] < above.axes[0].get_ylim()[1]  # numbers: the smallest below
    assert above.axes[0].collections[0].get_clim() == above.axes[1].collections[0].get_clim()


def test_surfaces_share_heights_unless_told_otherwise() -> None:
    shared, _ = drawn("surface_3d")
    assert shared.axes[0].get_zlim() == shared.axes[1].get_zlim()
    free, _ = drawn("surface_3d", share_z=False)
    assert free.axes[0].get_zlim() != free.axes[1].get_zlim()
    assert "height: loss (nats)" in texts(shared) and shared.axes[1].get_title() == "ε = 8/255"


@pytest.mark.parametrize("name", ["curves", "points", "bars"])
def test_a_factor_on_no_axis_is_refused(name: str) -> None:
    item, rows = case(name)
    doubled = pd.concat([rows, rows.assign(dataset="svhn")])
    with pytest.raises(ConfigError, match="several values at one place; they differ in dataset"):
        drawn_again(doubled, item)
    with pytest.raises(ConfigError, match=r"no column \['colour'\]"):
        drawn_again(rows, item, x="colour")
    with pytest.raises(ConfigError, match=r"no row has a metric of \['lss'\]"):
        drawn_again(rows, item, metrics=["lss"])


def test_raised_flags_are_in_the_footer() -> None:
    item, rows = case("points")
    rows = rows.assign(flag_randomised=True)
    assert "FLAGS: randomised (18 of 18 numbers)" in " ".join(drawn_again(rows, item).get_supxlabel().split())


def test_colours_are_distinct_and_ordered_for_numbers() -> None:
    assert len({tuple(c) for c in style.colours(list(range(8)), {})}) == 8
    light = [np.dot(c[:3], (0.299, 0.587, 0.114)) for c in style.colours([0.0, 0.1, 0.2, 0.3], {})]
    assert light == sorted(light) and light[-1] < 0.85
    assert style.colours(["PGD", "RANDOM"], {}) == list(style.OKABE_ITO[:2])


def test_a_method_has_one_colour_whatever_stands_beside_it() -> None:
    places = load_experiment(CONFIG, "small").studies["kim2023"].items["figure_2_4"].colours
    assert style.colours(["bat", "trades"], places) == style.colours(["at", "trades", "bat"], places)[:0:-1]
    assert style.colours(["new", "fast_at"], places)[1] == style.colours(["fast_at"], places)[0]
    assert len(set(style.colours(["at", "fast_at", "x", "y", "trades"], places))) == 5


def test_titles_fit_the_narrowest_figure() -> None:
    figure = style.panel_figure(1, 1)[0]
    titles = [
        item.title for study in load_experiment(CONFIG, "small").studies.values() for item in study.items.values()
    ]
    assert len(titles) > 90
    for title in titles:
        style.dress_figure(figure, title, "")
        box = figure._suptitle.get_window_extent(FigureCanvasAgg(figure).get_renderer())
        assert box.x1 <= figure.bbox.x1, title
        assert " ".join(figure.get_suptitle().split()) == title


def test_lines_are_wrapped_evenly() -> None:
    assert style.wrap_text("", 10) == ""
    assert style.wrap_text("one two three four five six", 24) == "one two three\nfour five six"
    assert style.wrap_text("short", 24) == "short"


def test_a_lone_column_lies_on_its_side_and_epochs_are_whole() -> None:
    rows = pd.concat([progress_rows(), progress_rows().assign(method="at")])
    rows = aggregate_repetitions(rows[rows["metric"] != "seconds"].drop_duplicates(), ["method", "epoch"])
    item = make_item(kind="figure", draw="curves", options={"x": "epoch", "hue": "method"}, factors=["method", "epoch"])
    figure = catalog.load_function("figure", "curves")(rows, item, **item.options)
    figure.draw_without_rendering()
    assert len(figure.axes) == 2 and len({axes.get_position().y0 for axes in figure.axes}) == 1
    for axes in figure.axes:
        assert axes.get_xlabel() == "epoch" and axes.get_ylabel()
        assert all(tick % 1 == 0 for tick in axes.get_xticks())


def test_narrow_logarithmic_axes_have_plain_numbers() -> None:
    figure, grid = style.panel_figure(1, 1)
    grid[0, 0].plot([1, 2], [0.4, 4.5])
    _parts.set_log_y(grid[0, 0])
    figure.draw_without_rendering()
    said = [label.get_text() for label in grid[0, 0].get_yticklabels()]
    assert {"0.5", "1", "2"} <= set(said)


@pytest.mark.parametrize(("count", "text"), [(0, "not measured"), (3, "nan")])
def test_a_panel_of_missing_numbers_says_so(count: int, text: str) -> None:
    """Diverged runs were measured; a table, too, shows them as nan."""
    item, rows = case("curves")
    figure = catalog.load_function("figure", "curves")(
        rows.assign(value=np.nan, paper_value=np.nan, n=count), item, **item.options
    )
    assert {label.get_text() for axes in figure.axes for label in axes.texts} >= {text}
