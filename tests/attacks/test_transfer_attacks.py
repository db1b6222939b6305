"""Attacks that are made to transfer: against torchattacks, against each other's special cases, against closed forms."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchattacks
from torch import Tensor, nn

from robustscape import catalog
from robustscape.attacks import hierarchical_pgd as hierarchical_module
from robustscape.attacks._backward import is_residual_unit, relu_slope, with_backward_rule
from robustscape.attacks._diversity import random_resize_and_pad
from robustscape.attacks._hierarchy import group_loss
from robustscape.attacks._momentum import momentum_ascent, scaled_to_unit_mean
from robustscape.attacks._resampling import gaussian_kernel, shrink_and_pad, smooth_signal
from robustscape.attacks.band_limited_noise import band_limited_noise
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.bpa import bpa
from robustscape.attacks.di_fgsm import di_fgsm
from robustscape.attacks.dim_1d import dim_1d
from robustscape.attacks.ensemble import LogitEnsemble
from robustscape.attacks.group_loss_pgd import group_loss_pgd
from robustscape.attacks.hierarchical_pgd import hierarchical_pgd
from robustscape.attacks.linbp import linbp
from robustscape.attacks.mi_fgsm import mi_fgsm
from robustscape.attacks.ni_fgsm import ni_fgsm
from robustscape.attacks.nia import nia
from robustscape.attacks.pgd import pgd
from robustscape.attacks.pgd_meta import meta_classifier, pgd_meta
from robustscape.attacks.si_ni_fgsm import si_ni_fgsm
from robustscape.attacks.spectrum import band_noise
from robustscape.attacks.ti_fgsm import ti_fgsm
from robustscape.attacks.tim_1d import tim_1d
from robustscape.attacks.vmi_fgsm import vmi_fgsm
from robustscape.attacks.vni_fgsm import vni_fgsm
from robustscape.attacks.waveforms import waveform_eps
from robustscape.data.dct import band_masks, dct
from robustscape.errors import AttackError

EPS, STEP, STEPS = 8 / 255, 2 / 255, 5
CLASSES = 4
HIERARCHY = [0, 0, 1, 1]

Attack = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Residual(nn.Module):
    """conv, one residual unit with a ReLU inside and one at its end, a max-pool, a linear layer."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 6, 3, padding=1)
        self.unit = Unit(6)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.out = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.pool(self.unit(F.relu(self.stem(x)))).mean((2, 3)))


class Unit(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.second(self.relu(self.first(x))) + self.shortcut(x))


class Hierarchical(nn.Module):
    """log F(x) = log M(x)_z + log L_z(x)_y for two superclasses of two classes, counting whole forward passes."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.meta = nn.Linear(features, 2)
        self.leaves = nn.ModuleList(nn.Linear(features, 2) for _ in range(2))
        self.asked = 0

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        meta = self.meta(x).log_softmax(1)
        self.asked += 1
        return torch.cat([meta[:, [z]] + leaf(x).log_softmax(1) for z, leaf in enumerate(self.leaves)], 1)


def convolutional(channels: int = 3, pool: bool = True) -> nn.Module:
    layers = [
        nn.Conv2d(channels, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2) if pool else nn.Identity(),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, CLASSES),
    ]
    return nn.Sequential(*layers)


class Listener(nn.Module):
    """A net for waveforms (B, T) and (B, 1, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 6, 9, stride=4), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 8, 5), nn.ReLU()
        )
        self.out = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x if x.dim() == 3 else x[:, None]).mean(2))


def made(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """In float64, so that attacks that should agree do so to the last step of a sign."""
    torch.manual_seed(seed)
    return build().double().eval()


def inputs(kind: str, n: int = 6, side: int = 16) -> tuple[nn.Module, Tensor, Tensor, tuple[float, float] | None]:
    """Model, inputs, labels and range."""
    torch.manual_seed(7)
    y = torch.arange(n) % CLASSES
    if kind == "images":
        return made(convolutional), torch.rand(n, 3, side, side).double(), y, (0.0, 1.0)
    if kind == "grey":
        return made(lambda: Residual(1)), torch.rand(n, 1, side, side - 3).double(), y, (0.0, 1.0)
    if kind == "waveforms":
        return made(Listener), torch.rand(n, 120).double() * 1.6 - 0.8, y, (-1.0, 1.0)
    if kind == "waveform_channel":
        return made(Listener), torch.rand(n, 1, 120).double() * 1.6 - 0.8, y, (-1.0, 1.0)
    net = made(lambda: nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, CLASSES)))
    return net, torch.randn(n, 10).double(), y, None


def run(attack: Attack, model: Any, x: Tensor, y: Tensor, threat: ThreatModel, **parameters: Any) -> Tensor:
    return attack(model, x, y, threat, SampleGenerator.seeded(3, len(x)), **parameters)


IMAGES, EVERYTHING = ("images", "grey"), ("images", "grey", "waveforms", "waveform_channel", "vectors")
WAVES = ("waveforms", "waveform_channel")
#: name -> attack with few steps, and the inputs it is for.
ATTACKS: dict[str, tuple[Attack, tuple[str, ...]]] = {
    "mi_fgsm": (functools.partial(mi_fgsm, steps=STEPS), EVERYTHING),
    "ni_fgsm": (functools.partial(ni_fgsm, steps=STEPS), EVERYTHING),
    "si_ni_fgsm": (functools.partial(si_ni_fgsm, steps=STEPS, copies=3), EVERYTHING),
    "vmi_fgsm": (functools.partial(vmi_fgsm, steps=STEPS, samples=2), EVERYTHING),
    "vni_fgsm": (functools.partial(vni_fgsm, steps=STEPS, samples=2), EVERYTHING),
    "di_fgsm": (functools.partial(di_fgsm, steps=STEPS, resize_rate=0.7, decay=1.0), IMAGES),
    "ti_fgsm": (functools.partial(ti_fgsm, steps=STEPS, kernel=5, resize_rate=0.7), IMAGES),
    "nia": (functools.partial(nia, steps=STEPS), EVERYTHING),
    "dim_1d": (functools.partial(dim_1d, steps=STEPS), WAVES),
    "tim_1d": (functools.partial(tim_1d, steps=STEPS), WAVES),
    "linbp": (functools.partial(linbp, steps=STEPS, start=0.0), EVERYTHING),
    "bpa": (functools.partial(bpa, steps=STEPS, start=0.0), EVERYTHING),
    "band_limited_noise": (functools.partial(band_limited_noise, band=2, bands=5), EVERYTHING),
    "hierarchical_pgd": (functools.partial(hierarchical_pgd, superclass=HIERARCHY, steps=STEPS), EVERYTHING),
    "group_loss_pgd": (functools.partial(group_loss_pgd, superclass=HIERARCHY, steps=STEPS), EVERYTHING),
}
CASES = [(name, kind) for name, (_, kinds) in ATTACKS.items() for kind in kinds]


# What every attack owes ----------------------------------------------------------------------------------------------


