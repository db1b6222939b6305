"""The copy that is attacked is the same function in the layout that is quickest, or in the model's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.attacks.base.gradients import frozen_copy


class Net(nn.Module):
    """A convolution, and what ``rest`` makes of its answer."""

    def __init__(self, rest: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.rest = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 3), rest

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.rest(self.first(x)))


def in_place(x: Tensor) -> Tensor:
    """What ``x`` is afterwards depends on whether ``contiguous`` has copied it."""
    return (F.relu_(x.contiguous()) + x).flatten(1)


@pytest.mark.parametrize(
    ("rest", "quick"),
    [
        (lambda x: x.flatten(1), True),
        (lambda x: x.view(len(x), -1), False),
        (in_place, False),
        (lambda x: torch.as_strided(x, (len(x), 144), (144, 1)), False),
    ],
    ids=["flatten", "view", "in place after contiguous", "strides"],
)
@pytest.mark.parametrize("train", [True, False])
def test_the_layout_changes_no_answer(rest: Callable[[Tensor], Tensor], quick: bool, train: bool) -> None:
    torch.manual_seed(0)
    model, x = Net(rest), torch.rand(8, 3, 8, 8)
    copy = frozen_copy(model, x, train=train)
    assert isinstance(copy, Net) and copy.training == train and model.training
    assert not any(p.requires_grad for p in copy.parameters()) and all(p.requires_grad for p in model.parameters())
    torch.testing.assert_close(copy(x), model(x).detach(), rtol=1e-5, atol=1e-5)
    assert copy.first.weight.is_contiguous(memory_format=torch.channels_last) == quick


def test_a_model_that_draws_numbers_or_fails_is_only_copied() -> None:
    x = torch.rand(2, 3, 8, 8)
    draws, fails = Net(lambda x: x.flatten(1) + torch.randn(144)), Net(lambda x: x / "two")  # type: ignore[operator]
    state = torch.get_rng_state()
    for model in (draws, fails):
        frozen_copy(model, x)
    assert torch.equal(torch.get_rng_state(), state)
