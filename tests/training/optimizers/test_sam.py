"""SAM and related optimizers: against SGD, closed forms, each other, and another implementation; passes, state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape import catalog
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.storage import checkpoints
from robustscape.training import loop
from robustscape.training.optimizers.asam import ASAM
from robustscape.training.optimizers.esam import ESAM
from robustscape.training.optimizers.gsam import GSAM
from robustscape.training.optimizers.msam import MSAM
from robustscape.training.optimizers.sam import SAM

SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}

#: name -> (constructor, forward and backward passes of a step)
METHODS: dict[str, tuple[Callable[..., torch.optim.SGD], int]] = {
    "sam": (SAM, 2),
    "sam, constant": (lambda p, **k: SAM(p, perturbation="constant", **k), 2),
    "sam-2": (lambda p, **k: SAM(p, steps=2, **k), 3),
    "sam-3": (lambda p, **k: SAM(p, steps=3, **k), 4),
    "msam-1": (lambda p, **k: MSAM(p, steps=1, **k), 2),
    "msam-2": (MSAM, 3),
    "msam-3": (lambda p, **k: MSAM(p, steps=3, **k), 4),
    "msam, constant": (lambda p, **k: MSAM(p, steps=3, perturbation="constant", **k), 4),
    "asam": (ASAM, 2),
    "gsam": (GSAM, 2),
    "esam": (lambda p, **k: ESAM(p, beta=0.6, gamma=0.5, seed=1, **k), 2),
    "esam, all": (lambda p, **k: ESAM(p, beta=1.0, gamma=1.0, seed=1, **k), 2),
}

torch.manual_seed(0)
X, Y = torch.rand(24, 1, 6, 6), torch.randint(0, 3, (24,))


def make_model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 8), nn.ReLU(), nn.Linear(8, 3)
    )  # fmt: skip


class Batch:
    """A closure over a batch, as the training loop makes one, without its care for normalisation layers."""

    def __init__(self, model: nn.Module, x: Tensor = X, y: Tensor = Y) -> None:
        self.model, self.x, self.y = model, x, y
        self.seen: list[Tensor] = []

    def __call__(self) -> Tensor:
        self.model.zero_grad()
        loss = self.per_sample().mean()
        loss.backward()
        return loss

    def per_sample(self, index: Tensor | None = None) -> Tensor:
        x, y = (self.x, self.y) if index is None else (self.x[index], self.y[index])
        return F.cross_entropy(self.model(x), y, reduction="none")


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def gradient(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def trained(make: Callable[..., torch.optim.SGD], steps: int = 4, **settings: Any) -> nn.Module:
    model = make_model()
    optimizer = make(model.parameters(), **SGD, **settings)
    for _ in range(steps):
        optimizer.step(Batch(model))
    return model


def plain_sgd(steps: int = 4) -> nn.Module:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), **SGD)
    for _ in range(steps):
        optimizer.step(Batch(model))
    return model


@pytest.mark.parametrize("name", METHODS)
def test_radius_0_is_sgd_bit_for_bit(name: str) -> None:
    assert torch.equal(weights(trained(METHODS[name][0], rho=0.0)), weights(plain_sgd()))


@pytest.mark.parametrize("name", METHODS)
def test_a_radius_changes_the_path(name: str) -> None:
    assert not torch.equal(weights(trained(METHODS[name][0], rho=0.1)), weights(plain_sgd()))


@pytest.mark.parametrize("perturbation", ["normalised", "constant"])
def test_msam_with_one_ascent_step_is_sam_bit_for_bit(perturbation: str) -> None:
    one = trained(lambda p, **k: MSAM(p, steps=1, perturbation=perturbation, **k), rho=0.1)
    assert torch.equal(weights(one), weights(trained(lambda p, **k: SAM(p, perturbation=perturbation, **k), rho=0.1)))


class Quadratic(nn.Module):
    """l(w) = w' H w / 2 over two tensors; w starts at (1, -2, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
        self.b = nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
        a = torch.tensor([[2.0, 0.3, -0.4], [0.3, -1.0, 0.2], [-0.4, 0.2, 0.5]], dtype=torch.float64)
        self.H = a

    def vector(self) -> Tensor:
        return torch.cat([self.a, self.b])

    def loss(self) -> Tensor:
        w = self.vector()
        return w @ self.H @ w / 2


