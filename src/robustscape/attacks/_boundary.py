"""Projection on a hyperplane inside a box, the geometry of FAB.

Croce & Hein (2020a) solve it by sorting coordinates. Here the same point comes from a scalar equation, at a fifth of
the cost: no sort, a few passes over the coordinates. In L1 (Croce & Hein 2020a, appendix) coordinates are filled one after the
other, the steepest first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustscape.attacks.base.scaling import per_sample
from robustscape.attacks.base.threat import ThreatModel

#: Newton's method stops by itself; this only bounds the passes if rounding keeps it going.
MAX_PASSES = 50


def project_on_hyperplane(point: Tensor, normal: Tensor, level: Tensor, threat: ThreatModel) -> Tensor:
    """The shortest d (B, ...) with <normal, d> = level and point + d inside ``threat.bounds``.

    Where the box does not reach the hyperplane, d goes to the corner nearest to it.

    Every coordinate moves the way that brings <normal, d> nearer to ``level``, and no further than its room u_i inside
    the box: d_i = +-min(s a_i, u_i), with a_i = 1 for Linf and a_i = |w_i| for L2. What is reached, R(s) = sum |w_i|
    min(s a_i, u_i), grows with s, is concave and made of straight pieces, so Newton's method started at s = 0 climbs
    to R(s) = |level| without overshooting, and is exact after finitely many steps (usually 3 to 6). For L1 coordinates move in
    the order of falling |w_i|, each as far as it can before the next one does.

    Args:
        point: (B, ...), inside the box.
        normal: w, (B, ...).
        level: (B,).
        threat: its norm and its range.
    """
    scale = normal.abs().flatten(1).amax(1).clamp_min(torch.finfo(normal.dtype).tiny)
    weight = normal.abs().flatten(1) / scale[:, None]  # of order 1: squares of saturated gradients would underflow
    goal = level.abs() / scale
    direction = (normal.sign() * per_sample(level.sign(), normal)).flatten(1)
    if threat.bounds is None:
        room = torch.full_like(weight, torch.inf)
    else:
        low, high = threat.bounds
        flat = point.flatten(1)
        room = torch.where(direction > 0, high - flat, flat - low).clamp_min(0)
    room = torch.where(direction == 0, 0, room)
    if threat.norm == "L1":
        return (direction * _fill(weight, room, goal)).view_as(point)

    pace = torch.ones_like(weight) if threat.norm == "Linf" else weight
    slope = weight * pace
    size = torch.zeros_like(goal)
    for _ in range(MAX_PASSES):
        scaled = size[:, None] if threat.norm == "Linf" else size[:, None] * pace
        missing = goal - torch.linalg.vecdot(weight, torch.minimum(scaled, room))
        rate = torch.linalg.vecdot(slope, (scaled < room).to(slope.dtype))
        advance = torch.where(rate > 0, missing / rate, 0).clamp_min(0)
        if not (advance > 1e-6 * size).any():
            break
        size = size + advance
    out_of_reach = (rate <= 0) & (missing > 0)
    moved = torch.where(out_of_reach[:, None], room, torch.minimum(size[:, None] * pace, room))
    return (direction * moved).view_as(point)


def _fill(weight: Tensor, room: Tensor, goal: Tensor) -> Tensor:
    """The d (B, n) of least sum with 0 <= d_i <= room_i and sum w_i d_i = goal (B,); ``room`` itself where that is too little."""
    room = torch.minimum(room, (goal[:, None] / weight).nan_to_num(nan=0.0))  # one coordinate never needs more
    steepest, order = weight.sort(dim=1, descending=True, stable=True)
    gain = (weight * room).gather(1, order)
    missing = (goal[:, None] - (gain.cumsum(1) - gain)).clamp_min(0)
    moved = torch.where(missing >= gain, room.gather(1, order), missing / steepest)
    return torch.zeros_like(moved).scatter(1, order, moved)
