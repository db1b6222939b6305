"""The closure: one batch, the same in every call of a step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustscape.training.closure import Closure
from robustscape.training.objective import CrossEntropy

X = torch.rand(16, 10, generator=torch.Generator().manual_seed(0))
Y = torch.arange(16) % 2


def make_model(dropout: float) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.Dropout(dropout), nn.Linear(8, 2)).train()


def started(model: nn.Module, optimizer: torch.optim.Optimizer) -> Closure:
    closure = Closure(model)
    closure.begin(optimizer, CrossEntropy(model, X, Y))
    return closure


def test_dropout_is_the_same_in_every_call_of_a_step_and_another_in_the_next() -> None:
    model = make_model(0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    torch.manual_seed(3)
    closure = started(model, optimizer)
    first = [closure().item(), closure().item(), closure.per_sample().mean().item()]
    assert first == pytest.approx([first[0]] * 3, rel=1e-6)
    closure.begin(optimizer, CrossEntropy(model, X, Y))
    second = closure().item()
    assert second != pytest.approx(first[0], rel=1e-3)
    assert closure().item() == pytest.approx(second, rel=1e-6)


@pytest.mark.parametrize("pass_number", [0, 1, 2])
def test_running_statistics_move_once_in_the_call_that_the_optimizer_names(pass_number: int) -> None:
    model = make_model(0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    optimizer.statistics_pass = pass_number  # type: ignore[attr-defined]
    closure = started(model, optimizer)
    moved = []
    for _ in range(4):
        before = model[1].running_mean.clone()
        closure()
        moved.append(not torch.equal(before, model[1].running_mean))
    assert moved == [call == pass_number for call in range(4)]
    assert model[1].num_batches_tracked.item() == 1


def test_gradients_are_those_of_one_call() -> None:
    """They are cleared before each call, so that a second one does not add to the first."""
    model = make_model(0.0)
    closure = started(model, torch.optim.SGD(model.parameters(), lr=0.0))

    def gradients() -> Tensor:
        closure()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    torch.testing.assert_close(gradients(), gradients())


class FunctionalDropout(nn.Module):
    """Dropout by the function, which no module of the net shows."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(nn.functional.dropout(x, 0.5, self.training))


def test_dropout_that_is_no_module_is_the_same_in_every_call_too() -> None:
    torch.manual_seed(1)
    model = FunctionalDropout().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    closure = started(model, optimizer)
    first = [closure().item() for _ in range(3)]
    assert first == [first[0]] * 3
    closure.begin(optimizer, CrossEntropy(model, X, Y))
    assert closure().item() != pytest.approx(first[0], rel=1e-3)


@pytest.mark.parametrize("pass_number", [0, 2])
def test_instance_norm_moves_once_too(pass_number: int) -> None:
    torch.manual_seed(1)
    norm = nn.InstanceNorm1d(2, track_running_stats=True)
    model = nn.Sequential(nn.Unflatten(1, (2, 5)), norm, nn.Flatten(), nn.Linear(10, 2)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    optimizer.statistics_pass = pass_number  # type: ignore[attr-defined]
    closure = started(model, optimizer)
    moved = []
    for _ in range(4):
        assert norm.running_mean is not None
        before = norm.running_mean.clone()
        closure()
        moved.append(not torch.equal(before, norm.running_mean))
    assert moved == [call == pass_number for call in range(4)]
    assert norm.momentum == 0.1 and norm.track_running_stats
