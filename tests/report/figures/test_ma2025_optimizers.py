"""The pictures of ma2025 chapter 4: image grids, spectra, clean against perturbed accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_up import make_item

from robustscape.config.studies import Item
from robustscape.errors import ConfigError
from robustscape.evaluation.pictures import picture_columns
from robustscape.report import style
from robustscape.report.figures.image_grid import decode_picture, image_grid
from robustscape.report.figures.severity_scatter import severity_scatter
from robustscape.report.figures.spectra import spectra
from robustscape.report.items import aggregate_repetitions
from robustscape.theory.ma2025.frequency_bands import frequency_bands


def as_item_rows(found: list[dict[str, Any]], item: Item, printed: pd.DataFrame | None = None) -> pd.DataFrame:
    frame = pd.DataFrame(found).assign(stand_in="", paper_protocol=False)
    return aggregate_repetitions(frame, item.factors, printed).assign(scale="small")


def grid_item(down: list[str], across: list[str], **keys: Any) -> Item:
    options = {"down": down, "across": across}
    return make_item(kind="figure", draw="image_grid", factors=[*down, *across], options=options, **keys)


def titles(figure: Any) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


@pytest.mark.parametrize("shape", [(1, 3, 4), (3, 5, 2), (4, 6)])
def test_pixels_come_back_as_they_were(shape: tuple[int, ...]) -> None:
    levels = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0))
    back = decode_picture(picture_columns(levels / 255))
    expected = levels[None] if len(shape) == 2 else levels
    assert (back == expected.permute(1, 2, 0).numpy()).all()
    beyond = decode_picture(picture_columns(torch.tensor([[-1.0, 2.0]])))
    assert beyond.ravel().tolist() == [0, 255]


def test_bands_are_two_lines_of_ten_pictures_with_their_numbers() -> None:
    item = grid_item(["shown"], ["band"])
    rows = as_item_rows(frequency_bands(size=12, draws=3), item)
    figure = image_grid(rows, item, **item.options)
    assert titles(figure) == [f"band {band}" for band in range(10)]
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == 20
    assert [axes.get_xlabel() for axes in drawn[:2]] == ["15", "15"]
    black = [bool((np.asarray(axes.images[0].get_array()) == 0).any()) for axes in drawn[:10]]
    assert all(black)
    assert style.render_figure(figure) == style.render_figure(image_grid(rows, item, **item.options))


def filtered_rows() -> list[dict[str, Any]]:
    picture = picture_columns(torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0)))
    rows = [
        {"panel": panel, "shown": shown, "p": p, "metric": "threshold_shown", "value": p, "unit": "percent", **picture}
        for panel in ("low_energy", "high_frequency")
        for shown in ("image", "mask")
        for p in (10, 90)
    ]
    original = [
        {"panel": "original", "shown": shown, "metric": "norm", "value": 2.0, "unit": "1", **picture}
        for shown in ("image", "spectrum", "log_spectrum")
    ]
    return [*original, *rows]


def test_pictures_without_a_column_stand_above() -> None:
    item = grid_item(["panel", "shown"], ["p"], names={"p": "p ="})
    figure = image_grid(as_item_rows(filtered_rows(), item), item, **item.options)
    assert titles(figure) == ["image", "spectrum", "log spectrum", "p = 10", "p = 90"]
    assert sum(bool(axes.images) for axes in figure.axes) == 3 + 8
    assert [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()][3:5] == ["10.00%", "90.00%"]
    with pytest.raises(ConfigError, match="no row has a picture"):
        image_grid(as_item_rows(filtered_rows(), item).assign(pixels=np.nan), item, down=["panel"], across=["p"])
    with pytest.raises(ConfigError, match="several pictures have one place"):
        image_grid(as_item_rows(filtered_rows(), item), item, down=["panel"], across=["p"])


def test_a_picture_with_a_note_is_pale_and_says_it() -> None:
    item = grid_item(["dataset"], ["image"])
    picture = picture_columns(torch.rand(1, 3, 3))
    found = [
        {
            "dataset": "mnist",
            "image": i,
            "metric": "perturbation_norm",
            "value": 0.5,
            "unit": "1",
            "note": note,
            **picture,
        }
        for i, note in enumerate(["", "not broken"])
    ]
    figure = image_grid(as_item_rows(found, item), item, **item.options)
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_xlabel() for axes in drawn] == ["0.5", "not broken"]
    assert drawn[0].images[0].get_alpha() == 1.0 > drawn[1].images[0].get_alpha()


def test_spectra_have_a_map_and_a_diagonal_on_both_scales() -> None:
    options = {"down": "dataset"}
    factors = ["dataset", "vertical", "horizontal", "frequency"]
    item = make_item(kind="figure", draw="spectra", factors=factors, options=options)
    found: list[dict[str, Any]] = [
        {"vertical": i, "horizontal": j, "metric": "mean_abs_dct", "value": 2.0 ** -(i + j)}
        for i in range(4)
        for j in range(4)
    ]
    found += [{"frequency": k, "metric": "diagonal_amplitude", "value": 4.0**-k} for k in range(4)]
    rows = as_item_rows([{"dataset": "cifar100", "unit": "1", **row} for row in found], item)
    figure = spectra(rows, item, **item.options)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == [
        "S",
        "diagonal of S",
        "S, logarithmic",
        "diagonal of S, logarithmic",
    ]
    first = np.asarray(panels[0].images[0].get_array())
    assert first[0, 0] == 1 and first[3, 3] == pytest.approx(2.0**-6) and first[0, 1] == 0.5
    np.testing.assert_allclose(panels[1].lines[0].get_ydata(), [1, 1 / 4, 1 / 16, 1 / 64])
    assert (panels[1].get_yscale(), panels[3].get_yscale()) == ("linear", "log")


def scatter_rows() -> list[dict[str, Any]]:
    levels = {"none": 98.0, "gaussian_variance": 90.0, "autoattack_l2_eps": 60.0, "autoattack_linf_eps": 50.0}
    return [
        {
            "dataset": d,
            "optimizer": o,
            "perturbation": p,
            "metric": "accuracy",
            "value": value - 5 * i - k,
            "unit": "percent",
        }
        for k, d in enumerate(("mnist", "cifar10"))
        for i, o in enumerate(("sgd", "adam", "rmsprop"))
        for p, value in levels.items()
    ]


def test_each_perturbation_is_a_panel_against_clean_accuracy() -> None:
    options = {"panel": "perturbation", "base": "none", "hue": "dataset", "marks": "optimizer", "metric": "accuracy"}
    factors = ["dataset", "optimizer", "perturbation"]
    item = make_item(kind="figure", draw="severity_scatter", factors=factors, options=options)
    printed = pd.DataFrame(scatter_rows()[:12]).assign(std=np.nan)
    printed["value"] += 1
    rows = as_item_rows(scatter_rows(), item, printed)
    figure = severity_scatter(rows, item, **item.options)
    assert titles(figure) == ["gaussian variance", "autoattack l2 eps", "autoattack linf eps"]
    panel = figure.axes[1]
    joined = [line for line in panel.lines if len(line.get_xdata()) == 3]
    assert [list(line.get_xdata()) for line in joined] == [
        [61, 56, 51],
        [60, 55, 50],
        [59, 54, 49],
    ]  # printed, ours, ours
    assert list(joined[1].get_ydata()) == [98, 93, 88]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:3] == ["sgd", "adam", "rmsprop"] and "open: printed in the paper" in texts
    with pytest.raises(ConfigError, match="no row of accuracy has perturbation = clean"):
        severity_scatter(rows, item, **{**options, "base": "clean"})
