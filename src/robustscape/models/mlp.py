"""A multilayer perceptron with ReLUs and without batch normalisation; not from one of the works."""

from __future__ import annotations

import itertools
import math
from typing import Annotated

from pydantic import Field
from torch import nn


def mlp(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    hidden: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = [256, 256],  # noqa: B006  (a schema; never changed)
) -> nn.Module:
    """Return a net with a linear layer and a ReLU for each hidden layer, then one linear layer.

    Args:
        shape: shape of one input, any.
        num_classes: number of logits.
        hidden: number of units of each hidden layer.
    """
    sizes = [math.prod(shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], num_classes))
