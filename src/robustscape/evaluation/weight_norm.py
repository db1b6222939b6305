"""The Euclidean norm of all weights, ||w||: what claims about eigenvalues "at equal ||w||" need beside them."""

from __future__ import annotations

from typing import Any

import torch

from robustscape.evaluation.trained_run import TrainedRun


def weight_norm(run: TrainedRun) -> list[dict[str, Any]]:
    """One row, weight_norm (dimensionless): the norm of the trainable parameters as one vector, in float64."""
    vector = torch.cat([parameter.detach().double().flatten() for parameter in run.model.parameters()])
    return [{"metric": "weight_norm", "value": vector.norm().item(), "unit": "1"}]
