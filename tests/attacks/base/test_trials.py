"""Restarts and target classes that share passes: the same results as one after the other, for no more work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape import catalog
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import misclassified, predict
from robustscape.attacks.base.search import SearchModel
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd

ATTACKS: dict[str, tuple[str, dict[str, Any], int]] = {
    # attack, parameters, passes of a robust sample forward (clean logits included)
    "pgd": ("pgd", {"steps": 4, "restarts": 5, "early_stopping": True}, 5 * 5),
    "pgd, to the end": ("pgd", {"steps": 4, "restarts": 5}, 5 * 5),
    "apgd": ("apgd", {"iterations": 6, "restarts": 4}, 1 + 4 * 7),
    "apgd, to the end": ("apgd", {"iterations": 6, "restarts": 3, "early_stopping": False}, 1 + 3 * 7),
    "apgd_t": ("apgd", {"iterations": 5, "loss": "dlr_targeted", "n_target_classes": 4, "restarts": 2}, 1 + 8 * 6),
    "fab": ("fab", {"iterations": 4, "n_target_classes": 4, "restarts": 2}, 1 + 8 * 8),
}


class Recorded(SearchModel):
    """Remembers the sizes of its batches; ``rows`` samples may share a pass."""

    def __init__(self, model: nn.Module, rows: int) -> None:
        super().__init__(model)
        self.rows, self.sizes = rows, list[int]()

    def most_rows(self, x: Tensor) -> int:
        return self.rows

    def search(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return super().search(x)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", ATTACKS)
def test_trials_that_share_passes_find_what_trials_one_by_one_find(digits: Any, name: str, norm: Any) -> None:
    attack, parameters, passes = ATTACKS[name]
    x, y = digits.x[:60].double(), digits.y[:60]
    threat = ThreatModel(norm, 0.1 if norm == "Linf" else 0.5)
    model = type(digits.model)(*digits.model).double()
    try:
        one, many = Recorded(model, 0), Recorded(model, 150)
        function = catalog.load_function("attack", attack)
        alone, together = (
            function(net, x, y, threat, SampleGenerator.seeded(0, 60), **parameters) for net in (one, many)
        )
        wrong = misclassified(predict(model, alone), y)
        assert torch.equal(wrong, misclassified(predict(model, together), y))
        robust = ~wrong if "to the end" not in name else torch.ones_like(wrong)
        assert 5 < int(wrong.sum()) < 55
        torch.testing.assert_close(together[robust], alone[robust], rtol=0, atol=1e-9)
        threat.check(together, x)
    finally:
        model.float()
    assert max(one.sizes) <= 60 < max(many.sizes) <= 150
    assert len(many.sizes) < 0.8 * len(one.sizes)
    assert many.forwards <= 60 * passes
    assert abs(many.forwards - one.forwards) < 0.15 * one.forwards  # a sample broken in a later run has begun others


def test_a_samples_rows_leave_together() -> None:
    """The likeliest class cannot be reached. The next two are tried at once: one breaks the sample, and both are done."""

    class SecondBreaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            level = x.flatten(1).mean(1)
            return torch.stack([0.5 + 0 * level, 0.3 + 0 * level, 2 * level - 0.1, 0.05 - 0.1 * level], 1)

    x, y = torch.full((3, 4), 0.1), torch.zeros(3, dtype=torch.int64)
    net = Recorded(SecondBreaks().eval(), 100)
    parameters = {"loss": "dlr_targeted", "iterations": 10, "random_start": False}
    found = catalog.load_function("attack", "apgd")(
        net, x, y, ThreatModel("Linf", 0.5), SampleGenerator.seeded(0, 3), **parameters
    )
    assert misclassified(predict(net.model, found), y).all()
    assert net.sizes == [3] * 11 + [6, 6]


def test_samples_that_share_a_pass_are_as_many_as_memory_allows() -> None:
    small = SearchModel(nn.Linear(8, 4).eval())
    large = SearchModel(nn.Sequential(nn.Linear(8, 100_000), nn.ReLU()).eval())
    x = torch.rand(5, 8)
    assert small.most_rows(x) > large.most_rows(x) > len(x)
    assert small.forwards == 0
    huge = SearchModel(nn.Sequential(nn.Linear(8, 20_000_000), nn.Tanh()).eval(), batch_size=7)
    assert huge.most_rows(x) == 7
    assert SearchModel(nn.Linear(8, 4).train()).most_rows(x) == 0  # batch statistics are part of a model in train mode


def test_a_function_of_the_batch_is_attacked_trial_by_trial() -> None:
    """A toy may have weights of its own for each sample: rows of several trials in one batch would not fit them."""
    weights = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    sizes = set()

    def model(points: Tensor) -> Tensor:
        sizes.add(len(points))
        return torch.stack([torch.zeros(len(points)), (points * weights).sum(1)], 1)

    x, y = torch.full((7, 3), 0.5), torch.arange(7) % 2
    threat = ThreatModel("Linf", 0.1)
    found = pgd(model, x, y, threat, SampleGenerator.seeded(0, 7), steps=20, restarts=3, rel_step_size=0.2)
    assert sizes == {7}
    worst = x - 0.1 * weights.sign() * (2 * y[:, None] - 1)
    torch.testing.assert_close(found, worst)
