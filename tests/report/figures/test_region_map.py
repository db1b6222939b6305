"""Maps of named regions: cells are where the runs say, every large piece has its name, families share a colour."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import make_item

from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures.region_map import region_map
from robustscape.report.items import aggregate_repetitions
from robustscape.theory.ma2025._region_rows import finished_rows, path_rows, run_rows

FACTORS = ["panel", "layer", "label", "point"]
FAMILIES = {"left": ["A1", "A2"], "right": ["B"]}


def made_up_rows() -> pd.DataFrame:
    """A1 left below, A2 left above, B right; with a diagonal and a path."""
    across, up = np.meshgrid(np.arange(20), np.arange(10))
    masks = {"A1": (across < 10) & (up < 5), "A2": (across < 10) & (up >= 5), "B": across >= 10}
    drawn = run_rows("one", masks, (0.0, 2.0), (0.0, 1.0))
    drawn += path_rows("one", "line", "diagonal", [0.0, 5.0], [0.0, 5.0])
    drawn += path_rows("one", "steps", "from there", [0.2, 0.5, 1.5], [0.1, 0.6, 0.9])
    rows = finished_rows(drawn, [{"metric": "count", "value": 3.0}])
    return aggregate_repetitions(pd.DataFrame(rows), FACTORS).assign(scale="small")


def drawn(**options: Any) -> Any:
    options = {"families": FAMILIES, **options}
    names = {"A1": "first", "steps": "steps of it"}
    item = make_item(kind="figure", draw="region_map", factors=FACTORS, names=names, options=options)
    return region_map(made_up_rows(), item, **item.options)


def test_cells_lines_and_paths_are_where_the_rows_say() -> None:
    (axes,) = drawn(x_label="a", y_label="b").axes
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("one", "a", "b")
    (image,) = axes.images
    picture = image.get_array()
    assert image.get_extent() == pytest.approx([0, 2, 0, 1]) and picture.shape[0] == 10
    corners = {(0, 0): 0, (-1, 0): 1, (0, -1): 2, (-1, -1): 2}
    assert all(picture[place] == label for place, label in corners.items())
    assert (np.asarray(picture) == 2).mean() == pytest.approx(0.5)
    line, path, start = axes.lines
    assert line.get_xydata().tolist() == [[0, 0], [5, 5]] and axes.get_xlim() == (0, 2)  # cut off at the panel's edge
    assert path.get_xydata().tolist() == [[0.2, 0.1], [0.5, 0.6], [1.5, 0.9]]
    assert start.get_xydata().tolist() == [[0.2, 0.1]]


def test_every_piece_has_its_name_inside_it() -> None:
    (axes,) = drawn().axes
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert set(places) == {"first", "A2", "B"}
    assert places["first"][0] < 1 and places["first"][1] < 0.5 < places["A2"][1] and places["B"][0] > 1


def test_a_family_has_one_hue() -> None:
    (axes,) = drawn().axes
    hues = [colorsys.rgb_to_hls(*axes.images[0].cmap(i)[:3])[0] for i in range(3)]
    assert hues[0] == pytest.approx(hues[1], abs=1e-6) and abs(hues[0] - hues[2]) > 0.05
    assert axes.images[0].cmap(0) != axes.images[0].cmap(1)


def test_the_legend_names_families_lines_and_paths() -> None:
    legend = drawn().legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["left", "right", "diagonal", "steps of it"]


def test_a_label_without_a_family_is_an_error() -> None:
    with pytest.raises(ConfigError, match="every label needs one family; not so: \\['B'\\]"):
        drawn(families={"left": ["A1", "A2"]})
    with pytest.raises(ConfigError, match="every label needs one family"):
        drawn(families={"left": ["A1", "A2"], "right": ["B", "A1"]})


def test_the_same_rows_give_the_same_bytes() -> None:
    assert style.render_figure(drawn()) == style.render_figure(drawn())
