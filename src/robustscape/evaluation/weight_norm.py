"""The Euclidean norm of all weights, ||w||, for claims about eigenvalues "at equal ||w||"."""

from __future__ import annotations

from typing import Any

import torch

from robustscape.evaluation.trained_run import TrainedRun


def weight_norm(run: TrainedRun) -> list[dict[str, Any]]:
    """Return one row, weight_norm (dimensionless): the norm of all parameters as one vector, in float64."""
    vector = torch.cat([parameter.detach().double().flatten() for parameter in run.model.parameters()])
    return [{"metric": "weight_norm", "value": vector.norm().item(), "unit": "1"}]
