"""Pictures side by side, read from the pixels that their rows carry: filtered, noisy and adversarial images."""

from __future__ import annotations

import base64
from collections.abc import Mapping
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

#: Inches of a picture's side, most pictures in a line of those that have no column, and the room for a row's name.
SIDE, MARGIN = 1.15, 1.9


@style.styled
def image_grid(
    rows: pd.DataFrame,
    item: Item,
    *,
    down: list[str],
    across: list[str],
    numbers: bool = True,
    acknowledged: list[str] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
) -> Figure:
    """Return a grid of the pictures of ``rows``; under each stands its number, or its note if it has one.

    Pictures without a level of the first factor of ``across`` come first, in lines of their own, under the names of the last
    factor of ``down``.

    Args:
        rows: the item's CSV, with the columns ``pixels``, ``height``, ``width``, ``channels``, and perhaps ``note``.
        item: the item as the study describes it.
        down: factors of the lines, outermost first.
        across: factors of the columns, outermost first.
        numbers: write the numbers under the pictures.
        acknowledged: known flags, which the footer does not list.

    Raises:
        ConfigError: no row has a picture, or two pictures have one place.
    """
    _parts.require_columns(rows, item, *down, *across)
    has_pixels = rows["pixels"].notna() if "pixels" in rows else pd.Series(data=False, index=rows.index)
    pictures = rows[has_pixels]
    if pictures.empty:
        raise ConfigError(f"figure '{item.title}': no row has a picture.")
    apart = pictures[across[0]].isna()
    strips = [part for _, part in pictures[apart].groupby(down[:-1], sort=False)] if len(down) > 1 else []
    lines, columns = _places(pictures[~apart], down), _places(pictures[~apart], across)
    placed = _by_place(pictures[~apart], item, [*down, *across])
    width = max(len(columns), *(len(strip) for strip in strips), 1)
    high = SIDE + (0.22 if numbers else 0.05)
    size = max(6.4, SIDE * width + MARGIN), high * (len(lines) + len(strips)) + 1.1
    figure = style.empty_figure(*size, pad=(0.03, 0.03))
    grid = figure.subplots(len(strips) + len(lines), width, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, strip in enumerate(strips):
        for place, row in enumerate(strip.to_dict("records")):
            _draw(grid[line, place], row, numbers)
            grid[line, place].set_title(display_name(str(row[down[-1]]), item.names), fontsize=9.5)
        _name(grid[line, 0], " ".join(display_name(str(strip[f].iloc[0]), item.names) for f in down[:-1]))
    texts = {factor: _texts(rows, factor, item.names) for factor in (*down, *across)}
    for number, at in enumerate(lines):
        for place, level in enumerate(columns):
            axes = grid[len(strips) + number, place]
            if (*at, *level) in placed:
                _draw(axes, placed[(*at, *level)], numbers)
            if number == 0:
                axes.set_title("\n".join(t for t in _said(level, across, texts) if t), fontsize=9.5)
        _name(grid[len(strips) + number, 0], "\n".join(_said(at, down, texts)))
    return _parts.finish_figure(figure, item, rows, acknowledged)


def decode_picture(row: Mapping[Any, Any]) -> NDArray[np.uint8]:
    """Return the picture of a row, uint8 (H, W, C).

    >>> decode_picture({"pixels": "AP8=", "height": 1, "width": 2, "channels": 1}).ravel().tolist()
    [0, 255]
    """
    flat = np.frombuffer(base64.b64decode(row["pixels"]), dtype=np.uint8)
    return flat.reshape(int(row["height"]), int(row["width"]), int(row["channels"]))


def _draw(axes: Axes, row: Mapping[Any, Any], numbers: bool) -> None:
    """Draw the picture of a row in a thin frame, with its number or note below; pale if it has a note."""
    picture = decode_picture(row)
    note = row.get("note")
    noted = isinstance(note, str) and bool(note)
    shown = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    axes.imshow(shown, interpolation="nearest", alpha=0.45 if noted else 1.0)
    axes.set_axis_on()
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.6, edgecolor=style.GREY)
    text = str(note) if noted else format_number(float(row["value"]), str(row["unit"])) if numbers else ""
    axes.set_xlabel(f"{text}%" if text and not noted and row["unit"] == "percent" else text, fontsize=8, labelpad=2)


def _name(axes: Axes, text: str) -> None:
    """Write the name of a line to the left of its first picture."""
    axes.annotate(
        text, (0, 0.5), xytext=(-6, 0), xycoords="axes fraction", textcoords="offset points", ha="right", va="center",
        fontsize=9.5, annotation_clip=False,
    )  # fmt: skip


def _places(rows: pd.DataFrame, factors: list[str]) -> list[tuple[Any, ...]]:
    """Return the combinations of levels in the order of the CSV, outer levels together."""
    orders = [list(rows[factor].drop_duplicates()) for factor in factors]
    found = {tuple(values) for values in rows[factors].itertuples(index=False)}
    return sorted(found, key=lambda place: [order.index(v) for order, v in zip(orders, place, strict=True)])


def _by_place(rows: pd.DataFrame, item: Item, factors: list[str]) -> dict[tuple[Any, ...], Mapping[Any, Any]]:
    doubled = rows[rows.duplicated(factors)]
    if not doubled.empty:
        raise ConfigError(f"figure '{item.title}': several pictures have one place by {', '.join(factors)}.")
    return {tuple(row[factor] for factor in factors): row for row in rows.to_dict("records")}


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