def test_every_attack_is_in_the_catalog_and_no_helper_is() -> None:
    found = catalog.catalog_entries("attack")
    for name in [*ATTACKS, "pgd_meta"]:
        assert catalog.load_function("attack", name).__name__ == name
        assert found[name].summary
    assert not {"ensemble", "spectrum", "waveforms"} & set(found)
    assert found["band_limited_noise"].parameters.model_fields["band"].is_required()
    assert found["nia"].parameters().model_dump() == {
        "steps": 10,
        "step_size": None,
        "rel_step_size": None,
        "noise": 1.0,
    }


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_legal_reproducible_and_a_matter_of_the_sample_alone(name: str, kind: str, norm: Any) -> None:
    """In the ball and the range; eps 0 changes nothing; results do not depend on batch, order or the others' eps."""
    attack = ATTACKS[name][0]
    model, x, y, bounds = inputs(kind)
    scale = 1.0 if norm == "Linf" else math.sqrt(x[0].numel()) / 3
    eps = torch.tensor([0.0, 0.02, 0.05, 0.1, 0.2, 0.3]).double() * scale
    threat = ThreatModel(norm, eps, bounds)
    state, original = copy.deepcopy(model.state_dict()), x.clone()
    generator = SampleGenerator.seeded(11, len(x))
    x_adv = attack(model, x, y, threat, generator.select(slice(None)))

    threat.check(x_adv, x)
    assert not x_adv.requires_grad and x_adv.dtype == x.dtype
    assert torch.equal(x, original) and torch.equal(x_adv[0], x[0])
    moved = threat.distance(x_adv, x)[1:]
    assert (moved > 0).all() or name == "hierarchical_pgd"  # which leaves a sample of a wrong superclass alone
    if norm == "Linf" and name not in ("bpa", "group_loss_pgd", "hierarchical_pgd", "band_limited_noise"):
        torch.testing.assert_close(moved, eps[1:])  # enough steps to reach the surface somewhere
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert all("forward" not in m.__dict__ and not m._forward_hooks for m in model.modules())

    again = attack(model, x, y, threat, generator.select(slice(None)))
    assert torch.equal(again, x_adv)
    order = torch.tensor([4, 1, 5])
    subset = attack(model, x[order], y[order], threat.select(order), generator.select(order))
    torch.testing.assert_close(subset, x_adv[order], rtol=0, atol=1e-9)
    alone = attack(model, x[3:4], y[3:4], ThreatModel(norm, eps[3].item(), bounds), generator.select(slice(3, 4)))
    torch.testing.assert_close(alone, x_adv[3:4], rtol=0, atol=1e-7)  # eps as a Python float


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if case[0] != "band_limited_noise"])
def test_the_loss_rises(name: str, kind: str, norm: Any) -> None:
    model, x, y, bounds = inputs(kind)
    y = model(x).argmax(1)  # what the model believes, so that there is something to lose
    threat = ThreatModel(norm, 0.2 if norm == "Linf" else 0.2 * math.sqrt(x[0].numel()), bounds)
    x_adv = run(ATTACKS[name][0], model, x, y, threat)
    loss = group_loss(HIERARCHY) if name in ("hierarchical_pgd", "group_loss_pgd") else cross_entropy
    assert (loss(model(x_adv), y) > loss(model(x), y)).double().mean() > 0.8


@pytest.mark.parametrize("attack", [di_fgsm, ti_fgsm])
def test_image_attacks_refuse_waveforms_by_a_sentence(attack: Attack) -> None:
    model, x, y, bounds = inputs("waveforms")
    with pytest.raises(AttackError, match=r"for images of shape \(B, C, H, W\), got inputs of shape \(6, 120\)"):
        run(attack, model, x, y, ThreatModel("Linf", EPS, bounds))


@pytest.mark.parametrize("attack", [dim_1d, tim_1d])
def test_waveform_attacks_refuse_images_by_a_sentence(attack: Attack) -> None:
    model, x, y, bounds = inputs("images")
    with pytest.raises(
        AttackError, match=r"for waveforms of shape \(B, T\) or \(B, 1, T\), got inputs of shape \(6, 3,"
    ):
        run(attack, model, x, y, ThreatModel("Linf", EPS, bounds))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", ["mi_fgsm", "ni_fgsm", "si_ni_fgsm", "vmi_fgsm", "vni_fgsm", "nia", "group_loss_pgd"])
def test_linear_model_is_beaten_exactly(name: str, norm: Any) -> None:
    """A linear model's gradient has one direction, so every one of them ends at the ball's end of it."""
    torch.manual_seed(0)
    w = torch.randn(12).double()

    def model(x: Tensor) -> Tensor:
        return torch.stack([torch.zeros(len(x)).double(), x @ w], 1)

    x, y = torch.randn(8, 12).double(), torch.arange(8) % 2
    extra = {"superclass": [0, 1], "random_start": False} if name == "group_loss_pgd" else {}
    attack = ATTACKS[name][0].func  # type: ignore[attr-defined]
    x_adv = run(attack, model, x, y, ThreatModel(norm, 0.3, None), steps=30, **extra)
    direction = w.sign() if norm == "Linf" else w / w.norm()
    sign = 1.0 - 2.0 * y[:, None]  # label 0 wants w . x to grow
    torch.testing.assert_close(x_adv, x + 0.3 * sign * direction, rtol=0, atol=1e-6)


# The momentum family --------------------------------------------------------------------------------------------------

ORACLES: list[tuple[Attack, type, dict[str, Any], dict[str, Any]]] = [
    (mi_fgsm, torchattacks.MIFGSM, {"decay": 1.0}, {"decay": 1.0}),
    (mi_fgsm, torchattacks.MIFGSM, {"decay": 0.4}, {"decay": 0.4}),
    (ni_fgsm, torchattacks.NIFGSM, {"decay": 1.0}, {"decay": 1.0}),
    (si_ni_fgsm, torchattacks.SINIFGSM, {"decay": 1.0, "copies": 5}, {"decay": 1.0, "m": 5}),
    (di_fgsm, torchattacks.DIFGSM, {"probability": 0.0, "decay": 1.0}, {"diversity_prob": 0.0, "decay": 1.0}),
]


@pytest.mark.parametrize(("attack", "oracle", "ours", "theirs"), ORACLES)
def test_agrees_with_torchattacks(attack: Attack, oracle: Any, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    model, x, y, bounds = inputs("images")
    expected = oracle(model, eps=EPS, alpha=STEP, steps=STEPS, **theirs)(x, y)
    got = run(attack, model, x, y, ThreatModel("Linf", EPS, bounds), steps=STEPS, step_size=STEP, **ours)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)
    assert (got - x).abs().max() > 0.9 * EPS


