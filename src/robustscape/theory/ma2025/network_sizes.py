"""ma2025, appendix 5.A: trainable parameters of a flat ResNet-50 and of a hierarchical network of ResNet-10s, by counting.

The nets are the ones that are trained, on torch's device without memory.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from robustscape.models.hierarchical import HierarchicalNetwork
from robustscape.models.resnet10 import resnet10
from robustscape.models.resnet50 import resnet50

SHAPE = (3, 32, 32)


def network_sizes(*, sizes: dict[str, list[Annotated[int, Field(ge=1)]]]) -> list[dict[str, Any]]:
    """Return rows ``parameters`` by data set and network (flat, har); they are the work's own nets.

    Args:
        sizes: data set -> number of leaf classes of each meta-class.
    """
    rows: list[dict[str, Any]] = []
    for dataset, of_meta in sizes.items():
        with torch.device("meta"):
            flat = resnet50(SHAPE, sum(of_meta))
            leaves = [resnet10(SHAPE, size, norm="batch") for size in of_meta]
            har = HierarchicalNetwork(resnet10(SHAPE, len(of_meta), norm="batch"), leaves, of_meta)
        for network, net in (("flat", flat), ("har", har)):
            row = {"dataset": dataset, "network": network, "metric": "parameters", "value": count_parameters(net)}
            rows.append({**row, "unit": "1", "paper_protocol": True})
    return rows


def count_parameters(net: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
