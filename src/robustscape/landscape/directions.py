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
    """The model's parameters by name, detached, sharing memory with it; running statistics are no parameters."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def flatten(direction: Direction) -> Tensor:
    """One vector (P,), parameters in the model's order."""
    return torch.cat([tensor.reshape(-1) for tensor in direction.values()])


def unflatten(vector: Tensor, like: Direction) -> Direction:
    """The inverse of ``flatten``."""
    pieces = vector.split([tensor.numel() for tensor in like.values()])
    return {name: piece.view(tensor.shape) for piece, (name, tensor) in zip(pieces, like.items(), strict=True)}


def gaussian(model: nn.Module, seed: int, number: int = 0) -> Direction:
    """N(0, I), the ``number``-th direction of ``seed``; on the model's device, drawn on the CPU."""
    generator = SampleGenerator.seeded(seed, torch.tensor([number]))
    return {
        name: generator.fork(position).normal(parameter.shape)[0].to(parameter)
        for position, (name, parameter) in enumerate(parameters_of(model).items())
    }


def _rows(tensor: Tensor) -> Tensor:
    """Norm of each filter, ready to broadcast; a filter makes one output channel: one index of dimension 0."""
    norms = torch.linalg.vector_norm(tensor.flatten(1), dim=1)
    return norms.view(-1, *[1] * (tensor.dim() - 1))


def filter_normalised(model: nn.Module, seed: int, number: int = 0) -> Direction:
    """A Gaussian direction whose filters have the norms of the model's filters (Li et al. 2018, section 4).

        h <- h / ||h|| * ||w||      per output channel of a convolution, per row of a linear layer

    Biases and batch normalisation (every parameter of fewer than two dimensions) do not move, nor do filters that are
    zero. yamada2021 section 2.4, kanai2022 figure 7. Logistic regression has one filter.
    """
    weights = parameters_of(model)
    return {
        name: h * (_rows(weights[name]) / _rows(h)) if h.dim() >= 2 else torch.zeros_like(h)
        for name, h in gaussian(model, seed, number).items()
    }


def unit(direction: Direction) -> Direction:
    """``direction`` scaled to norm 1 over all parameters together."""
    norm = torch.linalg.vector_norm(flatten(direction))
    return {name: tensor / norm for name, tensor in direction.items()}


def unit_random(model: nn.Module, seed: int, number: int = 0) -> Direction:
    """Uniform on the unit sphere of all parameters, biases and batch normalisation included (liu2020 section 4)."""
    return unit(gaussian(model, seed, number))


Move = Callable[[Sequence[Direction], Sequence[float]], None]


@contextmanager
def movable(model: nn.Module) -> Iterator[Move]:
    """Within the block, ``move(directions, coordinates)`` puts the model at w + sum_i coordinates_i directions_i.

    Every point is computed from a stored copy of w, never from the last point, and the copy is put back at the end: the
    weights are then equal to what they were, bit for bit. Buffers are not touched. 1 copy of the weights in memory.
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