@pytest.mark.parametrize(("attack", "oracle"), [(vmi_fgsm, torchattacks.VMIFGSM), (vni_fgsm, torchattacks.VNIFGSM)])
def test_variance_tuning_agrees_with_torchattacks_on_the_same_neighbours(
    attack: Attack, oracle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, y, bounds = inputs("images")
    threat = ThreatModel("Linf", EPS, bounds)
    mine = SampleGenerator.seeded(3, len(x))

    def same_numbers(tensor: Tensor, low: float, high: float) -> Tensor:
        assert high == pytest.approx(1.5 * EPS) and low == -high
        return tensor.copy_(1.5 * threat.random_offset(x, mine))

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "uniform_", same_numbers)
        expected = oracle(model, eps=EPS, alpha=STEP, steps=STEPS, N=3, beta=1.5)(x, y)
    got = run(attack, model, x, y, threat, steps=STEPS, step_size=STEP, samples=3, beta=1.5)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)
    untuned = run(attack, model, x, y, threat, steps=STEPS, step_size=STEP, samples=0)
    assert (got - untuned).abs().max() > STEP / 2  # else the test could not tell


def test_diverse_inputs_agree_with_torchattacks_where_theirs_are_certain() -> None:
    """On 8 pixels int(0.9 * 8) = 7 is the only size, and 0 the only place for 7 of 8 pixels."""
    model, x, y, bounds = inputs("images", side=8)
    threat = ThreatModel("Linf", EPS, bounds)
    common = {"alpha": STEP, "steps": STEPS, "resize_rate": 0.9, "diversity_prob": 1.0, "decay": 1.0}
    got = run(di_fgsm, model, x, y, threat, steps=STEPS, step_size=STEP, probability=1.0, decay=1.0)
    expected = torchattacks.DIFGSM(model, eps=EPS, **common)(x, y)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)
    assert not torch.equal(got, run(mi_fgsm, model, x, y, threat, steps=STEPS, step_size=STEP))

    oracle = torchattacks.TIFGSM(model, eps=EPS, len_kernel=3, **common)
    oracle.stacked_kernel = oracle.stacked_kernel.double()
    got = run(ti_fgsm, model, x, y, threat, steps=STEPS, step_size=STEP, probability=1.0, decay=1.0, kernel=3)
    torch.testing.assert_close(got, oracle(x, y), rtol=0, atol=1e-9)


def test_translation_invariance_agrees_with_torchattacks() -> None:
    model, x, y, bounds = inputs("images")
    oracle = torchattacks.TIFGSM(model, eps=EPS, alpha=STEP, steps=STEPS, len_kernel=15, diversity_prob=0.0)
    oracle.stacked_kernel = oracle.stacked_kernel.double()
    got = run(
        ti_fgsm, model, x, y, ThreatModel("Linf", EPS, bounds), steps=STEPS, step_size=STEP, kernel=15, probability=0.0
    )
    # The two kernels agree to float32, so a smoothed gradient next to 0 may take the other sign.
    assert ((got - oracle(x, y)).abs() < 1e-6).double().mean() > 0.999


def bim(model: Any, x: Tensor, y: Tensor, threat: ThreatModel, **parameters: Any) -> Tensor:
    return run(pgd, model, x, y, threat, random_start=False, **parameters)


SPECIAL: list[tuple[str, str, Attack, dict[str, Any], Attack, dict[str, Any]]] = [
    ("MI, mu = 0, is BIM", "images", mi_fgsm, {"decay": 0.0}, bim, {}),
    ("NI, mu = 0, is BIM", "vectors", ni_fgsm, {"decay": 0.0}, bim, {}),
    ("SI-NI, m = 1, is NI", "images", si_ni_fgsm, {"copies": 1}, ni_fgsm, {}),
    ("VMI, N = 0, is MI", "images", vmi_fgsm, {"samples": 0}, mi_fgsm, {}),
    ("VMI, beta = 0, is MI", "waveforms", vmi_fgsm, {"beta": 0.0, "samples": 2}, mi_fgsm, {}),
    ("VNI, N = 0, is NI", "grey", vni_fgsm, {"samples": 0}, ni_fgsm, {}),
    ("DI, p = 0, is MI", "grey", di_fgsm, {"probability": 0.0, "decay": 1.0}, mi_fgsm, {}),
    ("DI, rate 1, is BIM", "images", di_fgsm, {"probability": 1.0, "resize_rate": 1.0}, bim, {}),
    ("TI, 1x1, is DI", "grey", ti_fgsm, {"kernel": 1}, di_fgsm, {}),
    ("NIA without noise is BIM", "waveforms", nia, {"noise": 0.0}, bim, {}),
    ("DIM, rate 1, is BIM", "waveforms", dim_1d, {"resize_rate": 1.0}, bim, {}),
    ("TIM, kernel 1, is BIM", "waveform_channel", tim_1d, {"kernel": 1}, bim, {}),
    ("LinBP from the end is MI", "images", linbp, {"start": 1.0}, mi_fgsm, {}),
    ("LinBP from the end is MI", "grey", linbp, {"start": 1.0}, mi_fgsm, {}),
    ("BPA with exact pools is PGD", "vectors", bpa, {"start": 1.0}, pgd, {}),
    ("hierarchy of one's own is untargeted", "images", group_loss_pgd, {"superclass": [0, 1, 2, 3]}, pgd, {}),
]


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("case", SPECIAL, ids=lambda case: case[0])
def test_special_cases(case: tuple[Any, ...], norm: Any) -> None:
    _, kind, attack, parameters, known, theirs = case
    model, x, y, bounds = inputs(kind)
    eps = torch.linspace(0.02, 0.3, len(x)) * (1 if norm == "Linf" else 5)
    common: dict[str, Any] = {"steps": STEPS, "rel_step_size": 0.3}
    threat = ThreatModel(norm, eps, bounds)
    got = run(attack, model, x, y, threat, **common, **parameters)
    reference = (
        known(model, x, y, threat, **common) if known is bim else run(known, model, x, y, threat, **common, **theirs)
    )
    torch.testing.assert_close(got, reference, rtol=0, atol=1e-9)
    assert (got - x).abs().max() > 0.01


def test_momentum_changes_the_path() -> None:
    """The special cases above would hold for attacks that ignored what makes them special."""
    model, x, y, bounds = inputs("images")
    threat = ThreatModel("Linf", 0.2, bounds)
    common: dict[str, Any] = {"steps": 8, "rel_step_size": 0.25}
    found = [
        run(a, model, x, y, threat, **common) for a in (mi_fgsm, ni_fgsm, si_ni_fgsm, vmi_fgsm, vni_fgsm, nia, linbp)
    ]
    found.append(bim(model, x, y, threat, **common))
    for i, one in enumerate(found):
        assert all(not torch.equal(one, other) for other in found[:i])


