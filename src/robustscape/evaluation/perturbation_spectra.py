"""Spectra of perturbations made on a source before and after alignment: ma2025 figure 6.2 (section 6.4.2).

    mean over images and channels of |DCT(dx_a)| - |DCT(dx_s)|,    DCT orthonormal of type II

and, as numbers, the share of a perturbation's energy in the lowest quarter of the frequencies, by rank of sqrt(i^2 + j^2). Both
perturbations are of the same images, from the same starts. Cost: an attack on original and aligned run, and the choice of rates.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustscape.config.attacks import AttackSpec
from robustscape.data.dct import dct, frequency_order
from robustscape.evaluation.alignments import (
    base_runs,
    chosen_alignments,
    evaluated_images,
    find_base,
    row_names,
)
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.trained_run import TrainedRun, attack_settings

#: Share of the frequencies, from the lowest, that count as low.
LOW = 0.25


def perturbation_spectra(
    runs: list[TrainedRun],
    *,
    attack: AttackSpec,
    eps: Annotated[float, Field(gt=0)],
    by_eps: Annotated[float, Field(gt=0)],
    samples: Annotated[int, Field(ge=1)] | None = None,
    points: Annotated[int, Field(ge=2)] = 56,
    target_seed: int = 1,
    held_out: str = "res34",
) -> list[dict[str, Any]]:
    """Return rows dct_magnitude_difference by frequency_row and frequency_column, and low_frequency_share (percent) by model.

    The map is of the first repetition, averaged to at most ``points`` frequencies a side.

    Args:
        runs: base nets and aligned ones, of one data set.
        attack: makes the perturbations and chooses the learning rates.
        eps: perturbation budget.
        by_eps: budget of the examples by which learning rates are chosen, one for all measurements.
        samples: first test images; the last ones are kept for the choice.
        points: most frequencies of a side of the map.
        target_seed: seed of the held-out net.
        held_out: the net that chooses learning rates.
    """
    base = base_runs(runs)
    x, y = evaluated_images(runs[0], samples)
    rows: list[dict[str, Any]] = []
    for alignment in chosen_alignments(runs, find_base(base, held_out, target_seed), attack, by_eps):
        pair = f"{alignment.source} / {alignment.witness}"
        for number, run in enumerate(alignment.repetitions):
            shared = {
                "pair": pair,
                "draw": run.seed,
                "samples": len(y),
                "attack": attack.attack,
                "norm": attack.norm,
                "attack_eps": eps,
                "model_mode": attack.model_mode,
                **attack_settings(attack),
            }
            magnitudes = {}
            for model, one in (("original", alignment.original), ("aligned", run)):
                spectrum = dct(craft(one.model, x, y, attack, eps, seed=run.seed) - x)
                magnitudes[model] = spectrum.abs().mean((0, 1))
                named = {"model": model, "metric": "low_frequency_share", "unit": "percent"}
                rows.append({**row_names(one), **shared, **named, "value": low_share(spectrum)})
            if number == 0:
                rows += [
                    {
                        **row_names(run),
                        **shared,
                        "frequency_row": row,
                        "frequency_column": column,
                        "metric": "dct_magnitude_difference",
                        "value": value,
                        "unit": "1",
                    }
                    for row, values in enumerate(
                        averaged(magnitudes["aligned"] - magnitudes["original"], points).tolist()
                    )
                    for column, value in enumerate(values)
                ]
    return rows


def low_share(spectrum: Tensor) -> float:
    """Return the mean share (percent) of the energy of spectra (N, C, H, W) in the lowest quarter of the frequencies.

    Samples that were not moved are left out; NaN if none was.
    """
    energy = spectrum.double().square().sum(1).flatten(1)
    order = frequency_order(tuple(spectrum.shape[2:])).to(energy.device)
    low, whole = energy[:, order[: max(1, int(LOW * len(order)))]].sum(1), energy.sum(1)
    moved = whole > 0
    return 100.0 * (low[moved] / whole[moved]).mean().item()


def averaged(values: Tensor, most: int) -> Tensor:
    """Return a map (H, W) averaged to at most ``most`` values a side."""
    sides = (min(values.shape[0], most), min(values.shape[1], most))
    return F.adaptive_avg_pool2d(values[None, None], sides)[0, 0] if sides != tuple(values.shape) else values
