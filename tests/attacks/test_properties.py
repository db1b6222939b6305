"""What must hold of every attack: ball, range, monotonicity, independence of batches."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustscape import catalog
from robustscape.attacks.apgd import apgd
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen, misclassified, predict
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.fgsm import fgsm
from robustscape.attacks.pgd import pgd
from robustscape.config.attacks import AttackSpec
from robustscape.errors import AttackError
from robustscape.evaluation.harness.craft import correctly_classified, craft

#: Every attack of this family, with budgets small enough for thousands of examples.
ATTACKS: dict[str, dict[str, Any]] = {
    "fgsm": {},
    "bim": {"steps": 3},
    "pgd": {"steps": 3},
    "pgd_restarts": {"steps": 2, "restarts": 2, "early_stopping": True, "keep_best": True},
    "cw_linf": {"steps": 3},
    "apgd": {"iterations": 6},
    "apgd_targeted": {"iterations": 4, "loss": "dlr_targeted", "n_target_classes": 2},
    "fab": {"iterations": 3, "n_target_classes": 2, "restarts": 2},
    "fab_untargeted": {"iterations": 3, "targeted": False},
    "square": {"queries": 12},
    "simba": {"coordinates": 6},
    "random_noise": {},
    "gaussian_noise": {"variance": 0.1},
}
NAMES = {"pgd_restarts": "pgd", "apgd_targeted": "apgd", "fab_untargeted": "fab"}


def spec(name: str, norm: Any = "Linf", **changes: Any) -> AttackSpec:
    fields = {"attack": NAMES.get(name, name), "norm": norm, "parameters": ATTACKS[name]} | changes
    return AttackSpec.model_validate(fields)


class Net(nn.Module):
    """A tiny nonlinear classifier of inputs of any shape."""

    def __init__(self, inputs: int, classes: int = 5, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(torch.randn(inputs, 8, generator=generator) / inputs**0.5)
        self.second = nn.Parameter(torch.randn(8, classes, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(4 * (x.flatten(1) @ self.first)) @ self.second


SHAPES = [(7,), (1, 16), (20,), (1, 5, 5), (3, 4, 4), (2, 8, 6)]


@pytest.mark.parametrize("name", ATTACKS)
@settings(max_examples=160, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    shape=st.sampled_from(SHAPES),
    norm=st.sampled_from(["Linf", "L2"]),
    bounds=st.sampled_from([(0.0, 1.0), (-1.0, 1.0), None]),
    eps_values=st.lists(st.sampled_from([0.0, 1e-4, 0.03, 0.3, 1.0, 4.0]), min_size=1, max_size=4),
    shared=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_result_is_in_the_ball_and_in_the_range(
    name: str, shape: tuple[int, ...], norm: Any, bounds: Any, eps_values: list[float], shared: bool, seed: int
) -> None:
    count = len(eps_values)
    eps: float | Tensor = eps_values[0] if shared else torch.tensor(eps_values)
    low, high = bounds or (-3.0, 3.0)
    stream = torch.Generator().manual_seed(seed)
    x = torch.rand(count, *shape, generator=stream) * (high - low) + low
    x[0].round_()  # corners of the range are where clipping goes wrong
    x = x.clamp(low, high)
    y = torch.randint(5, (count,), generator=stream)
    model = Net(x[0].numel(), seed=seed % 7)
    threat = ThreatModel(norm, eps, bounds)
    parameters = catalog.find("attack", NAMES.get(name, name)).parameters.model_validate(ATTACKS[name]).model_dump()
    attack = catalog.load_function("attack", NAMES.get(name, name))
    x_before = x.clone()
    x_adv = attack(model, x, y, threat, SampleGenerator.seeded(seed, count), **parameters)
    threat.check(x_adv, x)
    assert torch.equal(x, x_before)
    assert x_adv.dtype == x.dtype
    still = torch.tensor([e == 0 for e in eps_values]) if not shared else torch.full((count,), eps_values[0] == 0)
    torch.testing.assert_close(x_adv[still], x[still], rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", ATTACKS)
def test_batch_size_and_order_change_nothing(name: str, norm: Any) -> None:
    torch.manual_seed(1)
    x, y = torch.rand(23, 3, 5, 5).double(), torch.randint(5, (23,))
    model = Net(75).double()
    whole = craft(model, x, y, spec(name, norm), 0.2, seed=3)
    small = craft(model, x, y, spec(name, norm), 0.2, seed=3, batch_size=4)
    torch.testing.assert_close(small, whole, rtol=0, atol=1e-9)
    order = torch.randperm(23)
    shuffled = craft(model, x[order], y[order], spec(name, norm), 0.2, seed=3, index=order)
    torch.testing.assert_close(shuffled, whole[order], rtol=0, atol=1e-9)
    again = craft(model, x, y, spec(name, norm), 0.2, seed=3)
    assert torch.equal(again, whole)
    if name not in ("fgsm", "bim", "cw_linf", "fab", "fab_untargeted"):  # those draw nothing, or rarely need to
        other = craft(model, x, y, spec(name, norm), 0.2, seed=4)
        assert not torch.equal(other, whole)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", ATTACKS)
def test_eps_per_sample_equals_one_eps_at_a_time(name: str, norm: Any) -> None:
    torch.manual_seed(2)
    x, y = torch.rand(24, 3, 5, 5).double(), torch.randint(5, (24,))
    model = Net(75).double()
    values = torch.tensor([0.0, 1 / 16, 1 / 4, 1 / 2]).double()  # exact in every precision
    mixed = craft(model, x, y, spec(name, norm), values.repeat(6), seed=0)
    for position, eps in enumerate(values.tolist()):
        rows = torch.arange(position, 24, 4)
        alone = craft(model, x[rows], y[rows], spec(name, norm), eps, seed=0, index=rows)
        torch.testing.assert_close(mixed[rows], alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ATTACKS)
def test_eps_zero_is_clean(name: str) -> None:
    x, y = torch.rand(6, 7), torch.randint(5, (6,))
    assert torch.equal(craft(Net(7), x, y, spec(name), 0.0, seed=0), x)


@pytest.mark.parametrize("name", ATTACKS)
def test_model_is_left_as_it_was(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(36, 5))
    model[4].eval()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    x, y = torch.rand(6, 1, 5, 5), torch.randint(5, (6,))
    for mode in ("eval", "train"):
        craft(model, x, y, spec(name, model_mode=mode), 0.1, seed=0)
    assert [m.training for m in model.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_train_mode_uses_the_statistics_of_the_batch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(7), nn.Linear(7, 5))
    x, y = torch.rand(64, 7), torch.randint(5, (64,))
    evaluated, trained = (
        craft(model, x, y, spec("fgsm", "L2", model_mode=mode), 0.3, seed=0) for mode in ("eval", "train")
    )
    assert not torch.equal(evaluated, trained)


@pytest.mark.parametrize("name", [n for n in ATTACKS if "noise" not in n])
def test_model_that_answers_nan_is_refused_by_name(name: str) -> None:
    class Broken(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).log()

    x, y = torch.rand(6, 7), torch.randint(5, (6,))
    with pytest.raises(AttackError, match=rf"NaN.*'{NAMES.get(name, name)}'"):
        craft(Broken(7), x, y, spec(name), 0.1, seed=0)
    with pytest.raises(AttackError, match="NaN"):
        correctly_classified(Broken(7), x, y)


def test_illegal_batches_are_refused() -> None:
    x = torch.rand(3, 4)
    threat = ThreatModel("Linf", 0.1)
    for bad, reason in ((x + 0.2, "ball"), (x * torch.nan, "NaN"), (x[:2], "shape"), (x.new_full((3, 4), 2.0), "ball")):
        with pytest.raises(AttackError, match=reason):
            threat.check(bad, x)
    with pytest.raises(AttackError, match="range"):
        ThreatModel("Linf", 5.0).check(x + 2, x)


def test_apgd_refuses_losses_that_need_more_classes() -> None:
    x, y = torch.rand(4, 7), torch.zeros(4, dtype=torch.int64)
    for loss, classes in (("dlr", 2), ("dlr_targeted", 3)):
        with pytest.raises(AttackError, match=f"at least {classes + 1} classes"):
            apgd(Net(7, classes), x, y, ThreatModel("Linf", 0.1), SampleGenerator.seeded(0, 4), loss=loss)  # type: ignore[arg-type]


def robust(digits: Any, eps: float, norm: Any = "Linf", **parameters: Any) -> Tensor:
    with frozen(digits.model):
        generator = SampleGenerator.seeded(0, len(digits.x))
        x_adv = pgd(digits.model, digits.x, digits.y, ThreatModel(norm, eps), generator, **parameters)
        return ~misclassified(predict(digits.model, x_adv), digits.y)


def test_robust_accuracy_falls_with_eps(digits: Any) -> None:
    for norm, radii in (("Linf", (0.02, 0.06, 0.1, 0.15, 0.25)), ("L2", (0.1, 0.3, 0.6, 1.0, 2.0))):
        shares = [robust(digits, eps, norm, steps=10).float().mean().item() for eps in radii]
        assert all(a >= b - 0.003 for a, b in itertools.pairwise(shares)), shares
        assert shares[0] - shares[-1] > 0.3


def test_robust_accuracy_falls_with_steps(digits: Any) -> None:
    shares = [robust(digits, 0.12, steps=steps, step_size=0.02).float().mean().item() for steps in (1, 3, 10, 30)]
    assert all(a >= b - 0.003 for a, b in itertools.pairwise(shares)), shares
    assert shares[0] > shares[-1]


def test_more_restarts_fool_a_superset(digits: Any) -> None:
    standing = [robust(digits, 0.12, steps=5, restarts=count, early_stopping=True) for count in (1, 2, 4)]
    for fewer, more in itertools.pairwise(standing):
        assert not (more & ~fewer).any()
    assert standing[-1].sum() < standing[0].sum()


def test_early_release_keeps_the_verdict(digits: Any) -> None:
    kept, released = (robust(digits, 0.12, steps=20, early_stopping=release) for release in (False, True))
    # Once broken a sample may escape again while the loss is climbed, so a released run fools at least as many.
    assert released.sum() <= kept.sum() + 1
    assert (kept != released).float().mean() < 0.02


def test_attacks_order_by_strength(digits: Any) -> None:
    with frozen(digits.model):
        threat, generator = ThreatModel("Linf", 0.12), SampleGenerator.seeded(0, len(digits.x))
        one = ~misclassified(predict(digits.model, fgsm(digits.model, digits.x, digits.y, threat, generator)), digits.y)
        auto = apgd(digits.model, digits.x, digits.y, threat, generator, iterations=50)
        best = ~misclassified(predict(digits.model, auto), digits.y)
    clean = ~misclassified(predict(digits.model, digits.x), digits.y)
    many = robust(digits, 0.12, steps=50)
    assert clean.sum() > one.sum() > many.sum() >= best.sum() > 0
