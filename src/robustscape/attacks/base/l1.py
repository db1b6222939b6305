"""The L1 ball cut to a box: its nearest points, exactly.

Croce & Hein (2021), proposition 3.1. In Linf and L2 an attack may project on the ball, then on the box, and lose nothing but a
little of its budget. An L1 ball of the usual sizes has most of its volume outside of the box, so that clipping afterwards
throws most of a step away.
"""

from __future__ import annotations

import torch
from torch import Tensor


def project_on_l1_ball(
    point: Tensor, centre: Tensor, eps: Tensor | float, bounds: tuple[float, float] | None = None
) -> Tensor:
    """Return the points (B, ...) nearest to ``point`` in the Euclidean norm, at most eps from ``centre`` in L1 and in ``bounds``.

    With v = point - centre and u_i the room of coordinate i inside the box in the direction of v_i, the offset is

        d_i = sign(v_i) min( max(|v_i| - s, 0), u_i ),    s >= 0 the least for which sum |d_i| <= eps

    The sum falls with s in straight pieces that change where s is an |v_i| or an |v_i| - u_i. These are sorted; s is on the piece
    that crosses eps.

    Args:
        point: (B, ...).
        centre: (B, ...), inside the box.
        eps: the radius, 0 or above; a tensor, (B, 1, ..., 1): one per sample.
        bounds: the box; None: none.
    """
    offset = (point - centre).flatten(1)
    size = offset.abs()
    if bounds is None:
        room, reach = torch.full_like(size, torch.inf), size
    else:
        middle = centre.flatten(1)
        room = torch.where(offset > 0, bounds[1] - middle, middle - bounds[0]).clamp_min(0)
        reach = torch.minimum(size, room)
    radius = eps.flatten(1).double() if isinstance(eps, Tensor) else eps
    # In double precision, since thousands of terms are summed.
    knots, order = torch.cat([(size - room).clamp_min(0), size], dim=1).double().sort(dim=1)
    slopes = torch.where(order < size.shape[1], -1.0, 1.0).double().cumsum(dim=1)
    falls = (slopes[:, :-1] * knots.diff(dim=1)).cumsum(dim=1)
    start = reach.double().sum(dim=1, keepdim=True)
    sums = torch.cat([start, start + falls], dim=1)  # at the knots; up to the first one nothing changes
    piece = (sums > radius).sum(dim=1, keepdim=True)  # crosses eps; 0: the sum never exceeds it, and s is 0
    before = (piece - 1).clamp_min(0)
    slope = slopes.gather(1, before).clamp(max=-1.0)
    shrink = knots.gather(1, before) + (radius - sums.gather(1, before)) / slope
    length = torch.minimum((size - shrink).clamp_min(0), room.double()).to(size.dtype)
    found = centre + (offset.sign() * length).view_as(centre)
    # Coordinates are rounded towards the centre: those of a large image would else add up to a point outside of the ball.
    beyond = (found - centre).abs() > length.view_as(centre)
    found = torch.where(beyond, torch.nextafter(found, centre), found)
    found = torch.where(piece.view(-1, *[1] * (point.dim() - 1)) > 0, found, point)
    return found if bounds is None else found.clamp(*bounds)


def l1_norm(x: Tensor) -> Tensor:
    """Sum of absolute values of each sample, shape (B, 1, ..., 1)."""
    return x.flatten(1).abs().sum(dim=1).view(-1, *[1] * (x.dim() - 1))
