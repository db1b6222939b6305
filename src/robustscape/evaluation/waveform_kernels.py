"""Attack success of TIM against the length of its kernel (kim2023 section 3.4.1, whose k is 3, the best of six lengths).

Examples are made on the first net for each length and evaluated on all. Cost: an attack per length, and for each one pass per
target.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from robustscape.attacks.waveforms import waveform_eps
from robustscape.config.attacks import AttackSpec
from robustscape.errors import ConfigError
from robustscape.evaluation._waveforms import clean_waveforms, encoder_name, require_waveform_attack, waveform_net
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns
from robustscape.evaluation.transferability import distinguishing_names


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
    sets = sorted({run.config["dataset"]["name"] for run in runs})
    if len(sets) > 1:
        raise ConfigError(f"waveform_kernels: the runs must share a data set, got {', '.join(sets)}.")
    require_waveform_attack(attack)
    if "kernel" not in attack.parameters:
        raise ConfigError(f"waveform_kernels: the attack '{attack.attack}' has no kernel.")
    names, nets = distinguishing_names(runs), [waveform_net(run) for run in runs]
    x, y = clean_waveforms(runs[0], samples)
    eps = waveform_eps(x, decibels)
    rows: list[dict[str, Any]] = []
    for length in kernels:
        spec = attack.model_copy(update={"parameters": {**attack.parameters, "kernel": length}})
        points = craft(nets[0], x, y, spec, eps, seed=runs[0].seed)
        shared = {
            "source": names[0],
            "source_encoder": encoder_name(runs[0]),
            **protocol_columns(spec, float(eps.double().mean()), "test", len(y)),
            "kernel_length": length,
            "eps_per_sample": True,
            "decibels": decibels,
        }
        for name, run, net in zip(names, runs, nets, strict=True):
            fooled = percent_true(~correctly_classified(net, points, y))
            cell = {"target": name, "target_encoder": encoder_name(run), "metric": "transferability"}
            rows.append({**shared, **cell, "value": fooled, "unit": "percent"})
    return rows
