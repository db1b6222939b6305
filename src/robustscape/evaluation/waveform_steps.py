"""Transferability, and sample-wise variance on the source, against the number of steps (kim2023 figures 3.5 and 3.11).

    SV(x', y) = Var_n[ CE(h_S(x' + n), y) ],    n ~ U[-noise eps, noise eps], eps of the clip           (equation 3.11)

The step is 2 eps / steps, so that all numbers of steps go as far. Cost: an attack per number of steps, and for each one pass per
target and ``draws`` passes of the source.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec
from robustscape.errors import ConfigError
from robustscape.evaluation._waveform_variants import Variants
from robustscape.evaluation._waveforms import MEL, encoder_name
from robustscape.evaluation.noise_sensitivity import loss_under_noise, sample_variance
from robustscape.evaluation.trained_run import TrainedRun


def waveform_steps(
    runs: list[TrainedRun],
    *,
    attack: AttackSpec,
    steps: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)],
    decibels: float = -20.0,
    samples: Annotated[int, Field(ge=1)] | None = None,
    noise: Annotated[float, Field(gt=0)] = 0.2,
    draws: Annotated[int, Field(ge=2)] = 5,
) -> list[dict[str, Any]]:
    """Return rows transferability (percent) by target, and sample_variance and relative_sample_variance of the source, by steps.

    Args:
        runs: the nets; examples are made on the first one and evaluated on all. They share a data set of waveforms.
        attack: how to craft; its steps and their size are replaced.
        steps: the numbers of steps.
        decibels: peak of the perturbation relative to the clip's.
        samples: first samples of the test split; None for all.
        noise: of the sample-wise variance, as a multiple of the clip's eps.
        draws: of that noise.

    Returns:
        Rows; ``relative_sample_variance`` is the mean variance over the mean squared loss. The loss is that of the source. Two
        more have the mean transferability at the largest number of steps over the targets of either front end
        (``target_family``).

    Raises:
        ConfigError: the runs have different data sets, or the attack another range or mode or no number of steps.
    """
    variants = Variants.of_runs("waveform_steps", runs, attack, decibels, samples)
    if "steps" not in attack.parameters:
        raise ConfigError(f"waveform_steps: the attack '{attack.attack}' takes no steps.")
    ball = ThreatModel(attack.norm, noise * variants.eps, None)
    source = variants.names[0]
    rows: list[dict[str, Any]] = []
    for number in steps:
        points, shared, found = variants.transfer(with_steps(attack, number))
        rows += found
        losses = loss_under_noise(variants.nets[0], points, variants.y, ball, seed=runs[0].seed, draws=draws)
        own = {"target": source, "target_encoder": encoder_name(runs[0]), "noise": noise, "draws": draws, "unit": "1"}
        rows += [{**shared, **own, "metric": metric, "value": value} for metric, value in _variances(losses).items()]
    return [*rows, *_family_means(rows, source, max(steps))]


def with_steps(attack: AttackSpec, steps: int) -> AttackSpec:
    """Return an attack with another number of steps and steps of 2 eps / steps."""
    sizes = {"step_size": None, "rel_step_size": 2 / steps}
    changes = {key: value for key, value in sizes.items() if key in attack.parameters}
    return attack.model_copy(update={"parameters": {**attack.parameters, "steps": steps, **changes}})


def _family_means(rows: list[dict[str, Any]], source: str, steps: int) -> list[dict[str, Any]]:
    """Return the mean transferability at ``steps`` over the targets of each front end, the source left out.

    The metric has the name of the numbers that the work prints, "approximately", below figure 3.11.
    """
    at_most = [r for r in rows if r["metric"] == "transferability" and r["steps"] == steps and r["target"] != source]
    means = []
    for family in ("frequency_based", "wav2vec_based"):
        own = [r for r in at_most if (r["target_encoder"] == MEL) == (family == "frequency_based")]
        if own:
            row = {key: value for key, value in own[0].items() if key not in ("target", "target_encoder", "steps")}
            mean = sum(r["value"] for r in own) / len(own)
            name = "transferability_at_max_steps_approx"
            means.append({**row, "target_family": family, "metric": name, "value": mean, "most_steps": steps})
    return means


def _variances(losses: Tensor) -> dict[str, float]:
    """Return the mean SV of losses (draws, N), and its share of the mean squared loss."""
    variance, square = sample_variance(losses).mean(), losses.square().mean()
    return {"sample_variance": float(variance), "relative_sample_variance": float(variance / square)}
