"""Curves over logarithmic time: every panel has its lines, one look for how they were made, and a background for its phases."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from drawn import is_solid
from made_up import make_item
from matplotlib.colors import to_hex

from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures.panelled_curves import panelled_curves
from robustscape.report.items import aggregate_repetitions

FACTORS = ["optimizer", "gradient", "frequency", "iteration"]
OPTIONS: dict[str, Any] = {
    "x": "iteration",
    "log_x": True,
    "dash": "gradient",
    "looks": {"population": "broad", "closed_form": "black dashed"},
    "phase": "end",
    "panels": [
        {"metric": "error", "where": {"optimizer": "gd"}, "hue": "frequency", "title": "GD"},
        {"metric": "error", "where": {"optimizer": "signgd"}, "hue": "frequency"},
        {"metric": "risk", "hue": "optimizer", "log_y": True},
    ],
}


def made_up_rows() -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for optimizer, place in (("gd", 100), ("signgd", 10)):
        for gradient in ("population", "closed_form"):
            common = {"optimizer": optimizer, "gradient": gradient, "unit": "1"}
            for t in (1, 10, 100, 1000):
                for f in ("e0", "e1"):
                    rows.append({**common, "frequency": f, "iteration": t, "metric": "error", "value": place / t})
                rows.append({**common, "iteration": t, "metric": "risk", "value": 1 / t})
        rows.append({"optimizer": optimizer, "gradient": "population", "metric": "end", "value": place, "unit": "1"})
    return aggregate_repetitions(pd.DataFrame(rows), FACTORS).assign(scale="small")


def drawn(**options: Any) -> Any:
    item = make_item(kind="figure", draw="panelled_curves", factors=FACTORS, options={**OPTIONS, **options})
    return panelled_curves(made_up_rows(), item, **item.options)


def test_every_panel_has_its_lines() -> None:
    first, second, third = (axes for axes in drawn().axes if axes.axison)
    assert first.get_title() == "GD" and [len(axes.lines) for axes in (first, second, third)] == [4, 4, 4]
    assert first.lines[0].get_xydata().tolist() == [[1, 100], [10, 10], [100, 1], [1000, 0.1]]
    assert first.get_xscale() == second.get_xscale() == "log"
    assert (first.get_yscale(), third.get_yscale()) == ("linear", "log")


def test_a_closed_form_lies_on_top_as_black_dashes() -> None:
    for axes in drawn().axes[:3]:
        formulas = [to_hex(line.get_color()) == "#000000" for line in axes.lines]
        assert formulas == sorted(formulas) and sum(formulas) == len(formulas) / 2  # drawn last
        assert [is_solid(line) for line in axes.lines] == [not formula for formula in formulas]
        assert len({line.get_zorder() for line in axes.lines}) == 1


def test_the_background_changes_where_the_phase_ends() -> None:
    """In panels of one optimizer; a panel of both has no phase."""
    ends = []
    for axes in drawn().axes[:3]:
        spans = [patch.get_extents().transformed(axes.transData.inverted()) for patch in axes.patches]
        ends.append([round(span.x1) for span in spans])
    assert ends == [[100, 1000], [10, 1000], []]
    assert all(not axes.patches for axes in drawn(phase=None).axes)


def test_a_panel_without_rows_says_so() -> None:
    figure = drawn(panels=[*OPTIONS["panels"], {"metric": "error", "where": {"optimizer": "adam"}, "hue": "frequency"}])
    assert [text.get_text() for text in figure.axes[3].texts] == ["not measured"]


def test_a_panel_that_is_wrong_is_an_error() -> None:
    for panel, message in (
        ({"metric": "error", "hue": "frequency", "colour": 1}, "keys \\['colour'\\]"),
        ({"metric": "error", "hue": "layer"}, "no column \\['layer'\\]"),
        ({"metric": "error", "hue": "frequency"}, "several values at one place"),
    ):
        with pytest.raises(ConfigError, match=message):
            drawn(panels=[panel])


def test_the_same_rows_give_the_same_bytes() -> None:
    assert style.render_figure(drawn()) == style.render_figure(drawn())
