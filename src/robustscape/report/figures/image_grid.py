"""Pictures side by side, read from the pixels that their rows carry: filtered, noisy and adversarial images."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.report import style
from robustscape.report.figures import _parts
from robustscape.report.words import display_name, format_number, is_number, level_texts

#: Inches of a picture's side, and the room for a row's name.
SIDE, MARGIN = 1.15, 1.9


@style.styled
def image_grid(rows: pd.DataFrame, item: Item, *, down: list[str], across: list[str]) -> Figure:
    """Return a grid of the pictures of ``rows``; under each stands its number, or its note if it has one.

    Pictures without a level of the first factor of ``across`` come first, in lines of their own, under the names of the last
    factor of ``down``.

    Args:
        rows: the item's CSV, with the columns ``pixels``, ``height``, ``width``, ``channels``, and perhaps ``note``.
        item: the item as the study describes it.
        down: factors of the lines, outermost first.
        across: factors of the columns, outermost first.

    Raises:
        ConfigError: no row has a picture, or two pictures have one place.
    """
    _parts.require_columns(rows, item, *down, *across)
    pictures = rows[rows["pixels"].notna()] if "pixels" in rows else rows[:0]
    if pictures.empty:
        raise ConfigError(f"figure '{item.title}': no row has a picture.")
    apart, placed = pictures[pictures[across[0]].isna()], pictures[pictures[across[0]].notna()]
    if placed.duplicated([*down, *across]).any():
        raise ConfigError(f"figure '{item.title}': several pictures have one place by {', '.join([*down, *across])}.")
    texts = {factor: _texts(rows, factor, item.names) for factor in (*down, *across)}
    columns = _places(placed, across)
    titles = ["\n".join(filter(None, _said(level, across, texts))) for level in columns]
    lines: list[tuple[str, Sequence[str], list[Any]]] = []
    for _, strip in apart.groupby(down[:-1], sort=False) if len(down) > 1 else []:
        name = " ".join(display_name(str(strip[factor].iloc[0]), item.names) for factor in down[:-1])
        lines.append(
            (name, [display_name(str(level), item.names) for level in strip[down[-1]]], strip.to_dict("records"))
        )
    found = {tuple(row[factor] for factor in (*down, *across)): row for row in placed.to_dict("records")}
    for number, at in enumerate(_places(placed, down)):
        cells = [found.get((*at, *level)) for level in columns]
        lines.append(("\n".join(_said(at, down, texts)), titles if number == 0 else [""] * len(titles), cells))
    wide = max(len(cells) for _, _, cells in lines)
    size = max(6.4, SIDE * wide + MARGIN), (SIDE + 0.22) * len(lines) + 1.1
    figure = style.empty_figure(*size, pad=(0.03, 0.03))
    grid = figure.subplots(len(lines), wide, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, (name, above, cells) in zip(grid, lines, strict=True):
        look = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
        line[0].annotate(name, (0, 0.5), xytext=(-6, 0), ha="right", va="center", fontsize=9.5, **look)
        for axes, title, cell in zip(line, above, cells, strict=False):
            axes.set_title(title, fontsize=9.5)
            if cell is not None:
                _draw(axes, cell)
    return _parts.finish_figure(figure, item, rows)


def decode_picture(row: Mapping[Any, Any]) -> NDArray[np.uint8]:
    """Return the picture of a row, uint8 (H, W, C).

    >>> decode_picture({"pixels": "AP8=", "height": 1, "width": 2, "channels": 1}).ravel().tolist()
    [0, 255]
    """
    flat = np.frombuffer(base64.b64decode(row["pixels"]), dtype=np.uint8)
    return flat.reshape(int(row["height"]), int(row["width"]), int(row["channels"]))


def _draw(axes: Axes, row: Mapping[Any, Any]) -> None:
    """Draw the picture of a row in a thin frame, with its number or note below; pale if it has a note."""
    picture = decode_picture(row)
    note = row.get("note")
    noted = isinstance(note, str) and bool(note)
    shown = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    axes.imshow(shown, interpolation="nearest", alpha=0.45 if noted else 1.0)
    axes.set_axis_on()
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, linewidth=0.6, edgecolor=style.GREY)
    number = format_number(float(row["value"]), str(row["unit"])) + "%" * (row["unit"] == "percent")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(str(note) if noted else number, fontsize=8, labelpad=2)


def _places(rows: pd.DataFrame, factors: list[str]) -> list[tuple[Any, ...]]:
    """Return the combinations of levels in the order of the CSV, outer levels together."""
    orders = [list(rows[factor].drop_duplicates()) for factor in factors]
    found = {tuple(values) for values in rows[factors].itertuples(index=False)}
    return sorted(found, key=lambda place: [order.index(v) for order, v in zip(orders, place, strict=True)])


def _texts(rows: pd.DataFrame, factor: str, names: Mapping[str, str]) -> dict[Any, str]:
    """Return the text of each level of a factor; numbers with the factor's name, data sets with what stood in for them."""
    found = level_texts(rows[factor].dropna().unique(), names)
    if factor == "dataset":
        return {level: _parts.panel_title(rows, factor, level, names=names) for level in found}
    return {
        level: f"{display_name(factor, names)} {text}" if is_number(level) else text for level, text in found.items()
    }


def _said(place: tuple[Any, ...], factors: list[str], texts: dict[str, dict[Any, str]]) -> list[str]:
    return [texts[factor].get(level, "") for factor, level in zip(factors, place, strict=True)]
