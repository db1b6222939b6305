"""Properties of every attack of the catalogue: ball, range, eps = 0, independence of batches, an unchanged model.

A new attack is tested without being named here, with the cheap parameters of ``CHEAP``. It needs a line in ``PARAMETERS`` if it
has a required parameter that ``CHEAP`` does not know, and one in ``INPUTS`` if it is for images or for waveforms only; the first
two tests say so.
"""

from __future__ import annotations

import copy
import itertools
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
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
from robustscape.config.attacks import AttackSpec, is_defined_in
from robustscape.errors import AttackError
from robustscape.evaluation.harness.craft import correctly_classified, craft

CLASSES = 5

#: Parameters by name: wherever an attack has one, this is its value in these tests. Budgets are small, for thousands of examples.
CHEAP: dict[str, Any] = {
    "steps": 3,
    "iterations": 4,
    "queries": 12,
    "coordinates": 6,
    "samples": 2,
    "copies": 2,
    "n_target_classes": 2,
    "search_steps": 2,
    "kernel": 3,
    "bands": 5,
    "band": 1,
    "variance": 0.1,
    "superclass": [0, 0, 1, 1, 1],
}

#: Attack -> parameters beyond ``CHEAP`` (or instead of it).
PARAMETERS: dict[str, dict[str, Any]] = {
    "fab": {"iterations": 3, "restarts": 2},
    "linbp": {"start": 0.0},
    "bpa": {"start": 0.0},
    "di_fgsm": {"resize_rate": 0.7, "probability": 0.8},
    "ti_fgsm": {"resize_rate": 0.7, "probability": 0.8},
}

#: Attacks that are tested with other parameters too: name of the variant -> attack, parameters beyond ``CHEAP``.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "pgd_restarts": ("pgd", {"steps": 2, "restarts": 2, "early_stopping": True, "keep_best": True}),
    "pgd_gaussian": ("pgd", {"start": "gaussian", "start_std": 0.05}),
    "pgd_targeted": ("pgd", {"targeted": True}),
    "apgd_targeted": ("apgd", {"loss": "dlr_targeted"}),
    "apgd_l1_targeted": ("apgd_l1", {"loss": "dlr_targeted"}),
    "fab_untargeted": ("fab", {"iterations": 3, "each_class": False}),
    "kl_pgd_uniform": ("kl_pgd", {"start": "uniform"}),
    "hierarchical_pgd_average": ("hierarchical_pgd", {"case": "average"}),
    "band_limited_noise_variance": ("band_limited_noise", {"variance": 0.1}),
}

SHAPES: dict[str, list[tuple[int, ...]]] = {
    "images": [(1, 5, 5), (2, 8, 6), (3, 5, 5)],
    "waveforms": [(1, 16), (20,)],
    "any": [(7,), (1, 16), (20,), (1, 5, 5), (2, 8, 6), (3, 5, 5)],
}

#: Attacks that refuse other inputs.
INPUTS = {"di_fgsm": "images", "ti_fgsm": "images", "dim_1d": "waveforms", "tim_1d": "waveforms"}

#: Attacks whose random numbers decide nothing for most samples.
SEED_RARELY_MATTERS = {"fab", "fab_untargeted"}

NAMES = [*catalog.catalog_entries("attack"), *VARIANTS]


def attack_name(name: str) -> str:
    """The name in the catalogue of a name in ``NAMES``."""
    return VARIANTS[name][0] if name in VARIANTS else name


def norms(name: str) -> list[Any]:
    """The norms of the balls that the attack searches."""
    return [norm for norm in ("Linf", "L2", "L1") if is_defined_in(attack_name(name), norm)]


#: Every attack in every norm that it is defined in.
IN_NORMS = [(name, norm) for name in NAMES for norm in norms(name)]


