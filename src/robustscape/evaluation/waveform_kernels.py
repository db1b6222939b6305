"""Attack success of TIM against the length of its kernel (kim2023 section 3.4.1, whose k is 3, the best of six lengths).

Examples are made on the first net for each length and evaluated on all. Cost: an attack per length, and for each one pass per
target.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from robustscape.config.attacks import AttackSpec
from robustscape.errors import ConfigError
from robustscape.evaluation._waveform_variants import Variants
from robustscape.evaluation.trained_run import TrainedRun


def waveform_kernels(
    runs: list[TrainedRun],
    *,
    attack: AttackSpec,
    kernels: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)],
    decibels: float = -20.0,
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return rows transferability (percent) by target and length of the kernel (``kernel_length``).

    Args:
        runs: the nets; examples are made on the first one and evaluated on all. They share a data set of waveforms.
        attack: how to craft; its kernel is replaced.
        kernels: the lengths, in time steps.
        decibels: peak of the perturbation relative to the clip's.
        samples: first samples of the test split; None for all.

    Raises:
        ConfigError: the runs have different data sets, or the attack another range or mode or no kernel.
    """
    variants = Variants.of_runs("waveform_kernels", runs, attack, decibels, samples)
    if "kernel" not in attack.parameters:
        raise ConfigError(f"waveform_kernels: the attack '{attack.attack}' has no kernel.")
    rows: list[dict[str, Any]] = []
    for length in kernels:
        spec = attack.model_copy(update={"parameters": {**attack.parameters, "kernel": length}})
        rows += [{**row, "kernel_length": length} for row in variants.transfer(spec)[2]]
    return rows