def closure_of(model: Quadratic) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        model.zero_grad()
        loss = model.loss()
        loss.backward()
        return loss

    return closure


def test_constant_radius_on_a_quadratic_is_its_closed_form() -> None:
    """w - lr H (I + rho H) w: kim2023 equation 4.6."""
    model = Quadratic()
    start, H = model.vector().detach(), model.H
    SAM(model.parameters(), lr=0.1, rho=0.7, perturbation="constant").step(closure_of(model))
    expected = start - 0.1 * H @ (torch.eye(3) + 0.7 * H) @ start
    torch.testing.assert_close(model.vector().detach(), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_chain_of_sam_n_and_msam_on_a_quadratic(steps: int) -> None:
    """Both follow the same chain of ascents by global-norm steps of rho / N; MSAM takes the mean of g_1 .. g_N, without g_0."""
    rho, H = 0.6, Quadratic().H
    start = Quadratic().vector().detach()
    w, gradients = start.clone(), []
    for _ in range(steps):
        g = H @ w
        w = w + rho / steps * g / g.norm()
        gradients.append(H @ w)
    for make, expected in ((SAM, gradients[-1]), (MSAM, torch.stack(gradients).mean(0))):
        model = Quadratic()
        make(model.parameters(), lr=0.1, rho=rho, steps=steps).step(closure_of(model))
        torch.testing.assert_close(model.vector().detach(), start - 0.1 * expected, rtol=1e-11, atol=0)
        torch.testing.assert_close(gradient(model), expected, rtol=1e-11, atol=0)


def test_asam_and_gsam_on_a_quadratic() -> None:
    model = Quadratic()
    start, H = model.vector().detach(), model.H
    g, sizes = H @ start, start.abs() + 0.01
    ASAM(model.parameters(), lr=0.1, rho=0.5, eta=0.01).step(closure_of(model))
    expected = start - 0.1 * H @ (start + 0.5 * sizes**2 * g / (sizes * g).norm())
    torch.testing.assert_close(model.vector().detach(), expected, rtol=1e-11, atol=0)

    model = Quadratic()
    GSAM(model.parameters(), lr=0.1, rho=0.5, alpha=0.3).step(closure_of(model))
    perturbed = H @ (start + 0.5 * g / g.norm())
    orthogonal = g - (g @ perturbed) / (perturbed @ perturbed) * perturbed
    assert abs(orthogonal @ perturbed) < 1e-12 and orthogonal.norm() > 0.1
    expected = start - 0.1 * (perturbed - 0.3 * orthogonal)
    torch.testing.assert_close(model.vector().detach(), expected, rtol=1e-11, atol=0)


@pytest.mark.parametrize("name", METHODS)
def test_without_a_gradient_nothing_is_perturbed(name: str) -> None:
    """At a critical point the second pass must see the weights themselves, not NaN."""
    seen: list[Tensor] = []

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([1.0, 2.0]))

    model = Flat()

    class Closure:
        def __call__(self) -> Tensor:
            model.zero_grad()
            loss = self.per_sample().mean()
            loss.backward()
            return loss

        def per_sample(self, index: Tensor | None = None) -> Tensor:
            seen.append(model.w.detach().clone())
            return (0 * model.w).sum() * torch.ones(4)

    optimizer = METHODS[name][0](model.parameters(), lr=0.1, rho=0.5)
    optimizer.step(Closure())
    assert len(seen) >= 2 and all(torch.equal(w, torch.tensor([1.0, 2.0])) for w in [*seen, model.w.detach()])


