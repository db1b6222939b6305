"""One look for every figure: readable from the back of a room, by the colour-blind, and the same bytes every time.

It is a theme of seaborn, set while a figure is drawn and no longer. Figures are made without pyplot, so nothing global is touched
and no display is needed. The font ships with matplotlib.
"""

from __future__ import annotations

import functools
import io
import itertools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import MaxNLocator

from robustscape.config.studies import Item
from robustscape.report.words import is_number

#: Okabe & Ito (2008), distinct under every common colour vision; its yellow is too light for lines, so Tol's wine stands in.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#6B7280"
INK = "#1F2933"
#: Where sizes have an order, colour runs along viridis; its last tenth is too light on white.
SEQUENTIAL = "viridis"

#: Pixels per inch of the raster files: two to each CSS pixel of the page (``shown_item.CSS_PIXELS_PER_INCH``).
RASTER_DPI = 207

#: seaborn's theme "ticks" with our colours and sizes, as parameters of matplotlib.
THEME: dict[str, Any] = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("notebook"),
    "axes.prop_cycle": cycler(color=OKABE_ITO),
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11.5,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.title_fontsize": 10.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "axes.linewidth": 0.8,
    "xtick.major.size": 3.5,
    "xtick.major.width": 0.8,
    "xtick.minor.size": 2,
    "xtick.minor.width": 0.6,
    "ytick.major.size": 3.5,
    "ytick.major.width": 0.8,
    "ytick.minor.size": 2,
    "ytick.minor.width": 0.6,
    "patch.force_edgecolor": False,
    "image.cmap": SEQUENTIAL,
    "axes.edgecolor": "#9AA5B1",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": "#52606D",
    "ytick.color": "#52606D",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E7EB",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.9,
    "lines.markersize": 6,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 4),
    "svg.hashsalt": "robustscape",
    "svg.fonttype": "path",
}

P = ParamSpec("P")
R = TypeVar("R")


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Draw in the project's style, whatever the user's matplotlibrc says."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            sns.set_theme(rc=THEME, color_codes=False)
            matplotlib.rcParams.update(THEME)  # type: ignore[arg-type]  # set_theme has a font and a palette of its own
            return function(*args, **kwargs)

    return wrapper


@styled
def render_figure(figure: Figure) -> dict[str, bytes]:
    """The figure as ``.png`` (``RASTER_DPI``) and ``.svg``; the same figure gives the same bytes: no dates, no versions."""
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=RASTER_DPI, metadata={"Software": None})
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return {".png": png.getvalue(), ".svg": svg.getvalue()}


def colours(levels: Sequence[Any], places: Mapping[str, int]) -> list[Any]:
    """Return one colour per level: viridis in order for three and more numbers without places, else Okabe-Ito.

    ``places`` (``Item.colours``) are the places in ``OKABE_ITO`` that a work gives to its methods, so that a method has the
    same colour in every picture; the other levels take what is left. Of two levels of one place the first has it.
    """
    words = [f"{level:g}" if is_number(level) else level for level in levels]
    if len(levels) > 2 and all(is_number(level) for level in levels) and not set(words) & set(places):
        return list(matplotlib.colormaps[SEQUENTIAL](np.linspace(0.0, 0.88, len(levels))))
    taken = {places[level]: level for level in reversed(words) if level in places}
    rest = itertools.cycle([i for i in range(len(OKABE_ITO)) if i not in taken])
    known = {level: place for place, level in taken.items()}
    return [OKABE_ITO[known[level] if level in known else next(rest)] for level in words]


def palette(levels: Sequence[Any], item: Item) -> dict[Any, Any]:
    """Return level -> colour, in the order of ``levels``; see ``colours``."""
    return dict(zip(levels, colours(levels, item.colours), strict=True))


def darker(colour: Any, share: float) -> tuple[float, float, float]:
    """``colour`` with its light cut to ``share``."""
    red, green, blue = to_rgb(colour)
    return red * share, green * share, blue * share


def empty_figure(width: float, height: float, pad: tuple[float, float] = (0.08, 0.06)) -> Figure:
    """A figure without axes of this size in inches, title and footer included, whose layout leaves ``pad`` around them."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=pad[0], h_pad=pad[1])  # type: ignore[union-attr, call-arg]
    return figure


def room_for_panels(rows: int, columns: int, *, width: float = 4.3, height: float = 3.3) -> Figure:
    """An empty figure with room for panels of this size, and for a legend on the right."""
    return empty_figure(max(6.4, width * columns + 1.5), height * rows + 0.9)


def panel_figure(
    rows: int, columns: int, *, width: float = 4.3, height: float = 3.3, **subplots: Any
) -> tuple[Figure, Any]:
    """An empty figure and its axes (rows, columns), sized by what it holds; there is room for a legend on the right."""
    figure = room_for_panels(rows, columns, width=width, height=height)
    return figure, figure.subplots(rows, columns, squeeze=False, **subplots)


def wrap_text(text: str, width: int) -> str:
    """``text`` in as few lines as ``width`` letters allow, none much shorter than the others."""
    ways = [
        textwrap.wrap(text, even, break_on_hyphens=False, break_long_words=False)
        for even in range(width // 2, width + 1)
    ]
    best = min(ways, key=len)
    return "\n".join(best)


def dress_figure(figure: Figure, title: str, footer: str) -> None:
    """Title and footer, both flush left and broken to the figure's width; names of vertical axes to the axes' height."""
    inches = figure.get_figwidth()
    for axes in figure.axes:
        height = axes.get_position().height * figure.get_figheight()
        axes.set_ylabel(wrap_text(axes.get_ylabel(), max(12, int(height * 11))))
    figure.align_ylabels()
    figure.suptitle(wrap_text(title, int(inches * 8)), x=0.012, ha="left", fontsize=13.5, fontweight="bold")
    text = wrap_text(footer, int(inches * 15.5))
    figure.supxlabel(text, x=0.012, ha="left", fontsize=8.5, color=GREY)


def perspective(axes: Any, elevation: float = 32, azimuth: float = -58) -> None:
    """The look of a surface seen from the side: no walls, a light grid, few ticks."""
    axes.view_init(elev=elevation, azim=azimuth)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((1, 1, 1, 0))
        axis.set_tick_params(pad=0, labelsize=8)
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axis._axinfo["grid"].update(color="#D5DAE0", linewidth=0.5)


def legend(figure: Figure, handles: Sequence[Any], title: str | None = None) -> None:
    """One legend for all panels, on the right."""
    box = figure.legend(handles=handles, title=title, loc="outside right center", alignment="left", borderaxespad=0.2)
    box.set_in_layout(True)
