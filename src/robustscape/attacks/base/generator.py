"""Random numbers that belong to a sample, not to a batch.

A result must not depend on the batch size, on the order of the samples, or on which samples an attack has already
finished. torch's generators cannot give that: they hand out one stream, and whoever draws first shifts the others.
Here every sample has its own 64-bit key, and the k-th draw of a sample is a hash of (key, k, position): splitmix64,
computed in vectorised int64 arithmetic. The same numbers come out on every device.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's is arithmetic)."""
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _wrapped(value: int) -> int:
    """A Python integer modulo 2^64, as a signed 64-bit integer: what tensors do by themselves."""
    return (value + 2**63) % 2**64 - 2**63


def _mix(z: Tensor) -> Tensor:
    """The splitmix64 finaliser: a bijection of 64-bit integers whose outputs look random (Steele et al., 2014).

    ``z`` is a fresh tensor, which is overwritten: a batch of images has so many numbers that new tensors would cost the most.
    """
    z ^= _shift(z, 30)
    z *= _MIX1
    z ^= _shift(z, 27)
    z *= _MIX2
    z ^= _shift(z, 31)
    return z


def _mixed(value: int) -> int:
    """``_mix`` of a Python integer, in Python: many times as quick as a tensor of one element."""
    z = value % 2**64
    z = (z ^ z >> 30) * (_MIX1 % 2**64) % 2**64
    z = (z ^ z >> 27) * (_MIX2 % 2**64) % 2**64
    return _wrapped(z ^ z >> 31)


@functools.lru_cache(maxsize=64)
def _base(seed: int) -> int:
    """The seed's part of the keys; remembered, for it costs more than the keys of a small batch."""
    return _mixed(seed * _GOLDEN)


class SampleGenerator:
    """Independent random streams, one per sample.

    Args:
        keys: int64 tensor of shape (B,); on the device where the numbers are wanted.
        draws: how many draws were made before.
        common: the key of what all samples share.
    """

    def __init__(self, keys: Tensor, draws: int = 0, common: int = 0) -> None:
        self.keys = keys
        self.draws = draws
        self.common = common

    @classmethod
    def seeded(cls, seed: int, samples: int | Tensor, device: torch.device | str = "cpu") -> SampleGenerator:
        """Keys for samples 0..n-1, or for the sample numbers given as an int64 tensor (B,)."""
        index = samples if isinstance(samples, Tensor) else torch.arange(samples)
        base = _base(operator.index(seed))  # NumPy's integers would overflow
        return cls(_mix(index.to(device=device, dtype=torch.int64) * _GOLDEN + base), common=base)

    def __len__(self) -> int:
        return self.keys.shape[0]

    def select(self, index: Tensor | slice) -> SampleGenerator:
        """The generator of some of the samples; they go on drawing what they would have drawn."""
        return SampleGenerator(self.keys[index], self.draws, self.common)

    def fork(self, stream: int) -> SampleGenerator:
        """A generator independent of this one, for a part of an attack (a restart, a target class)."""
        step = _wrapped((stream + 1) * _MIX1)
        return SampleGenerator(_mix(self.keys + step), common=_mixed(self.common + step))

    def fork_trials(self, numbers: Sequence[int]) -> SampleGenerator:
        """The streams of all samples, trial after trial: this generator itself for trial 0, forks for the others."""
        if list(numbers) == [0]:
            return self
        return SampleGenerator(torch.cat([self.fork(number).keys for number in numbers]), common=self.common)

    def _bits(self, shape: Sequence[int]) -> Tensor:
        """Fresh 64-bit integers, (B, *shape)."""
        count = math.prod(shape)
        stream = _mix(self.keys + _wrapped((self.draws + 1) * _MIX2))
        self.draws += 1
        position = torch.arange(count, device=self.keys.device) * _GOLDEN
        return _mix(stream[:, None] + position).view(len(self), *shape)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """U[0, 1) in float32, (B, *shape)."""
        return _shift(self._bits(shape), 40).float().mul_(2.0**-24)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """N(0, 1) in float32, (B, *shape), by inverting the normal distribution function, of 2^24 levels.

        ``erfinv`` gives the same 2^24 numbers as ``ndtri``, several times as quickly on a CPU.
        """
        u = (
            _shift(self._bits(shape), 40).double().mul_(2.0**-23).add_(2.0**-24 - 1.0)
        )  # 2 (k + 1/2) / 2^24 - 1, exactly
        return u.erfinv_().mul_(math.sqrt(2.0)).float()

    def integers(self, high: int, shape: Sequence[int] = ()) -> Tensor:
        """Uniform integers in [0, high), (B, *shape); the bias is below high / 2^63."""
        return _shift(self._bits(shape), 1) % high

    def shared_integer(self, high: int) -> int:
        """An integer in [0, high), the same for every sample of a seed, whichever of them are in the batch."""
        self.draws += 1
        return (_mixed(self.common + _wrapped(self.draws * _MIX2)) >> 1) % 2**63 % high

    def signs(self, shape: Sequence[int]) -> Tensor:
        """-1 or +1 with equal probability, float32, (B, *shape)."""
        return _shift(self._bits(shape), 63).float() * 2 - 1
