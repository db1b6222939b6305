"""Directions in parameter space, and points along them.

A direction is a dictionary: name of a parameter -> tensor of its shape. Random directions are drawn on the CPU from the
project's own generator, so that a seed means the same direction on every device, for every eps and every trained run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator

Direction = dict[str, Tensor]


def parameters_of(model: nn.Module) -> Direction:
    """Return the model's parameters by name, detached, sharing memory with it; running statistics are no parameters."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def flatten(direction: Direction) -> Tensor:
    """Return one vector (P,), parameters in the model's order."""
    return torch.cat([tensor.reshape(-1) for tensor in direction.values()])


def unflatten(vector: Tensor, like: Direction) -> Direction:
    """The inverse of ``flatten``: a direction of the shapes of ``like`` from a vector (P,)."""
    pieces = vector.split([tensor.numel() for tensor in like.values()])
    return {name: piece.view(tensor.shape) for piece, (name, tensor) in zip(pieces, like.items(), strict=True)}


def gaussian_direction(model: nn.Module, seed: int, number: int = 0) -> Direction:
    """Return direction number ``number`` of ``seed`` from N(0, I); on the model's device, drawn on the CPU."""
    generator = SampleGenerator.seeded(seed, torch.tensor([number]))
    return {
        name: generator.fork(position).normal(parameter.shape)[0].to(parameter)
        for position, (name, parameter) in enumerate(parameters_of(model).items())
    }


def _filter_norms(tensor: Tensor) -> Tensor:
    """The norm of each filter, shaped to broadcast; a filter is one index of dimension 0 (an output channel)."""
    norms = torch.linalg.vector_norm(tensor.flatten(1), dim=1)
    return norms.view(-1, *[1] * (tensor.dim() - 1))


def filter_normalised(model: nn.Module, seed: int, number: int = 0) -> Direction:
    """Return a Gaussian direction whose filters have the norms of the model's filters (Li et al. 2018, section 4).

        h <- h / ||h|| * ||w||      per output channel of a convolution, per row of a linear layer

    It is 0 for biases and BatchNorm (every parameter of fewer than two dimensions), and for filters that are zero. Logistic
    regression has one filter. Used in yamada2021 section 2.4 and kanai2022 figure 7.
    """
    weights = parameters_of(model)
    return {
        name: h * (_filter_norms(weights[name]) / _filter_norms(h)) if h.dim() >= 2 else torch.zeros_like(h)
        for name, h in gaussian_direction(model, seed, number).items()
    }


def direction_norm(direction: Direction) -> Tensor:
    """Return the L2 norm over all parameters together, 0-dim."""
    return torch.linalg.vector_norm(flatten(direction))


def normalised(direction: Direction) -> Direction:
    """Return ``direction`` scaled to norm 1 over all parameters together."""
    length = direction_norm(direction)
    return {name: tensor / length for name, tensor in direction.items()}


def unit_random(model: nn.Module, seed: int, number: int = 0) -> Direction:
    """Return a uniform direction on the unit sphere of all parameters, biases and BatchNorm included (liu2020 section 3)."""
    return normalised(gaussian_direction(model, seed, number))


Move = Callable[[Sequence[Direction], Sequence[float]], None]


@contextmanager
def movable(model: nn.Module) -> Iterator[Move]:
    """Within the block, ``move(directions, coordinates)`` puts the model at w + sum_i coordinates_i directions_i.

    Every point is computed from a stored copy of w, never from the last point, and the copy is put back at the end, so the
    weights are what they were, bit for bit. Buffers are not touched. Memory: 1 copy of the weights.
    """
    live = parameters_of(model)
    origin = {name: tensor.clone() for name, tensor in live.items()}

    def move(directions: Sequence[Direction], coordinates: Sequence[float]) -> None:
        for name, tensor in live.items():
            tensor.copy_(origin[name])
            for direction, coordinate in zip(directions, coordinates, strict=True):
                if coordinate:
                    tensor.add_(direction[name], alpha=coordinate)

    try:
        yield move
    finally:
        move([], [])
