"""The theme: it is seaborn's with ours on top, holds only while a figure is drawn, and rasters fit the page."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
import seaborn.objects as so

import robustscape
from robustscape.report import shown_item, style


def test_the_theme_holds_inside_and_only_there() -> None:
    before = dict(matplotlib.rcParams)
    seaborns = dict(so.Plot.config.theme)
    inside = style.styled(lambda: {key: matplotlib.rcParams[key] for key in style.THEME})()
    assert inside == {key: matplotlib.RcParams(style.THEME)[key] for key in style.THEME}
    assert dict(matplotlib.rcParams) == before and dict(so.Plot.config.theme) == seaborns


def test_a_raster_has_two_pixels_to_each_css_pixel_of_the_page() -> None:
    figure, _ = style.panel_figure(1, 1)
    png = style.render_figure(figure)[".png"]
    width, height, per_inch = shown_item._size_of_png(png)
    assert per_inch == pytest.approx(style.RASTER_DPI, abs=0.05)
    css = shown_item._CSS_PIXELS_PER_INCH
    assert 2 * css == style.RASTER_DPI
    assert struct.unpack(">II", png[16:24]) == (width, height)
    assert width == pytest.approx(2 * css * figure.get_figwidth(), abs=1)


def test_listing_does_not_import_what_only_drawing_needs() -> None:
    code = "import sys\nfrom robustscape.cli.main import main\nmain(['list', 'figures'])\n"
    code += "print([name for name in ('seaborn', 'matplotlib') if name in sys.modules])"
    root = Path(robustscape.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.splitlines()[-1] == "[]"
