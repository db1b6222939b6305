"""PGD from a point next to the input: its start, its steps, and the same result as plain PGD where the start does not matter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd

EPS = 0.1


def net_and_batch() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Softplus(), nn.Linear(6, 3)).eval()
    return net, torch.rand(5, 1, 4, 4), torch.arange(5) % 3


def test_it_is_the_loop_of_the_authors_code() -> None:
    net, x, y = net_and_batch()
    threat, seed = ThreatModel("Linf", EPS), 3
    found = pgd(net, x, y, threat, SampleGenerator.seeded(seed, 5), steps=4, rel_step_size=0.4, start="gaussian")
    point = (x + 0.001 * SampleGenerator.seeded(seed, 5).normal(x.shape[1:])).clamp(0, 1)
    for _ in range(4):
        leaf = point.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(net(leaf), y), leaf)
        point = torch.minimum(torch.maximum(point + 0.4 * EPS * gradient.sign(), x - EPS), x + EPS).clamp(0, 1)
    torch.testing.assert_close(found, point)


def test_in_l2_it_ends_where_pgd_from_the_input_ends() -> None:
    net, x, y = net_and_batch()
    threat = ThreatModel("L2", EPS)
    near = pgd(net, x, y, threat, SampleGenerator.seeded(0, 5), steps=30, start="gaussian", start_std=1e-6)
    plain = pgd(net, x, y, threat, SampleGenerator.seeded(0, 5), steps=30, random_start=False)
    torch.testing.assert_close(near, plain, rtol=0, atol=1e-4)
