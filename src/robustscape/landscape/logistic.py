"""Logistic regression under attack in closed form: worst case, loss, both Hessians.

A linear model's loss falls with s w.x, where s = -1 for class 0 and +1 for class 1, so the worst perturbation minimises a
linear function over the intersection of the ball and the box of legal values. Its closed form (yamada2021 section 3.2;
kanai2022 section 3.1) is

    Linf:  eta = -s eps sign(w), then clipped to the box coordinate by coordinate
    L2:    eta_i = -s sign(w_i) min(tau |w_i|, room_i), tau such that ||eta||_2 = eps; room_i is the distance
           to the bound of the box

(for L2 these are the Karush-Kuhn-Tucker conditions; without a box tau = eps / ||w||). With s(t) = 1 / (1 + e^-t) and
m = s w.(x + eta) the Hessian of the mean of log(1 + e^-m) is, when eta is held fixed (convention F, equation 14) or
follows w (convention T, what equation 9 is about):

    F = mean s(m) s(-m) u u',  u = x + eta
    T = F + mean s(-m) (eps' / ||w'||) (I' - w' w'^T / ||w'||^2)         for L2;  T = F almost everywhere for Linf

where a prime keeps the coordinates that are not at a bound, and eps'^2 is eps^2 minus the squared length of the others. (In
yamada2021's v = -s x + eps w/||w||, u u' and v v' are the same matrix.) All in float64: cost O(N d log d), and N d^2
for the matrices.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustscape.attacks.base.threat import ThreatModel


def label_signs(y: Tensor) -> Tensor:
    """Return labels {0, 1} as {-1, +1}, (N,) float64."""
    return 2.0 * y.double() - 1.0


def _worst_perturbation(weight: Tensor, x: Tensor, y: Tensor, threat: ThreatModel) -> tuple[Tensor, Tensor]:
    """The worst perturbation (N, d), and the coordinates that are free (bool, (N, d)): not at a bound, moving with tau."""
    downhill = -label_signs(y)[:, None] * weight.sign()
    size = weight.abs().expand_as(x)
    if threat.bounds is None:
        room = torch.full_like(x, torch.inf)
    else:
        low, high = threat.bounds
        room = torch.where(downhill > 0, high - x, x - low).clamp_min(0)
    if threat.norm == "Linf":
        return downhill * room.clamp(max=float(threat.eps)), torch.zeros_like(x, dtype=torch.bool)
    # Raise tau from 0: coordinate i meets its bound at tau_i = room_i / |w_i|. In the order of tau_i, the squared length at
    # tau_i is (squares of the held coordinates) + tau_i^2 (sum of w^2 of the others); tau is found where it passes eps^2.
    meets = torch.where(size > 0, room / size, torch.inf)
    order = meets.argsort(dim=1)
    at = meets.gather(1, order)
    squares = (size**2).gather(1, order)
    used = torch.where(torch.isfinite(at), at**2 * squares, 0.0).cumsum(1)
    zero = torch.zeros_like(used[:, :1])
    left = torch.cat([squares.flip(1).cumsum(1).flip(1), zero], 1)  # of coordinate i and those after it
    length = torch.where(torch.isfinite(at), used + torch.where(left[:, 1:] > 0, at**2 * left[:, 1:], 0.0), torch.inf)
    held = (length < float(threat.eps) ** 2).sum(1, keepdim=True)  # number of bounds met inside the ball
    spent = torch.cat([zero, used], 1).gather(1, held)
    remaining = left.gather(1, held)
    tau = torch.where(remaining > 0, ((float(threat.eps) ** 2 - spent) / remaining).clamp_min(0).sqrt(), torch.inf)
    free = (meets > tau) & (size > 0)
    eta = downhill * torch.where(free, torch.where(torch.isfinite(tau), tau, 0.0) * size, room)
    return torch.where(size > 0, eta, 0.0), free


def worst_case(weight: Tensor, x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    """Return the inputs of highest loss within the threat model, (N, d) float64, for weights (d,) and flattened inputs (N, d)."""
    x = x.double()
    return x + _worst_perturbation(weight.double(), x, y, threat)[0]


def losses(weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return log(1 + exp(-s w.x)) of each input, (N,) float64."""
    return torch.nn.functional.softplus(-label_signs(y) * (x.double() @ weight.double()))


def fixed_hessian(weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the Hessian of convention F at the attacked inputs ``x`` (N, d): mean s(m) s(-m) x x', (d, d) float64 (eq 14)."""
    x = x.double()
    margin = label_signs(y) * (x @ weight.double())
    return x.T @ (x * (margin.sigmoid() * (-margin).sigmoid())[:, None]) / len(x)


def total_hessian(weight: Tensor, x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    """Return the Hessian of convention T at the worst case of the clean inputs ``x`` (N, d), (d, d) float64."""
    weight, x = weight.double(), x.double()
    eta, free = _worst_perturbation(weight, x, y, threat)
    attacked = x + eta
    matrix = fixed_hessian(weight, attacked, y)
    if threat.norm == "Linf" or float(threat.eps) == 0:
        return matrix
    moving = free * weight  # w' of each sample
    squared = (moving**2).sum(1)
    free_length = torch.where(free, eta, 0.0).norm(dim=1)  # eps' of each sample
    slack = (-label_signs(y) * (attacked @ weight)).sigmoid() / len(x)
    factor = torch.where(squared > 0, slack * free_length / squared.sqrt(), 0.0)
    rank_one = torch.where(squared > 0, factor / squared, 0.0)
    return matrix + torch.diag((free * factor[:, None]).sum(0)) - moving.T @ (moving * rank_one[:, None])


def one_sided_slopes(weight: Tensor, x: Tensor, y: Tensor, threat: ThreatModel) -> tuple[Tensor, Tensor]:
    """Return the slopes of the mean worst-case loss to the right and to the left of 0 in every coordinate, (d,) float64 each.

    Linf only. Each sample's loss has its present slope; coordinate i alone is at 0, where the worst perturbation changes its sign
    with w_i, so that the slopes differ by the mean of |loss'| times the room on both sides: the kink.

    Raises:
        ValueError: the norm is not Linf.
    """
    if threat.norm != "Linf":
        raise ValueError(f"the loss has kinks under Linf noise only, got {threat.norm}")
    weight, x = weight.double(), x.double()
    s = label_signs(y)
    slack = (-s * (worst_case(weight, x, y, threat) @ weight)).sigmoid() / len(x)
    right, left = (
        -(slack * s) @ (x + _worst_perturbation(sign * torch.ones_like(weight), x, y, threat)[0])
        for sign in (1.0, -1.0)
    )
    return right, left


def gradient_mapping(weight: Tensor, x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    """Return the gradient mapping of the mean worst-case loss under Linf noise at ``weight`` (d,), (d,) float64.

    G = w - soft(w - m, k), with m and k the mean of a coordinate's ``one_sided_slopes`` and half of their difference, and
    soft(z, k) = sign(z) max(|z| - k, 0): the proximal gradient step of length 1, as for an L1 penalty of weight k. It is the
    gradient where w_i is away from 0, w_i itself where a step comes to the kink, and 0 everywhere just at a minimum.
    """
    right, left = one_sided_slopes(weight, x, y, threat)
    moved, kink = weight.double() - (right + left) / 2, (right - left) / 2
    return weight.double() - moved.sign() * (moved.abs() - kink).clamp_min(0)
