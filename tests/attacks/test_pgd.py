"""PGD's end at rest: the same points for fewer passes, where it is sure that nothing would change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.attacks import pgd as module
from robustscape.attacks.base import search
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import input_gradient
from robustscape.attacks.base.losses import cross_entropy, margin
from robustscape.attacks.base.search import SearchModel
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd
from robustscape.models import Classifier, Normalize
from robustscape.models.logistic_regression import LogisticRegression


@pytest.fixture
def linear() -> LogisticRegression:
    torch.manual_seed(0)
    return LogisticRegression(12, 1.0).eval()


@pytest.fixture
def samples() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(9, 1, 3, 4, generator=generator), torch.arange(9) % 2


@pytest.mark.parametrize(
    "parameters", [{}, {"keep_best": True}, {"restarts": 3}, {"early_stopping": True}, {"loss": "margin"}]
)
@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_an_ascent_at_rest_ends_where_all_its_steps_would(
    linear: LogisticRegression, samples: tuple[Tensor, Tensor], norm: Any, parameters: Any, monkeypatch: Any
) -> None:
    x, y = samples

    def attack() -> tuple[Tensor, int]:
        net = SearchModel(linear)
        found = pgd(net, x, y, ThreatModel(norm, 0.02), SampleGenerator.seeded(0, 9), steps=40, **parameters)
        return found, net.forwards

    quick, few = attack()
    monkeypatch.setattr(module._AtRest, "__call__", lambda *_: False)
    full, many = attack()
    assert torch.equal(quick, full)
    assert few < many if norm == "Linf" else few <= many  # in L2 rounding may move the points for ever
    assert many == 9 * 40 or parameters, "without the end at rest every step is made"


class _Restless(nn.Module):
    """Answers that change the sign of their slope every third time, whatever the input."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        level = x.flatten(1).sum(1) * (1.0 if self.calls % 16 < 13 else -1.0) + 1e-3 * self.calls
        return torch.stack([level, 0 * level], 1)


def test_a_model_with_a_randomness_of_its_own_never_rests(samples: tuple[Tensor, Tensor]) -> None:
    """It stands at a corner for many steps, until the model changes its mind."""
    x, y = samples[0], torch.zeros(9, dtype=torch.int64)
    model = _Restless().eval()
    pgd(model, x, y, ThreatModel("Linf", 0.1), SampleGenerator.seeded(0, 9), steps=40)
    assert model.calls == 40


def test_a_model_in_training_mode_never_rests(samples: tuple[Tensor, Tensor]) -> None:
    """Every pass moves its running statistics."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.BatchNorm1d(2)).train()
    pgd(model, *samples, ThreatModel("Linf", 1e-3), SampleGenerator.seeded(0, 9), steps=40)
    assert model[2].num_batches_tracked == 40


def test_logistic_regression_has_the_gradients_of_autograd(
    linear: LogisticRegression, samples: tuple[Tensor, Tensor], monkeypatch: Any
) -> None:
    x, y = samples
    x[0] = 40.0 * (
        linear.linear.weight.detach().view(1, 3, 4) > 0
    )  # far from the boundary: probabilities round to 0 and 1
    biased = LogisticRegression(12, 1.0, bias=True).eval()
    biased.linear.bias.data.fill_(-0.5)
    whole = Classifier(nn.Identity(), biased).eval()
    monkeypatch.setattr(search, "input_gradient", None)  # not by autograd
    for model, inputs, labels in ((linear, x, y), (biased, x, 1 - y), (whole, 10 * x, y)):
        net = SearchModel(model)
        for found, expected in zip(
            net.gradient(inputs, labels, cross_entropy),
            input_gradient(model, inputs, labels, cross_entropy),
            strict=True,
        ):
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
            assert not found.requires_grad
        assert (net.forwards, net.backwards) == (9, 9)


def test_other_losses_and_normalised_inputs_are_left_to_autograd(
    linear: LogisticRegression, samples: tuple[Tensor, Tensor]
) -> None:
    x, y = samples
    scaled = Classifier(Normalize([0.5], [0.2]), linear).eval()
    for model, loss in ((linear, margin), (scaled, cross_entropy)):
        found = SearchModel(model).gradient(x, y, loss)[2]
        torch.testing.assert_close(found, input_gradient(model, x, y, loss)[2])
