"""A test image without its weakest, and without its highest, cosine coefficients: ma2025 figures 4.4 and 4.11 to 4.16.

Which image the work shows it does not say; here it is one of the test set. Differences are drawn ten times as large as they
are, as in the authors' code. The net is not used.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from robustscape.data.dct import dct, energy_mask, filter_images, low_pass_mask
from robustscape.evaluation.pictures import picture_columns
from robustscape.evaluation.trained_run import TrainedRun

#: Factor by which differences are drawn.
ENLARGED = 10.0

#: Name of a filter in ``data.dct`` -> the work's word for what it removes.
PANELS: dict[Literal["energy", "low_pass"], str] = {"energy": "low_energy", "low_pass": "high_frequency"}


def filter_examples(
    run: TrainedRun,
    *,
    percents: list[float] = [10, 30, 50, 70, 90],  # noqa: B006  (read from the syntax tree as a schema)
    image: Annotated[int, Field(ge=0)] = 0,
) -> list[dict[str, Any]]:
    """Return pictures by ``panel`` (low_energy, high_frequency), ``p`` and ``shown`` (image, difference, mask), with numbers.

    Of an image relative_error, ||x - Phi(x)|| / ||x||; of a difference largest_difference; of a mask threshold_shown, the
    percentage of coefficients that it removes. The panel original has the image, its spectrum and the logarithm of that, with
    norm (of the image) and largest_amplitude.

    Args:
        run: its test images.
        percents: p, the percentages that are removed.
        image: number of the test image.
    """
    x = run.test.inputs(slice(image, image + 1)).double().cpu()
    spectrum = dct(x).abs().mean(1)[0]
    rows = _original(x[0], spectrum)
    for kind, panel in PANELS.items():
        for p in percents:
            mask = energy_mask(dct(x), p)[0, 0] if kind == "energy" else low_pass_mask(tuple(x.shape[2:]), p)
            rows += [{"panel": panel, "p": p, **row} for row in _filtered(x, filter_images(x, kind, p), mask)]
    return [{"split": "test", "image": image, **row} for row in rows]


def _original(x: Tensor, spectrum: Tensor) -> list[dict[str, Any]]:
    log = spectrum.clamp(min=1e-6 * float(spectrum.max())).log()
    log = (log - log.min()) / (log.max() - log.min()).clamp(min=1e-12)
    largest = spectrum.max().clamp(min=1e-12)
    measured = {"metric": "largest_amplitude", "value": spectrum.max().item(), "unit": "1"}
    return [
        {"panel": "original", "shown": "image", "metric": "norm", "value": x.norm().item(), "unit": "1"}
        | picture_columns(x),
        {"panel": "original", "shown": "spectrum", **measured, **picture_columns(spectrum / largest)},
        {"panel": "original", "shown": "log_spectrum", **measured, **picture_columns(log)},
    ]


def _filtered(x: Tensor, found: Tensor, mask: Tensor) -> list[dict[str, Any]]:
    """The three pictures of a filtered image (1, C, H, W) and the mask (H, W) of what is kept."""
    difference = (x - found).abs()
    removed = 100.0 * (~mask).double().mean().item()
    return [
        {"shown": "image", "metric": "relative_error", "value": (difference.norm() / x.norm()).item(), "unit": "1"}
        | picture_columns(found[0]),
        {"shown": "difference", "metric": "largest_difference", "value": difference.max().item(), "unit": "1"}
        | picture_columns(ENLARGED * difference[0]),
        {"shown": "mask", "metric": "threshold_shown", "value": removed, "unit": "percent"}
        | picture_columns(mask.double()),
    ]