@pytest.mark.parametrize("name", METHODS)
def test_the_weights_come_back_exactly(name: str) -> None:
    """With lr = 0 a step leaves every bit as it was, also if a pass fails half-way."""
    model = make_model()
    before = weights(model)
    optimizer = METHODS[name][0](model.parameters(), lr=0.1, rho=0.3)
    optimizer.param_groups[0]["lr"] = 0.0
    for _ in range(3):
        optimizer.step(Batch(model))
    assert torch.equal(weights(model), before)

    class Failing(Batch):
        calls = 0

        def per_sample(self, index: Tensor | None = None) -> Tensor:
            self.calls += 1
            if self.calls == 2:
                raise RuntimeError("the second pass fails")
            return super().per_sample(index)

    with pytest.raises(RuntimeError, match="second pass"):
        optimizer.step(Failing(model))
    assert torch.equal(weights(model), before) and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_passes_of_a_step(name: str) -> None:
    """K5-14: SAM-N and MSAM make N + 1 forward and backward passes; every baseline 2, ESAM on half of the batch."""
    model = make_model()
    make, passes = METHODS[name]
    optimizer = make(model.parameters(), lr=0.1, rho=0.3)
    forwards: list[tuple[int, bool]] = []
    backwards: list[int] = []

    def on_forward(module: nn.Module, inputs: Any, output: Tensor) -> None:
        forwards.append((len(output), torch.is_grad_enabled()))
        if output.requires_grad:
            output.register_hook(lambda g: backwards.append(len(g)))

    model[-1].register_forward_hook(on_forward)
    optimizer.step(Batch(model))
    if name.startswith("esam"):
        chosen = 24 if name.endswith("all") else 12
        assert forwards == ([(24, True), (24, False), (chosen, True)] if chosen < 24 else [(24, True), (24, True)])
        assert backwards == [24, chosen]
    else:
        assert forwards == [(24, True)] * passes and backwards == [24] * passes


def test_esam_selects_the_samples_whose_loss_rises_most_and_spares_weight_gradients() -> None:
    model, chosen, climbed = make_model(), [], []

    class Recording(Batch):
        def per_sample(self, index: Tensor | None = None) -> Tensor:
            climbed.append([p.requires_grad for p in self.model.parameters()])
            if index is not None:
                chosen.append(index)
            losses = super().per_sample(index)
            if index is None:
                self.seen.append(losses.detach().clone())
            return losses

    optimizer = ESAM(model.parameters(), lr=0.1, rho=0.1, beta=0.5, gamma=0.25, seed=3)
    batch = Recording(model)
    optimizer.step(batch)
    rise = batch.seen[1] - batch.seen[0]
    others = [i for i in range(24) if i not in chosen[0].tolist()]
    assert len(chosen[0]) == 6 and rise[chosen[0]].min() >= rise[others].max()
    assert not all(climbed[0]) and any(climbed[0]) and all(climbed[-1])
    shares = [ESAM([nn.Parameter(torch.ones(1)) for _ in range(200)], lr=1, beta=0.3, seed=s) for s in range(2)]
    drawn = []
    for optimizer in shares:
        leaves = optimizer.param_groups[0]["params"]

        class Count:
            def per_sample(self, index: Tensor | None = None) -> Tensor:
                drawn.append(sum(p.requires_grad for p in leaves))  # noqa: B023
                return torch.stack(tuple(leaves)).sum() * torch.ones(4)  # noqa: B023

        for _ in range(5):
            optimizer.step(Count())
    first_passes = [n for n in drawn if n < 200]
    assert abs(sum(first_passes) / len(first_passes) / 200 - 0.3) < 0.04 and len(set(first_passes)) > 3