def parameters(name: str, **changes: Any) -> dict[str, Any]:
    """Cheap parameters of an attack or a variant; ``changes`` apply to those that it has."""
    known = catalog.find_entry("attack", attack_name(name)).parameters.model_fields
    own = VARIANTS[name][1] if name in VARIANTS else PARAMETERS.get(name, {})
    shared = CHEAP if name != "band_limited_noise" else {k: v for k, v in CHEAP.items() if k != "variance"}
    return {key: value for key, value in (shared | own | changes).items() if key in known}


def spec(name: str, norm: Any = None, **changes: Any) -> AttackSpec:
    norm = norm or norms(name)[0]
    aim = {"targets": "second"} if parameters(name).get("targeted") else {}
    fields = {"attack": attack_name(name), "norm": norm, "parameters": parameters(name)} | aim | changes
    return AttackSpec.model_validate(fields)


def shapes(name: str) -> list[tuple[int, ...]]:
    """Shapes of one input that the attack takes."""
    return SHAPES[INPUTS.get(attack_name(name), "any")]


def run(name: str, model: Any, x: Tensor, y: Tensor, threat: ThreatModel, seed: int = 0, **changes: Any) -> Tensor:
    """The attack itself, without the harness that freezes models and checks results."""
    entry = catalog.find_entry("attack", attack_name(name))
    arguments = entry.parameters.model_validate(parameters(name, **changes)).model_dump()
    return entry.load()(model, x, y, threat, SampleGenerator.seeded(seed, len(x)), **arguments)


