"""Several nets of waveforms, and variants of one attack made on the first and evaluated on all (kim2023 chapter 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.waveforms import waveform_eps
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation._waveforms import clean_waveforms, encoder_name, require_waveform_attack, waveform_net
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns, require_one_dataset
from robustscape.evaluation.transferability import distinguishing_names


@dataclass(frozen=True)
class Variants:
    """The nets, their names, and the clips (N, 1, T) with their labels (N,) and budgets (N,)."""

    runs: list[TrainedRun]
    names: list[str]
    nets: list[Classifier]
    x: Tensor
    y: Tensor
    eps: Tensor
    decibels: float

    @classmethod
    def of_runs(
        cls, comparison: str, runs: list[TrainedRun], attack: AttackSpec, decibels: float, samples: int | None
    ) -> Variants:
        """Return them for ``comparison``, which names itself where it refuses.

        Raises:
            ConfigError: the runs have different data sets, or the attack another range or mode.
        """
        require_one_dataset(comparison, runs)
        require_waveform_attack(attack)
        names, nets = distinguishing_names(runs), [waveform_net(run) for run in runs]
        x, y = clean_waveforms(runs[0], samples)
        return cls(runs, names, nets, x, y, waveform_eps(x, decibels), decibels)

    def transfer(self, spec: AttackSpec) -> tuple[Tensor, dict[str, Any], list[dict[str, Any]]]:
        """Return the examples (N, 1, T) of a variant, the columns of all its rows, and its rows transferability by target."""
        points = craft(self.nets[0], self.x, self.y, spec, self.eps, seed=self.runs[0].seed)
        shared = {
            "source": self.names[0],
            "source_encoder": encoder_name(self.runs[0]),
            **protocol_columns(spec, float(self.eps.double().mean()), "test", len(self.y)),
            "eps_per_sample": True,
            "decibels": self.decibels,
        }
        rows = []
        for name, run, net in zip(self.names, self.runs, self.nets, strict=True):
            fooled = percent_true(~correctly_classified(net, points, self.y))
            cell = {"target": name, "target_encoder": encoder_name(run), "metric": "transferability"}
            rows.append({**shared, **cell, "value": fooled, "unit": "percent"})
        return points, shared, rows
