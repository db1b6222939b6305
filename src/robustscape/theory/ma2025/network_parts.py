"""ma2025, figure 5.1 and equation 5.2: the parts of a hierarchical network, read from the network itself, and what it answers.

The parts are asked for their outputs, so that the figure shows the network and not the configuration.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from robustscape.models.hierarchical import HierarchicalNetwork

FEATURES = 8


def network_parts(
    *,
    meta_classes: dict[str, list[str]],
    samples: Annotated[int, Field(ge=1)] = 64,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return a row ``outputs`` for each part of a network (MC, LC_1, ...), and rows about its answers to random inputs.

    Those are largest_sum and smallest_sum of its probabilities, and largest_error, their distance from the products of the
    parts' probabilities.

    Args:
        meta_classes: meta-class -> its leaf classes.
        samples: number of random inputs.
        seed: of weights and inputs.
    """
    sizes = [len(leaves) for leaves in meta_classes.values()]
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        leaves = [nn.Linear(FEATURES, size) for size in sizes]
        network = HierarchicalNetwork(nn.Linear(FEATURES, len(sizes)), leaves, sizes).double().eval()
        x = torch.randn(samples, FEATURES, dtype=torch.float64)
    rows = []
    with torch.no_grad():
        parts = {"MC": network.meta, **{f"LC_{number}": leaf for number, leaf in enumerate(network.leaves, 1)}}
        for (name, part), title in zip(parts.items(), ["meta-classifier", *meta_classes], strict=True):
            answer = part(x)
            rows.append({"part": name, "title": title, "metric": "outputs", "value": answer.shape[1], "unit": "1"})
        probabilities = network(x).exp()
        meta = network.meta(x).softmax(1)
        products = torch.cat([meta[:, [i]] * leaf(x).softmax(1) for i, leaf in enumerate(network.leaves)], 1)
    sums = probabilities.sum(1)
    rows.append(
        {"part": "F", "title": "leaf classes", "metric": "outputs", "value": probabilities.shape[1], "unit": "1"}
    )
    error = (probabilities - products).abs().max().item() if probabilities.shape == products.shape else math.nan
    checks = {"largest_sum": sums.max().item(), "smallest_sum": sums.min().item(), "largest_error": error}
    rows += [
        {"part": "F", "title": "", "metric": metric, "value": value, "unit": "1"} for metric, value in checks.items()
    ]
    return rows