def test_accumulation_by_hand() -> None:
    """g1 = d1/mean|d1|, g2 = mu g1 + d2/mean|d2|, for given d; zero directions stay zero."""
    threat = ThreatModel("Linf", 10.0, None)
    directions = iter([torch.tensor([[1.0, -3.0], [0.0, 0.0]]), torch.tensor([[-4.0, 0.0], [0.0, 2.0]])])
    seen: list[Tensor] = []

    def direction(point: Tensor, momentum: Tensor) -> Tensor:
        seen.append(momentum)
        return next(directions)

    out = momentum_ascent(direction, torch.zeros(2, 2), threat, steps=2, step=0.5, decay=0.5)
    torch.testing.assert_close(seen[1], torch.tensor([[0.5, -1.5], [0.0, 0.0]]))
    # g2 = [0.25 - 2, -0.75 + 0], [0, 2]
    torch.testing.assert_close(out, torch.tensor([[0.5 - 0.5, -0.5 - 0.5], [0.0, 0.5]]))
    tiny = scaled_to_unit_mean(torch.tensor([[1e-30, -3e-30]]))
    torch.testing.assert_close(tiny, torch.tensor([[0.5, -1.5]]))


def test_passes_of_variance_tuning() -> None:
    model, x, y, bounds = inputs("vectors")
    calls = 0

    def counted(points: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return model(points)

    for attack in (vmi_fgsm, vni_fgsm):
        calls = 0
        run(attack, counted, x, y, ThreatModel("Linf", 0.1, bounds), steps=4, samples=3)
        assert calls == 4 + 3 * 3


# Transformations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 3, 12, 12), (5, 1, 9, 14)])
def test_shrink_is_interpolate_and_pad(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.rand(shape).double().requires_grad_()
    heights, widths = torch.tensor([9, 5, 7, 1, shape[2]]), torch.tensor([9, 8, 9, 6, shape[3]])
    tops, lefts = torch.tensor([0, 2, 1, 4, 0]), torch.tensor([2, 1, 0, 3, 0])
    got = shrink_and_pad(shrink_and_pad(x, heights.float(), tops.float(), 2), widths.float(), lefts.float(), 3)
    weight = torch.rand_like(got)
    (gradient,) = torch.autograd.grad((got * weight).sum(), x)
    for i in range(5):
        top, left, height, width = (int(values[i]) for values in (tops, lefts, heights, widths))
        small = F.interpolate(x[i : i + 1], (height, width), mode="bilinear", align_corners=False)
        padded = F.pad(small, (left, shape[3] - width - left, top, shape[2] - height - top))
        torch.testing.assert_close(got[i : i + 1], padded, rtol=0, atol=1e-6)
        (expected,) = torch.autograd.grad((padded * weight[i : i + 1]).sum(), x)
        torch.testing.assert_close(gradient[i], expected[i], rtol=0, atol=1e-5)
    assert torch.equal(got[4], x[4])  # full size is the identity


@pytest.mark.parametrize("shape", [(4, 50), (4, 1, 50)])
def test_shrink_of_waveforms(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.rand(shape)
    places = torch.tensor([0.0, 1.0, 3.0, 5.0])
    got = shrink_and_pad(x, torch.full((4,), 45.0), places, len(shape) - 1)
    small = F.interpolate(x.view(4, 1, 50), 45, mode="linear", align_corners=False)
    for i, place in enumerate(places.int().tolist()):
        expected = F.pad(small[i], (place, 5 - place)).view(shape[1:])
        torch.testing.assert_close(got[i], expected, rtol=0, atol=1e-5)


def test_diversity_draws_what_it_says() -> None:
    """Sizes in [low, d), places in [0, d - size), each with its frequency; p of the samples are left alone."""
    x = torch.ones(4000, 1, 20, 20)
    out = random_resize_and_pad(x, SampleGenerator.seeded(0, 4000), 0.8, 0.7)(x)
    inside = out.squeeze(1) > 0.5
    height, width = inside.any(2).sum(1), inside.any(1).sum(1)
    assert torch.equal(height, width)
    changed = height < 20
    assert changed.double().mean().item() == pytest.approx(0.7, abs=0.03)
    counts = torch.bincount(height[changed], minlength=20)
    assert counts[:16].sum() == 0
    assert all(count / changed.sum() == pytest.approx(0.25, abs=0.04) for count in counts[16:])
    top = inside.any(2).int().argmax(1)
    left = inside.any(1).int().argmax(1)
    for size in range(16, 20):
        chosen = height == size
        assert set(top[chosen].tolist()) == set(left[chosen].tolist()) == set(range(20 - size))
    assert not torch.equal(top, left)
    assert torch.equal(out[~changed], x[~changed])


def test_gaussian_kernels_are_torchattacks() -> None:
    oracle = torchattacks.TIFGSM(made(convolutional))
    for length in (3, 7, 15):
        ours = gaussian_kernel(length)
        np.testing.assert_allclose(torch.outer(ours, ours), oracle.gkern(length, 3), atol=1e-7)
    assert gaussian_kernel(1).tolist() == [1.0]
    torch.testing.assert_close(gaussian_kernel(3), torch.tensor([0.0109, 0.9783, 0.0109]), rtol=0, atol=1e-4)
    assert gaussian_kernel(11).sum().item() == pytest.approx(1)


def test_smoothing_is_a_convolution() -> None:
    torch.manual_seed(0)
    kernel = gaussian_kernel(5)
    images = torch.randn(2, 3, 8, 9)
    plane = torch.outer(kernel, kernel).expand(3, 1, 5, 5)
    torch.testing.assert_close(smooth_signal(images, kernel), F.conv2d(images, plane, padding=2, groups=3))
    waves = torch.randn(2, 30)
    expected = torch.from_numpy(np.stack([np.convolve(w, kernel.numpy(), mode="same") for w in waves.numpy()]))
    torch.testing.assert_close(smooth_signal(waves, kernel), expected)
    assert torch.equal(smooth_signal(waves[:, None], kernel)[:, 0], smooth_signal(waves, kernel))


@pytest.mark.parametrize("attack", [dim_1d, tim_1d])
@pytest.mark.parametrize("kind", WAVES)
def test_waveform_attacks_by_hand(attack: Attack, kind: str) -> None:
    """Five steps of 2 eps / 5 written out; one sample less is the only place a shrunk waveform can go."""
    model, x, y, bounds = inputs(kind)
    kernel = gaussian_kernel(7, math.sqrt(3)).double().view(1, 1, -1)
    eps = waveform_eps(x).view(-1, *[1] * (x.dim() - 1))

    def shrunk(wave: Tensor) -> Tensor:
        small = F.interpolate(wave.view(len(x), 1, -1), 119, mode="linear", align_corners=False)
        return F.pad(small, (0, 1)).view_as(wave)

    point = x
    for _ in range(5):
        _, _, gradient = input_gradient(
            lambda w: model(shrunk(w)) if attack is dim_1d else model(w), point, y, cross_entropy
        )
        if attack is tim_1d:
            gradient = F.conv1d(gradient.view(len(x), 1, -1), kernel, padding=3).view_as(x)
        point = torch.clamp(point + 2 * eps / 5 * gradient.sign(), x - eps, x + eps).clamp(-1, 1)
    parameters = {"resize_rate": 0.995} if attack is dim_1d else {"kernel": 7}
    got = run(attack, model, x, y, ThreatModel("Linf", waveform_eps(x), bounds), steps=5, **parameters)
    # Positions are float32 in shrink, so a gradient next to 0 may take the other sign.
    assert ((got - point).abs() < 1e-9).double().mean() > 0.995
    plain = bim(model, x, y, ThreatModel("Linf", waveform_eps(x), bounds), steps=5, rel_step_size=0.4)
    assert ((got - plain).abs() < 1e-9).double().mean() < 0.97


def test_the_kernel_of_tim_changes_signs_and_torchattacks_does_not() -> None:
    """A Gaussian that ends at three standard deviations leaves TIM of length 3 as it is without: PGD (kim2023 table 3.2)."""
    model, x, y, bounds = inputs("waveforms")
    threat = ThreatModel("Linf", waveform_eps(x), bounds)
    plain = bim(model, x, y, threat, steps=1, rel_step_size=1.0)
    moved = {
        sigma: (run(tim_1d, model, x, y, threat, steps=1, rel_step_size=1.0, sigma=sigma) != plain).double().mean()
        for sigma in (None, 1 / math.sqrt(3), 1 / 3)
    }
    assert moved[None] == moved[1 / math.sqrt(3)] > 3 * moved[1 / 3]
    torch.testing.assert_close(
        gaussian_kernel(3, math.sqrt(3)), torch.tensor([0.1543, 0.6914, 0.1543]), rtol=0, atol=1e-4
    )


def test_dim_of_torchattacks_draws_sizes_and_spares_some() -> None:
    model, x, y, bounds = inputs("waveforms")
    threat = ThreatModel("Linf", waveform_eps(x), bounds)
    plain = bim(model, x, y, threat, steps=1, rel_step_size=1.0)
    fixed = run(dim_1d, model, x, y, threat, steps=1, rel_step_size=1.0)
    drawn = run(dim_1d, model, x, y, threat, steps=1, rel_step_size=1.0, random_size=True)
    assert not torch.equal(fixed, drawn)
    many, labels = x.repeat(40, 1), y.repeat(40)
    threat = ThreatModel("Linf", waveform_eps(many), bounds)
    spared = run(dim_1d, model, many, labels, threat, steps=1, rel_step_size=1.0, probability=0.5)
    same = (spared == plain.repeat(40, 1)).all(1).double().mean().item()
    assert 0.4 < same < 0.6


def test_nia_adds_noise_to_the_gradient_only() -> None:
    """The model is asked at x_t + n_t, |n_t| <= noise * eps, fresh in every step; x_t itself walks in whole steps."""
    _, x, y, _ = inputs("waveforms")
    eps = waveform_eps(x)
    asked: list[Tensor] = []
    net = made(Listener)

    def model(points: Tensor) -> Tensor:
        asked.append(points.detach())
        return net(points)

    x_adv = run(nia, model, x, y, ThreatModel("Linf", eps, None), steps=10)
    walked = (x_adv - x) / (2 * eps[:, None] / 10)
    torch.testing.assert_close(walked, walked.round(), rtol=0, atol=1e-6)
    first = (asked[0] - x) / eps[:, None]
    assert first.abs().max() <= 1 and first.abs().max() > 0.98 and abs(first.mean().item()) < 0.05
    # Within two steps the iterate has moved by 0 or 2 alpha; the rest is noise, and differs.
    second = (asked[1] - asked[0]) / eps[:, None]
    assert second.unique().numel() > 100
    assert (second.abs() <= 2 + 0.2 + 1e-9).all() and second.abs().max() > 1


def test_budget_is_a_tenth_of_the_peak() -> None:
    waves = torch.tensor([[0.5, -0.8, 0.1], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(waveform_eps(waves), torch.tensor([0.08, 0.0]))
    torch.testing.assert_close(waveform_eps(waves[:, None], decibels=-40.0), torch.tensor([0.008, 0.0]))


# Other backward passes ------------------------------------------------------------------------------------------------


def gradient_of(model: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    logits, _, gradient = input_gradient(model, x, y, cross_entropy)
    return logits, gradient


def test_linear_backward_of_a_plain_net_by_hand() -> None:
    """J = W3 D2 W2 D1 W1; linear: D = 1; smooth: D = silu'; from the second half on only D2 changes."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, CLASSES)).double()
    w1, w2, w3 = (net[i].weight for i in (0, 2, 4))
    x, y = torch.randn(5, 7).double(), torch.arange(5) % CLASSES
    logits, exact = gradient_of(net, x, y)
    h1 = F.linear(x, w1, net[0].bias)
    h2 = F.linear(h1.relu(), w2, net[2].bias)
    outer = logits.softmax(1) - F.one_hot(y, CLASSES)

    def product(d1: Any, d2: Any) -> Tensor:
        return ((outer @ w3 * d2) @ w2 * d1) @ w1

    def silu(h: Tensor) -> Tensor:
        h = h.detach().requires_grad_()
        return torch.autograd.grad(F.silu(h).sum(), h)[0]

    m1, m2 = (h1 > 0).double(), (h2 > 0).double()
    torch.testing.assert_close(exact, product(m1, m2))
    expected = {
        ("linear", 0.0): product(1, 1),
        ("linear", 0.5): product(m1, 1),
        ("linear", 1.0): exact,
        ("smooth", 0.0): product(silu(h1), silu(h2)),
        ("smooth", 0.5): product(m1, silu(h2)),
    }
    for (rule, start), wanted in expected.items():
        got_logits, got = gradient_of(with_backward_rule(net, rule, start=start, rescale=True), x, y)  # type: ignore[arg-type]
        assert torch.equal(got_logits, logits)
        torch.testing.assert_close(got, wanted)
    assert not torch.allclose(exact, product(1, 1))


class Block(nn.Module):
    """relu(W2 relu(W1 x) + W0 x) on vectors, with weights a test can multiply."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 9, bias=False), nn.Linear(9, 6, bias=False)
        self.shortcut = nn.Linear(6, 6, bias=False)
        self.relu = nn.ReLU(inplace)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.two(self.relu(self.one(x))) + self.shortcut(x))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("start", [0.0, 0.5, 1.0])
def test_linear_backward_of_residual_units_by_hand(inplace: bool, start: float) -> None:
    """Guo et al. (2020): only inner ReLUs are linear, and the branch's gradient keeps the length it had."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), Block(inplace), Block(inplace), nn.Linear(6, CLASSES)).double()
    x, y = torch.randn(5, 4).double(), torch.arange(5) % CLASSES
    logits, exact = gradient_of(net, x, y)

    hidden = net[0](x).detach()
    a = [hidden.relu()]
    for block in net[2:4]:
        a.append(block(a[-1].clone()).detach())
    grad = (logits.softmax(1) - F.one_hot(y, CLASSES)).detach() @ net[4].weight
    for number in (1, 0):
        block, inner = net[2 + number], net[2 + number].one(a[number])
        grad = grad * (a[number + 1] > 0)  # the ReLU after the addition stays exact
        through = grad @ block.two.weight
        branch = (through * (inner > 0)) @ block.one.weight
        if number >= int(start * 2):
            linear = through @ block.one.weight
            branch = linear * branch.norm(dim=1, keepdim=True) / linear.norm(dim=1, keepdim=True)
        grad = grad @ block.shortcut.weight + branch
    expected = (grad * (hidden > 0)) @ net[0].weight

    got_logits, got = gradient_of(with_backward_rule(net, "linear", start=start, rescale=True), x, y)
    assert torch.equal(got_logits, logits)
    torch.testing.assert_close(got, expected)
    assert torch.allclose(got, exact) == (start == 1.0)
    assert is_residual_unit(net[2]) and not is_residual_unit(net[0])


def test_smooth_backward_of_residual_units_leaves_the_last_relu_exact() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(Block(True), nn.Linear(6, CLASSES)).double()
    x, y = torch.randn(5, 6).double(), torch.arange(5) % CLASSES
    logits, got = gradient_of(with_backward_rule(net, "smooth"), x, y)
    block = net[0]
    inner = block.one(x)
    grad = (logits.softmax(1) - F.one_hot(y, CLASSES)) @ net[1].weight * (block(x) > 0)
    derivative = torch.sigmoid(inner) * (1 + inner * (1 - torch.sigmoid(inner)))
    expected = grad @ block.shortcut.weight + (grad @ block.two.weight * derivative) @ block.one.weight
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    ("dims", "pool"),
    [
        (2, nn.MaxPool2d(2)),
        (2, nn.MaxPool2d(3, stride=2, padding=1)),
        (2, nn.MaxPool2d((2, 3), stride=(1, 2), padding=(0, 1))),
        (2, nn.MaxPool2d(2, dilation=2)),
        (2, nn.MaxPool2d(2, stride=2, ceil_mode=True)),
        (2, nn.MaxPool2d(3, stride=3)),
        (1, nn.MaxPool1d(4)),
        (1, nn.MaxPool1d(3, stride=2, padding=1)),
        (1, nn.MaxPool1d(4, stride=3, ceil_mode=True)),
    ],
)
def test_soft_pooling_gradient(dims: int, pool: nn.Module) -> None:
    """Each output's gradient spread over its window by softmax(T x), found window by window in a loop."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, *[11] * dims).double()
    net = with_backward_rule(pool, "exact", temperature=3.0)
    leaf = x.clone().requires_grad_()
    out = net(leaf)
    assert torch.equal(out, pool(x))
    weight = torch.randn_like(out)
    (got,) = torch.autograd.grad((out * weight).sum(), leaf)

    def pair(value: Any) -> list[int]:
        return [value] * dims if isinstance(value, int) else list(value)

    kernel, stride, padding, dilation = (
        pair(getattr(pool, k)) for k in ("kernel_size", "stride", "padding", "dilation")
    )
    expected = torch.zeros_like(x)
    for place in np.ndindex(*out.shape[2:]):
        reach = [
            [
                index
                for k in range(kernel[i])
                if 0 <= (index := place[i] * stride[i] - padding[i] + k * dilation[i]) < x.shape[2 + i]
            ]
            for i in range(dims)
        ]
        index = (slice(None), slice(None), *np.ix_(*reach))
        window = x[index]
        share = (3.0 * window).flatten(2).softmax(2).view(window.shape)
        expected[index] += share * weight[(slice(None), slice(None), *place)].view(2, 3, *[1] * dims)
    torch.testing.assert_close(got, expected)
    exact_leaf = x.clone().requires_grad_()
    (exact,) = torch.autograd.grad((pool(exact_leaf) * weight).sum(), exact_leaf)
    assert not torch.allclose(got, exact)
    cold = x.clone().requires_grad_()
    (sharp,) = torch.autograd.grad((with_backward_rule(pool, "exact", temperature=1e6)(cold) * weight).sum(), cold)
    torch.testing.assert_close(sharp, exact)  # the temperature's limit is max-pooling


def test_slopes() -> None:
    x = torch.tensor([-1.0, 0.0, 2.0])
    assert relu_slope(x, "exact").tolist() == [0, 0, 1]  # type: ignore[union-attr]
    assert relu_slope(x, "linear") == 1 and relu_slope(x, "blocked") == 0
    leaf = x.clone().requires_grad_()
    (silu,) = torch.autograd.grad(F.silu(leaf).sum(), leaf)
    torch.testing.assert_close(relu_slope(x, "smooth"), silu)


@pytest.mark.parametrize("call", [F.relu, torch.relu, lambda t: t.relu(), lambda t: t.clone().relu_(), nn.ReLU(True)])
def test_every_spelling_of_relu_is_caught(call: Any) -> None:
    x = torch.randn(3, 4).double()

    def model(points: Tensor) -> Tensor:
        return call(points * 1.0)

    leaf = x.clone().requires_grad_()
    out = with_backward_rule(model, "linear")(leaf)
    assert torch.equal(out, x.relu())
    assert torch.equal(torch.autograd.grad(out.sum(), leaf)[0], torch.ones_like(x))


@pytest.mark.parametrize("architecture", ["resnet18", "preactresnet18", "small_cnn"])
def test_the_projects_nets_keep_their_logits_and_from_the_end_their_gradients(architecture: str) -> None:
    model = made(lambda: catalog.load_function("architecture", architecture)((1, 8, 8), CLASSES))
    x, y = torch.rand(3, 1, 8, 8).double(), torch.arange(3)
    logits, exact = gradient_of(model, x, y)
    for rule, extra in (("linear", {"rescale": True}), ("smooth", {"temperature": 10.0})):
        got_logits, got = gradient_of(with_backward_rule(model, rule, start=0.5, **extra), x, y)  # type: ignore[arg-type]
        assert torch.equal(got_logits, logits) and not torch.allclose(got, exact)
    _, last = gradient_of(with_backward_rule(model, "linear", start=1.0, rescale=True), x, y)
    torch.testing.assert_close(last, exact)


def test_what_cannot_be_rerouted_is_refused_and_nothing_is_left_behind() -> None:
    _, x, y, bounds = inputs("vectors")
    smooth_net = nn.Sequential(nn.Linear(10, 5), nn.GELU(), nn.Linear(5, CLASSES)).double()
    with pytest.raises(AttackError, match="the model has none"):
        run(linbp, smooth_net, x, y, ThreatModel("Linf", 0.1, bounds))
    with pytest.raises(AttackError, match="traced"):
        run(bpa, torch.fx.symbolic_trace(smooth_net), x, y, ThreatModel("Linf", 0.1, bounds))
    broken = nn.Sequential(Block(False), nn.Linear(5, CLASSES)).double()  # 6 features into 5
    with pytest.raises(RuntimeError):
        with_backward_rule(broken, "linear", rescale=True)(torch.randn(2, 6).double())
    assert "forward" not in broken[0].__dict__
    model = made(Residual)
    images = torch.rand(2, 3, 8, 8).double()
    before = model(images)
    with torch.no_grad():
        assert torch.equal(with_backward_rule(model, "linear", rescale=True, temperature=10.0)(images), before)
    assert torch.equal(model(images), before)


# Ensembles ------------------------------------------------------------------------------------------------------------


def test_ensemble_averages_logits() -> None:
    first, second = made(convolutional, 0), made(convolutional, 1)
    _, x, y, bounds = inputs("images")
    joint = LogitEnsemble([first, second])
    torch.testing.assert_close(joint(x), (first(x) + second(x)) / 2)
    torch.testing.assert_close(LogitEnsemble([first, second], [3, 1])(x), 0.75 * first(x) + 0.25 * second(x))
    assert torch.equal(LogitEnsemble([first])(x), first(x))
    assert joint.models[0] is first and not joint.weights.requires_grad and "weights" not in joint.state_dict()
    x_adv = run(pgd, joint, x, y, ThreatModel("Linf", 0.1, bounds))
    assert cross_entropy(joint(x_adv), y).mean() > cross_entropy(joint(x), y).mean()
    with pytest.raises(AttackError, match="a weight above 0 for each"):
        LogitEnsemble([first, second], [1, 0])
    with pytest.raises(AttackError, match="at least one model"):
        LogitEnsemble([])
    with pytest.raises(AttackError, match=r"same classes; got logits of shapes \(6, 4\) and \(6, 2\)"):
        LogitEnsemble([first, nn.Sequential(first, nn.Linear(CLASSES, 2).double())])(x)


# Bands of frequencies -------------------------------------------------------------------------------------------------


def test_band_noise_stays_in_its_band() -> None:
    _, x, y, _ = inputs("images")
    masks = band_masks((16, 16), 10)
    norms = []
    for band in range(10):
        parameters = {"band": band, "variance": 0.01}
        noisy = run(band_limited_noise, None, x, y, ThreatModel("L2", math.inf, None), **parameters)
        spectrum = dct(noisy - x)
        assert spectrum[:, :, ~masks[band]].abs().max() < 1e-6
        inside = spectrum[:, :, masks[band]]
        assert inside.abs().min() > 0 and inside.square().mean().item() == pytest.approx(0.01, rel=0.3)
        assert not torch.allclose(noisy[0] - x[0], noisy[1] - x[1])
    for band in range(10):
        noise = band_noise((3, 16, 16), masks[band], SampleGenerator.seeded(band, 1000))
        norms.append(noise.flatten(1).norm(dim=1).square().mean().item() / masks[band].sum().item() / 3)
    assert np.std(norms) / np.mean(norms) < 0.02 and np.mean(norms) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_band_noise_fills_the_ball(norm: Any) -> None:
    _, x, y, _ = inputs("waveforms")
    eps = torch.linspace(0, 2, len(x))
    threat = ThreatModel(norm, eps, None)
    noisy = run(band_limited_noise, None, x, y, threat, band=3, bands=4)
    torch.testing.assert_close(threat.distance(noisy, x), eps.double(), rtol=0, atol=1e-6)
    assert dct(noisy - x)[:, ~band_masks((120,), 4)[3]].abs().max() < 1e-6
    with pytest.raises(AttackError, match=r"'band' got 4; allowed is 0 to 3 \('bands' is 4\)"):
        run(band_limited_noise, None, x, y, threat, band=4, bands=4)
    with pytest.raises(AttackError, match=r"'bands' got 121; inputs of shape \(120,\) have 120 frequencies"):
        run(band_limited_noise, None, x, y, threat, band=120, bands=121)  # band 120 would be empty, and its noise 0 / 0


# Hierarchies ----------------------------------------------------------------------------------------------------------


def superclass_right(model: Any, points: Tensor, y: Tensor) -> Tensor:
    mapping = torch.tensor(HIERARCHY)
    return mapping[model(points).argmax(1)] == mapping[y]


def test_group_loss_is_the_superclass_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, y = (torch.randn(6, CLASSES).double() * 3).requires_grad_(), torch.arange(6) % CLASSES
    mapping = torch.tensor(HIERARCHY)
    groups = torch.stack([logits.softmax(1)[:, mapping == z].sum(1) for z in range(2)], 1)
    plain = -groups.gather(1, mapping[y][:, None]).squeeze(1).log()
    loss = group_loss(HIERARCHY)(logits, y)
    torch.testing.assert_close(loss, plain)
    for a, b in zip(*(torch.autograd.grad(v.sum(), logits, retain_graph=True) for v in (loss, plain)), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(group_loss([0, 1, 2, 3])(logits, y), cross_entropy(logits, y))
    sure = torch.tensor([[60.0, 0.0, 0.0, 0.0]], requires_grad=True)  # float32, where 1 - p is 0
    (gradient,) = torch.autograd.grad(group_loss(HIERARCHY)(sure, torch.tensor([0])).sum(), sure)
    assert gradient[0, 2] > 0 and gradient[0, 0] < 0
    with pytest.raises(AttackError, match=r"'superclass'.* maps 3 classes, but the model has 4 logits"):
        group_loss([0, 0, 1])(sure, torch.tensor([0]))
    with pytest.raises(AttackError, match="'superclass' names a single superclass"):
        group_loss([0, 0, 0, 0])(sure, torch.tensor([0]))


@pytest.fixture(scope="module")
def crowd() -> tuple[nn.Module, Tensor, Tensor]:
    """A net, inputs and labels of which some are right, some wrong within and some outside the superclass."""
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, CLASSES)).double()
    x = torch.randn(80, 10).double()
    y = net(x).argmax(1)
    y[:12] = torch.tensor([1, 0, 3, 2])[y[:12]]  # wrong, within the superclass
    y[12:20] = (y[12:20] + 2) % CLASSES  # wrong, outside
    return net, x, y


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_hierarchical_accuracies_are_ordered(crowd: tuple[nn.Module, Tensor, Tensor], norm: Any) -> None:
    """superclass <= target, worst <= average, both <= untargeted PGD, and clean superclass errors count as broken."""
    net, x, y = crowd
    threat = ThreatModel(norm, 0.35 if norm == "Linf" else 0.9, None)
    settings: list[dict[str, Any]] = [
        {"success": "superclass"},
        {"success": "target"},
        {"success": "superclass", "case": "average"},
        {"success": "target", "case": "average"},
    ]
    points = [run(hierarchical_pgd, net, x, y, threat, superclass=HIERARCHY, **s) for s in settings]
    meta, strict, average, average_strict = (superclass_right(net, p, y) for p in points)
    assert not (meta & ~strict).any() and not (average & ~average_strict).any()
    assert meta.sum() < average.sum()
    assert strict.sum() < average_strict.sum()
    untargeted = superclass_right(net, run(pgd, net, x, y, threat, steps=20), y)
    assert meta.sum() < untargeted.sum() < superclass_right(net, x, y).sum()
    wrong = ~superclass_right(net, x, y)
    assert wrong.sum() == 8
    for p in points:
        assert torch.equal(p[wrong], x[wrong])
    # Under "target" a survivor is returned as it was; under "superclass" at a point the attack did try.
    survived = strict & ~wrong
    assert survived.any() and torch.equal(points[1][survived], x[survived])
    assert (threat.distance(points[0], x)[meta & ~wrong] > 0).all()
    losses = group_loss(HIERARCHY)
    assert (losses(net(points[0]), y) >= losses(net(x), y) - 1e-12)[~wrong].double().mean() > 0.9


def test_hierarchical_success_has_three_readings() -> None:
    """A way to class 1 that ends in class 2, also outside: broken as a superclass, not by the printed algorithm.

    By the third reading it is broken if classes 1 and 2 share a superclass.
    """
    torch.manual_seed(0)
    w = torch.randn(12).double()
    x = torch.randn(40, 12).double()
    x = x - (x @ w + 1)[:, None] * w / w.square().sum()  # w . x = -1, so that class 0 leads

    def model(points: Tensor) -> Tensor:
        rising = points @ w
        return torch.stack([-rising, rising - 5, rising], 1)

    y, threat = torch.zeros(40, dtype=torch.int64), ThreatModel("L2", 1.0, None)
    common: dict[str, Any] = {"superclass": [0, 1, 1], "case": "average"}
    meta = run(hierarchical_pgd, model, x, y, threat, success="superclass", **common)
    assert (model(meta).argmax(1) == 2).all()
    strict = run(hierarchical_pgd, model, x, y, threat, success="target", **common)
    spared = (strict == x).all(1)
    assert 8 < spared.sum() < 32  # those that drew class 1
    assert torch.equal(strict[~spared], meta[~spared])
    together = run(hierarchical_pgd, model, x, y, threat, success="target_superclass", **common)
    assert torch.equal(together, meta)
    apart = run(
        hierarchical_pgd,
        model,
        x,
        y,
        threat,
        success="target_superclass",
        superclass=[0, 1, 2],
        case="average",
    )
    assert torch.equal(apart, strict)
    worst = run(hierarchical_pgd, model, x, y, threat, success="target", superclass=[0, 1, 1])
    assert (model(worst).argmax(1) == 2).all()


def test_hierarchical_targets_lie_outside_and_each_is_tried_once(
    crowd: tuple[nn.Module, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, x, y = crowd
    mapping = torch.tensor(HIERARCHY)
    tried: list[tuple[Tensor, Tensor, list[int]]] = []

    def spy(
        model: Any, points: Tensor, goal: Tensor, threat: ThreatModel, generator: SampleGenerator, **kwargs: Any
    ) -> Tensor:
        assert kwargs["targeted"]
        tried.append((points, goal, generator.keys.tolist()))
        return pgd(model, points, goal, threat, generator, **kwargs)

    monkeypatch.setattr(hierarchical_module, "pgd", spy)
    threat = ThreatModel("Linf", 0.02, None)  # small, so that most survive all targets
    run(hierarchical_pgd, net, x, y, threat, superclass=HIERARCHY)
    assert len(tried) == 2  # two classes outside each superclass
    history: dict[tuple[float, ...], list[int]] = {}
    keys: list[int] = []
    for points, goal, streams in tried:
        keys += streams
        for point, target in zip(points, goal.tolist(), strict=True):
            history.setdefault(tuple(point.tolist()), []).append(target)
    assert len(keys) == len(set(keys))  # a fresh stream for every sample and target
    labels = {tuple(point.tolist()): label for point, label in zip(x, y.tolist(), strict=True)}
    for point, goals in history.items():
        assert len(set(goals)) == len(goals)
        assert all(mapping[goal] != mapping[labels[point]] for goal in goals)
    ranks = net(x).softmax(1)
    (first_points, first_goals, _), _ = tried
    for point, goal in zip(first_points, first_goals.tolist(), strict=True):
        row = ranks[(x == point).all(1)][0]
        outside = (mapping != mapping[labels[tuple(point.tolist())]]).nonzero().squeeze(1)
        assert goal == outside[row[outside].argmax()]  # the likeliest first

    tried.clear()
    run(hierarchical_pgd, net, x, y, threat, superclass=HIERARCHY, case="average")
    assert len(tried) == 1
    _, goal, _ = tried[0]
    robust = superclass_right(net, x, y)
    assert (mapping[goal] != mapping[y[robust]]).all()
    assert set(goal[mapping[y[robust]] == 0].tolist()) == {2, 3}  # drawn among the eligible


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_hierarchical_attack_on_a_linear_model_is_exact(norm: Any) -> None:
    """Two classes: broken exactly where the margin is below eps times the dual norm of the difference."""
    torch.manual_seed(0)
    w = torch.randn(12).double()
    x = torch.randn(200, 12).double()

    def model(points: Tensor) -> Tensor:
        return torch.stack([torch.zeros(len(points)).double(), points @ w], 1)

    y = model(x).argmax(1)
    eps = 0.2
    x_adv = run(hierarchical_pgd, model, x, y, ThreatModel(norm, eps, None), superclass=[0, 1], steps=40)
    reach = eps * (w.abs().sum() if norm == "Linf" else w.norm())
    broken = model(x_adv).argmax(1) != y
    expected = (x @ w).abs() < reach
    decided = ((x @ w).abs() - reach).abs() > 1e-2 * reach
    assert torch.equal(broken[decided], expected[decided]) and expected.any() and not expected.all()


def test_pgd_meta_is_pgd_on_the_meta_classifier_and_asks_no_leaf() -> None:
    torch.manual_seed(0)
    network = Hierarchical(12).double()
    model = nn.Sequential(nn.Flatten(), network)
    x, y = torch.rand(10, 3, 2, 2).double(), torch.arange(10) % CLASSES
    threat = ThreatModel("Linf", 0.1, (0.0, 1.0))
    got = run(pgd_meta, model, x, y, threat, superclass=HIERARCHY)
    assert network.asked == 0
    meta = nn.Sequential(nn.Flatten(), network.meta)
    assert torch.equal(got, run(pgd, meta, x, torch.tensor(HIERARCHY)[y], threat, steps=20))
    # On a product of experts the group loss is the meta-classifier's cross-entropy.
    group = run(group_loss_pgd, model, x, y, threat, superclass=HIERARCHY)
    torch.testing.assert_close(group, got, rtol=0, atol=1e-9)
    assert network.asked == 20
    assert not network.meta._forward_hooks


def test_pgd_meta_needs_a_meta_classifier() -> None:
    model, x, y, bounds = inputs("vectors")
    with pytest.raises(AttackError, match=r"got 'meta', but the model has 0 submodules of that name, not one; group"):
        run(pgd_meta, model, x, y, ThreatModel("Linf", 0.1, bounds), superclass=HIERARCHY)
    idle = nn.Sequential(nn.Flatten())
    idle.meta = nn.Linear(2, 2)
    idle.forward = lambda x: x  # type: ignore[method-assign]
    with pytest.raises(AttackError, match="does not call its submodule 'meta'"):
        meta_classifier(idle, "meta")(torch.zeros(1, 2))
