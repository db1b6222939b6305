"""liu2020, the sketch of a flat and a sharp minimum (figure 4, after Keskar et al. 2017).

The test loss is the shifted training loss, which has a wide and a narrow well of the same depth:

    L(t) = 1 - D exp(-(t + 2)^2 / (2 s_flat^2)) - D exp(-(t - 2)^2 / (2 s_sharp^2)),    L_test(t) = L(t - shift)
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

Array = NDArray[np.float64]

#: Positions of the wells.
CENTRES = {"flat": -2.0, "sharp": 2.0}


def training_loss(theta: Array, widths: dict[str, float], depth: float) -> Array:
    """Return L(theta), elementwise; ``widths`` are those of the two wells and ``depth`` is D."""
    wells = [np.exp(-((theta - CENTRES[name]) ** 2) / (2 * width**2)) for name, width in widths.items()]
    return 1.0 - depth * np.sum(wells, axis=0)


def flat_and_sharp(
    *,
    flat: Annotated[float, Field(gt=0)] = 1.0,
    sharp: Annotated[float, Field(gt=0)] = 0.2,
    depth: Annotated[float, Field(gt=0, lt=1)] = 0.9,
    shift: Annotated[float, Field(gt=0)] = 0.3,
    points: Annotated[int, Field(ge=3)] = 301,
    span: Annotated[float, Field(gt=0)] = 5.0,
) -> list[dict[str, Any]]:
    """Return rows ``loss`` of the curves "train" and "test" on a grid of theta, and ``loss_gap`` (test - train) at each minimum.

    Args:
        flat: width of the flat minimum.
        sharp: width of the sharp minimum.
        depth: depth of both minima.
        shift: shift of the test loss.
        points: number of values of theta.
        span: theta runs from -span to span.
    """
    widths = {"flat": flat, "sharp": sharp}
    theta = np.linspace(-span, span, points)
    curves = {"train": training_loss(theta, widths, depth), "test": training_loss(theta - shift, widths, depth)}
    rows: list[dict[str, Any]] = [
        {"curve": curve, "minimum": None, "theta": t, "metric": "loss", "value": v, "unit": "1"}
        for curve, values in curves.items()
        for t, v in zip(theta.tolist(), values.tolist(), strict=True)
    ]
    for name, centre in CENTRES.items():
        at = np.array([centre])
        gap = float((training_loss(at - shift, widths, depth) - training_loss(at, widths, depth))[0])
        rows.append({"curve": None, "minimum": name, "theta": None, "metric": "loss_gap", "value": gap, "unit": "1"})
    return rows
