"""Ensembles of adversarially trained nets by their mean probability (liu2020 section 5; no table in the slides).

    p(x) = mean_m softmax(f_m(x)),      attacks maximise -log p_y: the ensemble is attacked as one net

Members are several runs, or the ends of the periods of one run. Cost: one attack per ensemble; each of its passes is one pass
of every member.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.accuracy import accuracy_under_attack
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns
from robustscape.models import copy_model


class Ensemble(nn.Module):
    """The logarithm of its members' mean probabilities: logits whose cross-entropy is -log p_y."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Return log p (B, C) of inputs (B, ...)."""
        logs = torch.stack([member(x).log_softmax(1) for member in self.members])
        return logs.logsumexp(0) - torch.log(torch.tensor(float(len(self.members)), device=x.device))


def softmax_ensemble(
    runs: list[TrainedRun],
    *,
    attack: AttackSpec,
    kept: list[float] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return rows clean_test_error and robust_test_error (percent) of single nets and of ensembles.

    The column ``ensemble`` is ``one net`` (a run's last weights), ``period ends`` (a run's kept weights and its last ones) or
    ``runs`` (the last weights of all runs); ``members`` is their number.

    Args:
        runs: of one data set.
        attack: of the ensemble as a whole.
        kept: fractions of training, from the recipes' ``keep``, whose weights form the ``period ends`` with the last ones; none:
            no such rows.
        eps: perturbation budget; "run" for the first run's own.
        samples: first test samples; None for all.
    """
    attack_eps, (x, y) = runs[0].attack_eps(eps), runs[0].subset("test", samples)
    protocol = protocol_columns(attack, attack_eps, "test", len(y))
    groups: list[tuple[str, int | None, list[nn.Module]]] = []
    for run in runs:
        groups.append(("one net", run.seed, [run.model]))
        if kept:
            groups.append(("period ends", run.seed, [*(_kept_model(run, fraction) for fraction in kept), run.model]))
    groups.append(("runs", None, [run.model for run in runs]))
    rows: list[dict[str, Any]] = []
    for name, seed, members in groups:
        net = Ensemble(members).eval()
        shared = {**protocol, "ensemble": name, "seed": seed, "members": len(members)}
        for metric, spec in (("clean_test_error", None), ("robust_test_error", attack)):
            value = 100.0 - accuracy_under_attack(net, x, y, spec, attack_eps, runs[0].seed)
            rows.append({**shared, "metric": metric, "value": value, "unit": "percent"})
    return rows


def _kept_model(run: TrainedRun, fraction: float) -> nn.Module:
    """The run's net, in eval mode, with the weights it had after a fraction of training."""
    model = copy_model(run.model)
    model.load_state_dict(run.kept(fraction))
    return model.eval()
