"""The set an attack may search: a norm ball around each sample, cut to the legal range of inputs.

Everything an attack needs to know of the geometry is here, so that an attack is written once for L-infinity and L2, for
images, waveforms and vectors. ``eps`` is one number, or one number per sample (shape (B,)), in units of the input.

In L1 steepest ascent changes a single coordinate, and a uniform point of the ball is mostly outside of the range. Attacks have to
be designed for that ball (their names end in ``_l1``) or for any norm (``fab``); to the others it is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.l1 import l1_norm, project_on_l1_ball
from robustscape.attacks.base.scaling import l2_norm, magnitude, per_sample, unit_l2
from robustscape.errors import AttackError

Norm = Literal["Linf", "L2", "L1"]

#: Slack for float rounding when a batch is checked, for inputs of order 1; relative to eps where that is larger.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class ThreatModel:
    """``{x' : ||x' - x|| <= eps, low <= x' <= high}``.

    Args:
        norm: "Linf", "L2" or "L1".
        eps: perturbation budget, a float or a tensor of shape (B,); 0 means no attack.
        bounds: legal range of an input, (0, 1) for images, (-1, 1) for waveforms, None for unbounded vectors.
    """

    norm: Norm
    eps: float | Tensor
    bounds: tuple[float, float] | None = (0.0, 1.0)

    def eps_like(self, x: Tensor) -> Tensor | float:
        """``eps`` ready to broadcast against ``x`` (B, ...)."""
        return per_sample(self.eps.to(x), x) if isinstance(self.eps, Tensor) else self.eps

    def select(self, index: Tensor | slice) -> ThreatModel:
        """The threat model of the samples in ``index`` (a mask, indices or a slice), for attacks that drop finished samples."""
        return replace(self, eps=self.eps[index]) if isinstance(self.eps, Tensor) else self

    def clip(self, x: Tensor) -> Tensor:
        """``x`` cut to the legal range."""
        return x if self.bounds is None else x.clamp(*self.bounds)

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Nearest legal point: onto the ball around ``x`` first, then onto the range; in L1 onto both at once.

        The second projection cannot leave the ball, because ``x`` itself is in the range (a box is convex and clamping
        moves every coordinate towards it).
        """
        eps = self.eps_like(x)
        if self.norm == "Linf":
            return self.clip(torch.clamp(x_adv, x - eps, x + eps))
        if self.norm == "L1":
            return project_on_l1_ball(x_adv, x, eps, self.bounds)
        delta = x_adv - x
        factor = (eps / l2_norm(delta).clamp_min(torch.finfo(x.dtype).tiny)).clamp(max=1.0)
        return self.clip(x + delta * factor)

    def around(self, x: Tensor) -> Ball:
        """The legal points around ``x``, for attacks of many steps: what each step needs of ``x`` is computed once."""
        self._refuse_l1()
        eps = self.eps_like(x)
        return Ball(self, x, *((self.clip(x - eps), self.clip(x + eps)) if self.norm == "Linf" else (x, x)))

    def ascent(self, gradient: Tensor) -> Tensor:
        """Steepest-ascent direction of unit norm: sign(g) for Linf, g / ||g||_2 for L2; 0 where g is 0."""
        self._refuse_l1()
        if self.norm == "Linf":
            return gradient.sign()
        return unit_l2(gradient)

    def random_offset(self, x: Tensor, generator: SampleGenerator) -> Tensor:
        """Uniform in the ball: U(-eps, eps) per coordinate, or a Gaussian direction times eps u^(1/d)."""
        self._refuse_l1()
        eps = self.eps_like(x)
        if self.norm == "Linf":
            return (generator.uniform(x.shape[1:]) * 2 - 1) * eps
        direction = generator.normal(x.shape[1:])
        length = generator.uniform(()) ** (1.0 / math.prod(x.shape[1:]))
        return unit_l2(direction) * per_sample(length, x) * eps

    def random_direction(self, x: Tensor, generator: SampleGenerator) -> Tensor:
        """A random offset of norm 1, shape of ``x``: uniform in the cube or Gaussian, and stretched (AutoAttack's starts)."""
        if self.norm == "Linf":
            offset = generator.uniform(x.shape[1:]) * 2 - 1
            return offset / per_sample(offset.flatten(1).abs().amax(1), x).clamp_min(torch.finfo(offset.dtype).tiny)
        offset = generator.normal(x.shape[1:])
        return offset / l1_norm(offset) if self.norm == "L1" else unit_l2(offset)

    def random_point(self, x: Tensor, generator: SampleGenerator) -> Tensor:
        """``x`` plus a uniform offset, cut to the range."""
        return self.clip(x + self.random_offset(x, generator))

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """``||x_adv - x||`` of each sample, shape (B,)."""
        delta = (x_adv - x).flatten(1)
        if self.norm == "Linf":
            return delta.abs().amax(1)  # many times faster than vector_norm(ord=inf) on a CPU
        if self.norm == "L1":
            return delta.abs().sum(1)
        return torch.linalg.vector_norm(delta, dim=1)

    def check(self, x_adv: Tensor, x: Tensor) -> None:
        """Refuse an illegal adversarial batch (contract 8).

        Raises:
            AttackError: wrong shape, NaN or infinity, outside the ball or outside the range.
        """
        if x_adv.shape != x.shape:
            raise AttackError(f"the attack returned shape {tuple(x_adv.shape)} for inputs of shape {tuple(x.shape)}.")
        if not torch.isfinite(x_adv).all():
            raise AttackError(
                "the attack returned NaN or infinite inputs; the model's gradients are probably not finite."
            )
        eps = self.eps.to(x) if isinstance(self.eps, Tensor) else self.eps
        distance = self.distance(x_adv, x)
        if (distance > eps + TOLERANCE * (1 + eps)).any():
            excess = (distance - eps).max().item()
            raise AttackError(f"the attack left the {self.norm} ball: {excess:.3g} beyond eps.")
        if self.bounds is not None and x.shape[0]:
            low, high = x_adv.min().item(), x_adv.max().item()
            if low < self.bounds[0] - TOLERANCE or high > self.bounds[1] + TOLERANCE:
                raise AttackError(f"the attack left the range {self.bounds}: found [{low:.4g}, {high:.4g}].")

    def _refuse_l1(self) -> None:
        if self.norm == "L1":
            raise AttackError("the attack is not defined in L1; use 'fab' or one whose name ends in '_l1'.")


@dataclass(frozen=True)
class Ball:
    """The legal points around inputs ``x``; see ``ThreatModel.around``."""

    threat: ThreatModel
    x: Tensor
    """The centres (B, ...)."""
    low: Tensor
    """Linf: the lowest legal values (B, ...)."""
    high: Tensor
    """Linf: the highest legal values (B, ...)."""

    def step(self, point: Tensor, gradient: Tensor, length: Tensor | float) -> Tensor:
        """Return the projection of ``point + length * ascent(gradient)``, (B, ...), in the memory of ``gradient``.

        The same as ``ThreatModel.project`` gives (bit for bit for Linf, up to rounding for L2), in as few passes over as little
        memory as there are: on small nets an attack spends most of its time on them. ``length`` may be negative.
        """
        moved = gradient if gradient.is_contiguous() else gradient.clone()  # an expanded one cannot be written to
        if self.threat.norm == "Linf":
            moved.sign_()
            if isinstance(length, Tensor):
                torch.addcmul(point, moved, length, out=moved)
            else:
                torch.add(point, moved, alpha=length, out=moved)
            return moved.clamp_(self.low, self.high)
        moved.div_(magnitude(moved))
        torch.addcmul(point, moved, length / l2_norm(moved).clamp_min_(1.0), out=moved).sub_(self.x)
        tiny = torch.finfo(moved.dtype).tiny
        factor = (self.threat.eps_like(self.x) / l2_norm(moved).clamp_min_(tiny)).clamp_(max=1.0)
        torch.addcmul(self.x, moved, factor, out=moved)
        return moved if self.threat.bounds is None else moved.clamp_(*self.threat.bounds)