class Net(nn.Module):
    """A tiny nonlinear classifier of inputs of any shape, with ReLUs and a part ``meta`` for two superclasses."""

    def __init__(self, inputs: int, classes: int = CLASSES, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(torch.randn(inputs, 8, generator=generator) / inputs**0.5)
        self.second = nn.Parameter(torch.randn(8, classes, generator=generator))
        self.meta = nn.Linear(inputs, 2)
        with torch.no_grad():
            self.meta.weight.copy_(torch.randn(2, inputs, generator=generator))
            self.meta.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        groups = self.meta(x)
        hidden = torch.cat([torch.tanh(4 * x @ self.first[:, :6]), F.relu(4 * x @ self.first[:, 6:])], 1)
        return hidden @ self.second + 0 * groups.sum(1, keepdim=True)


class Layered(nn.Module):
    """As ``Net``, with everything an attack might change: weights, running statistics, dropout, modes."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(inputs, 8), nn.BatchNorm1d(4), nn.Dropout(0.3)
        self.meta, self.second = nn.Linear(8, 2), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(F.relu(self.norm(self.first(x.flatten(1)).view(-1, 4, 2)).flatten(1)))
        return self.meta(hidden)[:, CHEAP["superclass"]] + self.second(hidden)


# What a new attack needs here -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", catalog.catalog_entries("attack"))
def test_required_parameters_are_known_here(name: str) -> None:
    fields = catalog.find_entry("attack", name).parameters.model_fields
    missing = [key for key, field in fields.items() if field.is_required() and key not in parameters(name)]
    assert not missing, (
        f"the attack '{name}' has required parameters {missing}: give them a value in PARAMETERS of {__file__}, "
        "so that the properties of every attack can be tested for it."
    )


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_known_here(name: str) -> None:
    for shape in shapes(name):
        x, y = torch.rand(3, *shape), torch.arange(3)
        try:
            run(name, Net(x[0].numel()), x, y, ThreatModel(norms(name)[0], 0.1))
        except AttackError as error:
            pytest.fail(
                f"the attack '{name}' refuses inputs of shape {tuple(x.shape)} ({error}): say in INPUTS of {__file__} "
                "whether it is for images or for waveforms."
            )


def test_tables_name_attacks_of_the_catalogue() -> None:
    known = set(catalog.catalog_entries("attack"))
    assert {*PARAMETERS, *INPUTS, *(attack for attack, _ in VARIANTS.values())} <= known
    assert set(NAMES) >= SEED_RARELY_MATTERS and not known & set(VARIANTS)


# Properties -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    place=st.integers(0, 5),
    which=st.integers(0, 1),
    bounds=st.sampled_from([(0.0, 1.0), (-1.0, 1.0), None]),
    eps_values=st.lists(st.sampled_from([0.0, 1e-4, 0.03, 0.3, 1.0, 4.0]), min_size=1, max_size=4),
    shared=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_result_is_in_the_ball_and_in_the_range(
    name: str, place: int, which: int, bounds: Any, eps_values: list[float], shared: bool, seed: int
) -> None:
    shape = shapes(name)[place % len(shapes(name))]
    count = len(eps_values)
    eps: float | Tensor = eps_values[0] if shared else torch.tensor(eps_values)
    low, high = bounds or (-3.0, 3.0)
    stream = torch.Generator().manual_seed(seed)
    x = torch.rand(count, *shape, generator=stream) * (high - low) + low
    x[0].round_()  # corners of the range are where clipping goes wrong
    x = x.clamp(low, high)
    y = torch.randint(CLASSES, (count,), generator=stream)
    threat = ThreatModel(norms(name)[which % len(norms(name))], eps, bounds)
    x_before = x.clone()
    x_adv = run(name, Net(x[0].numel(), seed=seed % 7), x, y, threat, seed)
    threat.check(x_adv, x)  # shape, finite, ball, range
    assert torch.equal(x, x_before)
    assert x_adv.dtype == x.dtype and not x_adv.requires_grad
    still = torch.tensor([e == 0 for e in eps_values]) if not shared else torch.full((count,), eps_values[0] == 0)
    torch.testing.assert_close(x_adv[still], x[still], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "norm"), IN_NORMS)
def test_batch_size_and_order_change_nothing(name: str, norm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    bits = SampleGenerator._bits
    monkeypatch.setattr(SampleGenerator, "_bits", lambda self, shape: drawn.append(shape) or bits(self, shape))
    torch.manual_seed(1)
    shape = shapes(name)[-1]
    x, y = torch.rand(23, *shape).double(), torch.randint(CLASSES, (23,))
    model = Net(x[0].numel()).double()
    whole = craft(model, x, y, spec(name, norm), 0.2, seed=3)
    small = craft(model, x, y, spec(name, norm), 0.2, seed=3, batch_size=4)
    torch.testing.assert_close(small, whole, rtol=0, atol=1e-9)
    order = torch.randperm(23)
    shuffled = craft(model, x[order], y[order], spec(name, norm), 0.2, seed=3, index=order)
    torch.testing.assert_close(shuffled, whole[order], rtol=0, atol=1e-9)
    again = craft(model, x, y, spec(name, norm), 0.2, seed=3)
    assert torch.equal(again, whole)
    if name not in SEED_RARELY_MATTERS:
        other = craft(model, x, y, spec(name, norm), 0.2, seed=4)
        assert torch.equal(other, whole) == (not drawn), f"'{name}' draws random numbers, and the seed does not matter"


@pytest.mark.parametrize(("name", "norm"), IN_NORMS)
def test_eps_per_sample_equals_one_eps_at_a_time(name: str, norm: Any) -> None:
    torch.manual_seed(2)
    x, y = torch.rand(24, *shapes(name)[-1]).double(), torch.randint(CLASSES, (24,))
    model = Net(x[0].numel()).double()
    values = torch.tensor([0.0, 1 / 16, 1 / 4, 1 / 2]).double()  # exact in every precision
    mixed = craft(model, x, y, spec(name, norm), values.repeat(6), seed=0)
    for position, eps in enumerate(values.tolist()):
        rows = torch.arange(position, 24, 4)
        alone = craft(model, x[rows], y[rows], spec(name, norm), eps, seed=0, index=rows)
        torch.testing.assert_close(mixed[rows], alone, rtol=0, atol=1e-9)


class ScaledBackward(torch.autograd.Function):
    """The identity, whose gradients are scaled by 2^-80."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * 2.0**-80


class Rescaled(nn.Module):
    """``net`` with logits scaled by ``factor``; None: with logits as they are and gradients that are scaled by 2^-80."""

    def __init__(self, net: Net, factor: float | None) -> None:
        super().__init__()
        self.net, self.meta, self.factor = net, net.meta, factor

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return ScaledBackward.apply(logits) if self.factor is None else self.factor * logits  # type: ignore[no-untyped-call]


#: Attacks that compare a gradient with a value or a length: to scale the one alone changes what they should do.
LINEARISE = {"fab", "fab_untargeted", "cw_l2"}

#: Attacks on a loss that does not depend on the scale of logits.
FREE_OF_SCALE = {
    "fab",
    "fab_untargeted",
    "apgd_targeted",
    "apgd_l1_targeted",
    "cw_linf",
    "square",
    "square_l1",
}


@pytest.mark.parametrize(("name", "norm"), IN_NORMS)
def test_tiny_gradients_and_tiny_logits_lead_where_larger_ones_do(name: str, norm: Any) -> None:
    """Bit for bit, since the scale is a power of two: no constant beside a norm swallows the gradients of a confident net."""
    torch.manual_seed(5)
    x, y = torch.rand(12, *shapes(name)[-1]), torch.randint(CLASSES, (12,))
    net, eps = Net(x[0].numel()), {"Linf": 0.1, "L2": 0.5, "L1": 3.0}[norm]
    expected = craft(net, x, y, spec(name, norm), eps, seed=0)
    if name not in LINEARISE:
        assert torch.equal(craft(Rescaled(net, None), x, y, spec(name, norm), eps, seed=0), expected)
    if name in FREE_OF_SCALE:
        assert torch.equal(craft(Rescaled(net, 2.0**-60), x, y, spec(name, norm), eps, seed=0), expected)


def strided(x: Tensor) -> dict[str, Tensor]:
    """``x`` (B, ...) in other memory: channels last, dimensions in reverse order, every second of a larger batch."""
    last, back = x.movedim(1, -1).contiguous().movedim(-1, 1), list(range(x.dim()))[::-1]
    apart = torch.zeros(2 * len(x), *x.shape[1:])
    apart[::2] = x
    return {"channels last": last, "reversed": x.permute(back).contiguous().permute(back), "every second": apart[::2]}


@pytest.mark.parametrize(("name", "norm"), IN_NORMS)
def test_the_memory_of_inputs_changes_nothing(name: str, norm: Any) -> None:
    """The attack alone, and with the harness around it."""
    torch.manual_seed(7)
    eps = {"Linf": 0.1, "L2": 0.5, "L1": 3.0}[norm]
    more = [] if attack_name(name) in INPUTS else [(2, 9), (2, 3, 4, 5)]
    for shape in [*shapes(name)[-1:], *more]:
        x, y = torch.rand(4, *shape), torch.randint(CLASSES, (4,))
        net = Net(x[0].numel())
        expected = run(name, net, x, y, ThreatModel(norm, eps)), craft(net, x, y, spec(name, norm), eps, seed=0)
        for memory, other in strided(x).items():
            assert torch.equal(other, x)
            found = (
                run(name, net, other, y, ThreatModel(norm, eps)),
                craft(net, other, y, spec(name, norm), eps, seed=0),
            )
            for one, two in zip(found, expected, strict=True):
                torch.testing.assert_close(one, two, rtol=0, atol=1e-6, msg=f"{memory}, {shape}")


@pytest.mark.parametrize("name", NAMES)
def test_eps_zero_is_clean(name: str) -> None:
    x, y = torch.rand(6, *shapes(name)[0]), torch.randint(CLASSES, (6,))
    model = Net(x[0].numel())
    assert torch.equal(craft(model, x, y, spec(name), 0.0, seed=0), x)
    torch.testing.assert_close(run(name, model, x, y, ThreatModel(norms(name)[0], 0.0)), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_model_is_left_as_it_was(name: str) -> None:
    """Weights, buffers, modes, flags, gradients, hooks, ``forward``: by the harness and, in eval mode, by the attack alone."""
    torch.manual_seed(0)
    x, y = torch.rand(6, *shapes(name)[-1]), torch.randint(CLASSES, (6,))
    model = Layered(x[0].numel())
    model.second.eval()
    model.second.bias.requires_grad_(False)
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    for mode in ("eval", "train"):
        craft(model, x, y, spec(name, model_mode=mode), 0.1, seed=0)
        assert [m.training for m in model.modules()] == modes
    run(name, model.eval(), x, y, ThreatModel(norms(name)[0], 0.1))
    assert not any(m.training for m in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert {key for key, p in model.named_parameters() if not p.requires_grad} == {"second.bias"}
    assert all(p.grad is None for p in model.parameters())
    for module in model.modules():
        assert "forward" not in module.__dict__
        assert not (module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def test_train_mode_uses_the_statistics_of_the_batch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(7), nn.Linear(7, 5))
    x, y = torch.rand(64, 7), torch.randint(5, (64,))
    evaluated, trained = (
        craft(model, x, y, spec("fgsm", "L2", model_mode=mode), 0.3, seed=0) for mode in ("eval", "train")
    )
    assert not torch.equal(evaluated, trained)


@pytest.mark.parametrize("name", NAMES)
def test_model_that_answers_nan_is_refused_by_name(name: str) -> None:
    """By an attack that uses the model at all, which noise does not."""
    calls = 0

    def counted(module: nn.Module, inputs: Any) -> None:
        nonlocal calls
        calls += 1

    x, y = torch.rand(6, *shapes(name)[0]), torch.randint(CLASSES, (6,))
    model = Net(x[0].numel())
    for parameter in model.parameters():
        parameter.data.fill_(torch.nan)
    model.register_forward_pre_hook(counted)
    said = ""
    try:
        craft(model, x, y, spec(name), 0.1, seed=0)
    except AttackError as error:
        said = str(error)
    assert bool(calls) == bool(re.search(rf"NaN.*'{attack_name(name)}'", said)), said
    with pytest.raises(AttackError, match="NaN"):
        correctly_classified(model, x, y)


class Flat(nn.Module):
    """Its logits are constant: every gradient is zero."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.first, self.meta = nn.Linear(inputs, 4), nn.Linear(inputs, 2)
        self.second = nn.Parameter(torch.zeros(4, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        logits: Tensor = F.relu(self.first(x)) @ self.second + torch.arange(CLASSES)
        return logits + 0 * self.meta(x).sum(1, keepdim=True)


@pytest.mark.parametrize(("name", "norm"), IN_NORMS)
def test_odd_batches_are_attacked_legally(name: str, norm: Any) -> None:
    """One sample; a class that is absent; zero gradients; budgets of which one is 0, among rows of every shape."""
    for shape in shapes(name):
        stream = torch.Generator().manual_seed(3)
        x = torch.rand(5, *shape, generator=stream)
        y = torch.tensor([0, 1, 2, 3, 3])  # nobody is of the last class
        eps = torch.tensor([0.0, 0.05, 0.3, 0.0, 1.0])
        for model in (Net(x[0].numel()), Flat(x[0].numel())):
            for rows in (slice(None), slice(1, 2), slice(0, 1)):
                found = craft(model, x[rows], y[rows], spec(name, norm), eps[rows], seed=0)
                ThreatModel(norm, eps[rows]).check(found, x[rows])
                still = eps[rows] == 0
                assert torch.equal(found[still], x[rows][still])
                alone = craft(model, x[2:3], y[2:3], spec(name, norm), 0.3, seed=0, index=torch.tensor([2]))
            both = craft(model, x, y, spec(name, norm), eps, seed=0)
            torch.testing.assert_close(both[2:3], alone, rtol=0, atol=1e-4)


# Robust accuracy ------------------------------------------------------------------------------------------------------


class Digits(nn.Module):
    """A net for digits of 8x8 pixels as images or as waveforms, with a part ``meta`` for the superclasses of ``HALVES``."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.meta = Superclasses(net)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(-1, 1, 8, 8)
        self.meta(x)
        return self.net(x)


class Superclasses(nn.Module):
    """Logits of the superclasses: the log of the sum of their classes' probabilities."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x).log_softmax(1)
        members = torch.tensor(HALVES)
        return torch.stack([logits[:, members == z].logsumexp(1) for z in range(2)], 1)


HALVES = [0] * 5 + [1] * 5

#: Enough work for an attack to find what there is to find.
ENOUGH: dict[str, Any] = {
    "steps": 10,
    "iterations": 15,
    "queries": 150,
    "coordinates": 64,
    "n_target_classes": 3,
    "restarts": 1,
    "superclass": HALVES,
}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "pgd_targeted"])
def test_robust_accuracy_does_not_rise_with_eps(name: str, digits: Any) -> None:
    """Within 2 of 120 samples, since no search is perfect. Attacks on superclasses are judged by these."""
    x, y = digits.x[:120], digits.y[:120]
    if INPUTS.get(attack_name(name)) == "waveforms":
        x = x.flatten(1)
    members = torch.tensor(HALVES)
    superclass = "superclass" in catalog.find_entry("attack", attack_name(name)).parameters.model_fields
    model = Digits(digits.model).eval()
    robust = []
    with frozen(model):
        for eps in (0.0, 0.06, 0.12, 0.25):
            threat = ThreatModel("L1", 16 * eps) if norms(name) == ["L1"] else ThreatModel("Linf", eps)
            x_adv = run(name, model, x, y, threat, **ENOUGH)
            predicted = predict(model, x_adv).argmax(1)
            right = members[predicted] == members[y] if superclass else predicted == y
            robust.append(int(right.sum()))
    assert all(more <= fewer + 2 for fewer, more in itertools.pairwise(robust)), robust
    assert robust[-1] < robust[0] or "noise" in name, robust


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


def test_robust_accuracy_under_pgd_falls_with_eps_in_both_norms(digits: Any) -> None:
    for norm, eps_values in (("Linf", (0.02, 0.06, 0.1, 0.15, 0.25)), ("L2", (0.1, 0.3, 0.6, 1.0, 2.0))):
        shares = [robust(digits, eps, norm, steps=10).float().mean().item() for eps in eps_values]
        assert all(a >= b - 0.003 for a, b in itertools.pairwise(shares)), shares
        assert shares[0] - shares[-1] > 0.3


def test_robust_accuracy_falls_with_steps(digits: Any) -> None:
    shares = [robust(digits, 0.12, steps=steps, step_size=0.02).float().mean().item() for steps in (1, 3, 10, 30)]
    assert all(a >= b - 0.003 for a, b in itertools.pairwise(shares)), shares
    assert shares[0] > shares[-1]


def test_more_restarts_break_a_superset(digits: Any) -> None:
    found = [robust(digits, 0.12, steps=5, restarts=count, early_stopping=True) for count in (1, 2, 4)]
    for fewer, more in itertools.pairwise(found):
        assert not (more & ~fewer).any()
    assert found[-1].sum() < found[0].sum()


def test_early_stopping_hardly_changes_which_samples_are_robust(digits: Any) -> None:
    last, stopped = (robust(digits, 0.12, steps=20, early_stopping=early) for early in (False, True))
    # Without early stopping a misclassified sample may be classified correctly again by a later iterate.
    assert stopped.sum() <= last.sum() + 1
    assert (last != stopped).float().mean() < 0.02


def test_attacks_order_by_strength(digits: Any) -> None:
    with frozen(digits.model):
        threat, generator = ThreatModel("Linf", 0.12), SampleGenerator.seeded(0, len(digits.x))
        one = ~misclassified(predict(digits.model, fgsm(digits.model, digits.x, digits.y, threat, generator)), digits.y)
        auto = apgd(digits.model, digits.x, digits.y, threat, generator, iterations=50)
        best = ~misclassified(predict(digits.model, auto), digits.y)
    clean = ~misclassified(predict(digits.model, digits.x), digits.y)
    many = robust(digits, 0.12, steps=50)
    assert clean.sum() > one.sum() > many.sum() >= best.sum() > 0