class Observed(Batch):
    """Notes, per pass, the weights, which tensors want a gradient, and which got one; ESAM draws among six tensors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.places: list[Tensor] = []
        self.wanted: list[list[bool]] = []
        self.samples: list[int] = []

    def per_sample(self, index: Tensor | None = None) -> Tensor:
        self.places.append(weights(self.model))
        self.wanted.append([p.requires_grad for p in self.model.parameters()])
        self.samples.append(len(self.x) if index is None else len(index))
        return super().per_sample(index)


@pytest.mark.parametrize("beta", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_esam_takes_gradients_of_the_drawn_tensors_and_moves_them(beta: float, seed: int) -> None:
    """w^p = w + (rho / beta) g / |g| over the drawn tensors (Du et al., algorithm 1), the others stay."""
    model = make_model()
    parameters = list(model.parameters())
    before = [p.detach().clone() for p in parameters]
    batch = Observed(model)
    got: list[int] = []
    for number, parameter in enumerate(parameters):
        parameter.register_post_accumulate_grad_hook(lambda _, number=number: got.append(number))
    ESAM(parameters, lr=0.1, rho=0.2, beta=beta, gamma=0.5, seed=seed).step(batch)
    drawn = [number for number, wanted in enumerate(batch.wanted[0]) if wanted]
    assert drawn
    moved = batch.places[1] - batch.places[0]
    parts = moved.split([p.numel() for p in parameters])
    assert moved.norm().item() == pytest.approx(0.2 / beta, rel=1e-4)
    assert all((part.abs().max() > 0) == (number in drawn) for number, part in enumerate(parts))
    assert torch.equal(batch.places[0], torch.cat([b.flatten() for b in before]))
    # Cost: gradients of the drawn tensors in the first pass, none in the second, of all on half of the batch in the third.
    assert sorted(got[: len(drawn)]) == drawn and sorted(got[len(drawn) :]) == list(range(len(parameters)))
    assert batch.samples == [24, 24, 12]


@pytest.mark.parametrize(("gamma", "count"), [(0.01, 1), (0.3, 7), (0.5, 12), (0.9, 22)])
def test_esam_descends_on_a_share_of_the_batch(gamma: float, count: int) -> None:
    model = make_model()
    batch = Observed(model)
    ESAM(model.parameters(), lr=0.1, rho=0.2, beta=0.6, gamma=gamma, seed=0).step(batch)
    assert batch.samples == [24, 24, count]


def test_esam_draws_other_tensors_in_every_step() -> None:
    draws = {}
    for seed in (0, 1):
        model = make_model()
        batch = Observed(model)
        optimizer = ESAM(model.parameters(), lr=0.1, rho=0.1, beta=0.5, gamma=0.5, seed=seed)
        for _ in range(6):
            optimizer.step(batch)
        draws[seed] = batch.wanted[::3]
    assert draws[0] != draws[1] and all(len({tuple(drawn) for drawn in found}) > 2 for found in draws.values())


@pytest.mark.parametrize("beta", [0.3, 0.5, 0.8])
def test_esam_moves_the_drawn_tensors_by_rho_over_beta(beta: float) -> None:
    """Three tensors of a quadratic loss: the drawn ones move along their own gradient, normalised over them alone."""

    class Three:
        def __init__(self) -> None:
            self.parts = [nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in ([1.0, -2.0], [3.0], [0.5, 1.5])]
            self.first: list[bool] = []

        def per_sample(self, index: Tensor | None = None) -> Tensor:
            self.first = self.first or [part.requires_grad for part in self.parts]
            losses = torch.stack([(k + 1) * sum((part**4).sum() for part in self.parts) for k in range(4)])
            return losses if index is None else losses[index]

    sizes = set()
    for seed in range(12):
        batch = Three()
        start = [part.detach().clone() for part in batch.parts]
        ESAM(batch.parts, lr=0.01, rho=0.2, beta=beta, gamma=0.5, seed=seed).step(batch)
        drawn, scale = batch.first, 2.5  # the mean of 1, 2, 3, 4
        slopes = [scale * 4 * w**3 for w in start]
        norm = sum((slope**2).sum() for slope, taken in zip(slopes, drawn, strict=True) if taken) ** 0.5
        worst = [
            w + 0.2 / beta * slope / norm if taken else w for w, slope, taken in zip(start, slopes, drawn, strict=True)
        ]
        chosen = 3.5 if any(drawn) else None  # the two samples whose loss rises most are the last, 3 and 4
        if chosen is not None:
            for part, w, far in zip(batch.parts, start, worst, strict=True):
                torch.testing.assert_close(part.detach(), w - 0.01 * chosen * 4 * far**3, rtol=1e-10, atol=0)
        sizes.add(sum(drawn))
    assert len(sizes) > 1


@pytest.mark.parametrize("seed", range(12))
def test_esam_trains_a_net_with_weights_that_are_not_used(seed: int) -> None:
    """The tensors drawn for the ascent may all be among them."""
    model = make_model()
    model.register_parameter("unused", nn.Parameter(torch.ones(3)))
    model.register_parameter("also_unused", nn.Parameter(torch.ones(3)))
    optimizer = ESAM(model.parameters(), lr=0.1, rho=0.1, beta=0.2, seed=seed)
    for _ in range(4):
        assert torch.isfinite(optimizer.step(Batch(model)))
    assert torch.equal(model.unused, torch.ones(3))


def test_esam_needs_a_closure_with_samples() -> None:
    model = make_model()
    with pytest.raises(TypeError, match="per_sample"):
        ESAM(model.parameters(), lr=0.1).step(lambda: Batch(model)())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", METHODS)
def test_resuming_from_the_state_dict_gives_the_same_bits(name: str) -> None:
    make = METHODS[name][0]
    model = make_model()
    optimizer = make(model.parameters(), rho=0.1, **SGD)
    for step in range(6):
        if step == 3:
            other = copy.deepcopy(model)
            resumed = make(other.parameters(), rho=0.1, **SGD)
            tensors, metadata = checkpoints.flatten_optimizer(optimizer)
            checkpoints.restore_optimizer(resumed, {k: v.clone() for k, v in tensors.items()}, metadata)
        optimizer.step(Batch(model))
    for _ in range(3):
        resumed.step(Batch(other))
    assert torch.equal(weights(model), weights(other))


def test_switching_from_sam_to_msam_keeps_the_momentum() -> None:
    """As in kim2023 table 5.3: the state of one is a state of the other."""
    model = make_model()
    first = SAM(model.parameters(), rho=0.1, **SGD)
    for _ in range(3):
        first.step(Batch(model))
    second = MSAM(model.parameters(), rho=0.1, **SGD)
    second.load_state_dict({"state": first.state_dict()["state"], "param_groups": second.state_dict()["param_groups"]})
    buffers = [(first.state[p]["momentum_buffer"], second.state[p]["momentum_buffer"]) for p in model.parameters()]
    assert buffers and all(torch.equal(a, b) for a, b in buffers)
    second.step(Batch(model))
    assert second.param_groups[0]["steps"] == 2


def test_weight_decay_is_no_part_of_the_ascent() -> None:
    """The offset is along the loss gradient, whatever the decay."""
    model = Quadratic()
    start, H = model.vector().detach(), model.H
    SAM(model.parameters(), lr=0.1, rho=0.7, weight_decay=0.5).step(closure_of(model))
    g = H @ start
    expected = start - 0.1 * (H @ (start + 0.7 * g / g.norm()) + 0.5 * start)
    torch.testing.assert_close(model.vector().detach(), expected, rtol=1e-11, atol=0)


def test_closures_need_not_clear_gradients_to_none_and_hooks_run_once() -> None:
    model, other = make_model(), make_model()
    calls: list[int] = []
    optimizer = MSAM(model.parameters(), rho=0.1, **SGD)
    torch.optim.SGD(other.parameters(), lr=0.1)  # PyTorch then wraps SGD.step, too
    optimizer.register_step_post_hook(lambda *_: calls.append(1))

    class Zeroing(Batch):
        def __call__(self) -> Tensor:
            self.model.zero_grad(set_to_none=False)
            loss = self.per_sample().mean()
            loss.backward()
            return loss

    theirs = MSAM(other.parameters(), rho=0.1, **SGD)
    for _ in range(3):
        optimizer.step(Zeroing(model))
        theirs.step(Batch(other))
    assert torch.equal(weights(model), weights(other)) and len(calls) == 3


@pytest.mark.parametrize("adaptive", [False, True])
def test_sam_and_asam_against_pytorch_optimizer(adaptive: bool) -> None:
    oracle = pytest.importorskip("pytorch_optimizer")
    ours, theirs = make_model().double(), make_model().double()
    mine = ASAM(ours.parameters(), rho=0.3, eta=0.0, **SGD) if adaptive else SAM(ours.parameters(), rho=0.3, **SGD)
    other = oracle.SAM(theirs.parameters(), torch.optim.SGD, rho=0.3, adaptive=adaptive, **SGD)
    for _ in range(5):
        mine.step(Batch(ours, X.double()))
        batch = Batch(theirs, X.double())
        batch()
        other.step(batch)
    torch.testing.assert_close(weights(ours), weights(theirs), rtol=1e-5, atol=1e-7)  # theirs: norms in float32


def test_gsam_against_pytorch_optimizer() -> None:
    oracle = pytest.importorskip("pytorch_optimizer")

    class Constant:
        def step(self) -> float:
            return 0.3

    ours, theirs = make_model().double().eval(), make_model().double().eval()
    mine = GSAM(ours.parameters(), rho=0.3, alpha=0.4, **SGD)
    base = torch.optim.SGD(theirs.parameters(), **SGD)
    other = oracle.GSAM(theirs.parameters(), base, model=theirs, rho_scheduler=Constant(), alpha=0.4)
    for _ in range(5):
        mine.step(Batch(ours, X.double()))
        other.set_closure(F.cross_entropy, X.double(), Y)
        other.step()
    torch.testing.assert_close(weights(ours), weights(theirs), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["sam", "msam", "asam", "gsam", "esam"])
def test_the_class_takes_what_the_catalogue_takes(name: str) -> None:
    """Same settings and defaults; groups with rates of their own; no others."""
    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]
    named = catalog.load_function("optimizer", name)(weights, lr=0.1)
    made = type(named)([{"params": weights[:1]}, {"params": weights[1:], "lr": 0.5}], 0.1)
    assert made.defaults == named.defaults and set(
        catalog.find_entry("optimizer", name).parameters.model_fields
    ) <= set(made.defaults)
    assert [group["lr"] for group in made.param_groups] == [0.1, 0.5]
    assert made.param_groups[1]["rho"] == made.defaults["rho"] > 0
    with pytest.raises(TypeError, match="radios"):
        type(named)(weights, lr=0.1, radios=1.0)


@pytest.mark.parametrize("name", ["sam", "msam", "asam", "gsam", "esam"])
def test_the_catalogue_has_them(name: str) -> None:
    function = catalog.load_function("optimizer", name)
    model = make_model()
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "rho": 0.2}
    assert set(settings) <= set(catalog.find_entry("optimizer", name).parameters.model_fields)
    optimizer = function(model.parameters(), **settings)
    assert isinstance(optimizer, torch.optim.SGD)
    first = Batch(model)().item()
    for _ in range(60):
        optimizer.step(Batch(model))
    assert Batch(model)().item() < 0.7 * first


# -- in the training loop ----------------------------------------------------------------------------------------------


def loop_run(optimizer: dict[str, Any], **changes: Any) -> loop.Trained:
    x = (X * 255).to(torch.uint8)
    split = Split(x, Y, 255.0)
    content = {"method": "standard", "optimizer": optimizer, "epochs": 2, "batch_size": 12} | changes
    return loop.train(make_model(), split, split, Recipe.model_validate(content), {}, 0.0, 0, progress=False)


def spec(name: str, **parameters: Any) -> dict[str, Any]:
    return {"name": name, "parameters": {**SGD, **parameters}}


@pytest.mark.parametrize("name", ["sam", "msam", "asam", "gsam", "esam"])
def test_running_statistics_are_of_the_first_pass_only(name: str) -> None:
    """Without learning, every method leaves the statistics that SGD leaves, however far it looks around."""
    changes = {"lr_schedule": {"kind": "linear", "start": 0.0, "end": 0.0}}
    plain = loop_run(spec("sgd"), **changes).last
    ours = loop_run(spec(name, rho=5.0), **changes).last
    statistics = [key for key in plain if "running" in key or "batches" in key]
    assert len(statistics) == 3 and all(torch.equal(plain[key], ours[key]) for key in statistics)


def test_phases_switch_from_sam_to_msam_with_the_momentum() -> None:
    """Epoch 1 is SAM's; epoch 2 MSAM's, with one ascent step the same as going on with SAM."""
    phase = {"at": 0.5, "optimizer": spec("msam", rho=0.1, steps=1), "keep_state": True}
    whole = loop_run(spec("sam", rho=0.1)).last
    switched = loop_run(spec("sam", rho=0.1), phases=[phase]).last
    forgot = loop_run(spec("sam", rho=0.1), phases=[{**phase, "keep_state": False}]).last
    two = loop_run(spec("sam", rho=0.1), phases=[{**phase, "optimizer": spec("msam", rho=0.1, steps=2)}]).last
    assert all(torch.equal(whole[key], switched[key]) for key in whole)
    assert not torch.equal(whole["4.weight"], forgot["4.weight"])
    assert not torch.equal(whole["4.weight"], two["4.weight"])


def test_the_cosine_probe_is_logged() -> None:
    probe = {"cosine": {"name": "gradient_cosine", "parameters": {"rho": 0.1, "samples": 20, "batch": 8}}}
    found = loop_run(spec("sam", rho=0.1), probes=probe)
    assert found.history["cosine"].between(-1, 1).all() and len(found.history) == 2
    same = loop_run(spec("sam", rho=0.1)).last
    assert all(torch.equal(same[key], found.last[key]) for key in same)


def test_esam_with_all_tensors_and_samples_is_sam() -> None:
    whole = trained(lambda p, **k: ESAM(p, beta=1.0, gamma=1.0, **k), rho=0.2)
    torch.testing.assert_close(weights(whole), weights(trained(SAM, rho=0.2)), rtol=1e-5, atol=1e-7)
