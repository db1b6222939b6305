"""A small net trained on scikit-learn's digits, shared by the tests of attacks; torch's switches, the same for every test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd


@dataclass(frozen=True)
class Trained:
    model: nn.Module
    x: Tensor
    y: Tensor

    def first(self, count: int) -> Trained:
        return Trained(self.model, self.x[:count], self.y[:count])


@pytest.fixture(autouse=True)
def torch_switches() -> Iterator[None]:
    """Give the next test torch's switches as this one found them: a command that ran in this process has set them."""
    deterministic, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    yield
    torch._C._set_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = benchmark


@pytest.fixture(scope="session")
def digits() -> Trained:
    """A convolutional net with batch normalisation, adversarially trained for seconds, and 397 images it never saw."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    x, y = (images.float() / 16).view(-1, 1, 8, 8), labels.long()
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    threat = ThreatModel("Linf", 0.1)
    for epoch in range(6):
        for batch in torch.randperm(1400).split(64):
            with frozen(model):
                generator = SampleGenerator.seeded(epoch, batch)
                x_adv = pgd(model, x[batch], y[batch], threat, generator, steps=2, rel_step_size=0.7)
            optimizer.zero_grad()
            F.cross_entropy(model(x_adv), y[batch]).backward()
            optimizer.step()
    torch.random.set_rng_state(state)
    torch.set_num_threads(threads)
    return Trained(model.eval(), x[1400:], y[1400:])
