"""The transfer matrix of nets for waveforms, with a budget in decibels for each clip (kim2023 sections 3.3.1 and 3.4.1).

Examples are made on the waveform in [-1, 1] with eps = 10^(decibels / 20) of the clip's peak (``attacks.waveforms``). Crafting
and scoring are those of ``evaluation.transfer``: for S runs S attacks, S x S passes, and S x S more for each draw and level of
noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation._waveform_variants import Variants
from robustscape.evaluation._waveforms import encoder_name
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.evaluation.transfer import transfer_matrix

#: What the work's tables call the ratios of ``evaluation.transfer``: their numbers are 1 - T(noisy) / T.
METRICS = {"nr_ratio": "nullified_ratio", "nr_conditional": "nullified_ratio_conditional"}


def waveform_transferability(
    runs: list[TrainedRun],
    *,
    attack: AttackSpec,
    decibels: float = -20.0,
    samples: Annotated[int, Field(ge=1)] | None = None,
    noise: list[Annotated[float, Field(gt=0)]] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    draws: Annotated[int, Field(ge=1)] = 3,
    denominators: list[Literal["all", "all_models_right", "pair", "pair_parity"]] = ["all", "all_models_right"],  # noqa: B006
) -> list[dict[str, Any]]:
    """Return rows transferability (percent), and with noise transferability_noisy and nullified ratios, by source and target.

    Rows of transferability_noisy with noise 0 repeat transferability, so that a curve over noise begins there.

    Args:
        runs: the nets, all sources and targets; they must share a data set of waveforms, whose test split is evaluated.
        attack: how to craft, once per source; its range must be [-1, 1].
        decibels: peak of the perturbation relative to the clip's.
        samples: first samples of the test split; None for all.
        noise: levels of noise added after crafting, as multiples of the clip's eps.
        draws: number of draws of the noise, over which rates are averaged.
        denominators: see ``evaluation.transfer``.

    Returns:
        Rows with the columns source_encoder and target_encoder ("mel" where there is none), and relative_noise, the noise over
        the clip's peak.

    Raises:
        ConfigError: the runs have different data sets, or the attack another range or mode.
    """
    given = Variants.of_runs("waveform_transferability", runs, attack, decibels, samples)
    nets = dict(zip(given.names, given.nets, strict=True))
    encoders = dict(zip(given.names, map(encoder_name, runs), strict=True))
    matrix = transfer_matrix(
        nets,
        nets,
        given.x,
        given.y,
        attack,
        given.eps,
        seed=runs[0].seed,
        noise=noise,
        draws=draws,
        denominators=denominators,
    )
    return [row for cell in matrix for row in _described(cell, encoders, decibels)]


def _described(row: dict[str, Any], encoders: dict[str, str], decibels: float) -> Iterator[dict[str, Any]]:
    """Yield a row of the matrix in the work's words, and once more as the beginning of a curve over noise."""
    described = {
        **row,
        "metric": METRICS.get(row["metric"], row["metric"]),
        "relative_noise": float(f"{row['noise'] * 10 ** (decibels / 20):.6g}"),
        "decibels": decibels,
        "source_encoder": encoders[row["source"]],
        "target_encoder": encoders[row["target"]],
    }
    yield described
    if row["metric"] == "transferability":
        yield {**described, "metric": "transferability_noisy"}
