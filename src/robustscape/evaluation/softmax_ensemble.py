"""Ensembles of adversarially trained nets by their mean probability (liu2020 section 3.2; no table in the slides).

    p(x) = mean_m softmax(f_m(x)),      attacks maximise -log p_y: the ensemble is attacked as one net

Members are several runs, or the ends of the periods of one run. Cost: one attack an ensemble, each of its passes one pass of
every member.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import correctly_classified, craft, percent
from robustscape.evaluation.trained_run import TrainedRun, columns


class Ensemble(nn.Module):
    """Logarithms of the mean probabilities of its members: logits whose cross-entropy is -log p_y."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
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
    """Rows clean_test_error and robust_test_error (percent) of single nets and of ensembles.

    The column ``ensemble`` is ``one net`` (a run's last weights), ``period ends`` (a run's kept weights and its last ones) or
    ``runs`` (the last weights of all runs); ``members`` counts them.

    Args:
        runs: of one data set.
        attack: on the ensemble as a whole.
        kept: fractions of training, among those of the recipes' ``keep``, whose weights join the last ones; none: no rows
            ``period ends``.
        eps: perturbation budget; "run" for the first run's own.
        samples: first test samples; None for all.
    """
    radius, (x, y) = runs[0].attack_eps(eps), runs[0].subset("test", samples)
    protocol = columns(attack, radius, "test", len(y))
    groups: list[tuple[str, int | None, list[nn.Module]]] = []
    for run in runs:
        groups.append(("one net", run.seed, [run.model]))
        if kept:
            groups.append(("period ends", run.seed, [*(_kept(run, fraction) for fraction in kept), run.model]))
    groups.append(("runs", None, [run.model for run in runs]))
    rows: list[dict[str, Any]] = []
    for name, seed, members in groups:
        net = Ensemble(members).eval()
        attacked = craft(net, x, y, attack, radius, seed=runs[0].seed)
        shared = {**protocol, "ensemble": name, "seed": seed, "members": len(members)}
        for metric, points in (("clean_test_error", x), ("robust_test_error", attacked)):
            value = 100.0 - percent(correctly_classified(net, points, y))
            rows.append({**shared, "metric": metric, "value": value, "unit": "percent"})
    return rows


def _kept(run: TrainedRun, fraction: float) -> nn.Module:
    """The run's net with the weights it had after a fraction of training."""
    model = copy.deepcopy(run.model)
    model.load_state_dict(run.kept(fraction))
    return model.eval()
