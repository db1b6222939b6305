"""Training in bf16: autocast rounds each weight once a pass, and never passes on what it rounded before the weight changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gpu.test_training import METHODS, count_step, image_shape, make_net
from torch import Tensor, nn

from robustscape import catalog, devices
from robustscape.attacks.base.gradients import frozen
from robustscape.training.closure import Closure
from robustscape.training.objective import CrossEntropy

#: Optimizer -> its settings, with a perturbation that the loss shows.
PERTURBING: dict[str, tuple[str, dict[str, Any]]] = {
    "SAM": ("sam", {"rho": 2.0}),
    "SAM-2": ("sam", {"rho": 2.0, "steps": 2}),
    "ASAM": ("asam", {"rho": 2.0}),
    "GSAM": ("gsam", {"rho": 2.0}),
    "MSAM": ("msam", {"rho": 2.0}),
    "ESAM": ("esam", {"rho": 2.0, "beta": 0.9, "gamma": 0.5}),
    "AWP": ("awp", {"gamma": 0.5}),
    "Entropy-SGD with AWP": ("entropy_sgd", {"awp_gamma": 0.5}),
}


class Recorded(CrossEntropy):
    """A cross-entropy that keeps the mean loss of each of its passes over the whole batch."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        super().__init__(model, x, y)
        self.__dict__["losses"] = []

    def __call__(self) -> Tensor:
        return self.per_sample().mean()

    def per_sample(self, index: Tensor | None = None) -> Tensor:
        losses = super().per_sample(index)
        if index is None:
            self.__dict__["losses"].append(losses.mean().item())
        return losses


def losses_of_a_step(optimizer: str, settings: dict[str, Any], precision: Any) -> list[float]:
    """The mean loss of each pass of a step over the whole batch."""
    torch.manual_seed(0)
    model = make_net((1, 8, 8)).train()
    objective = Recorded(model, torch.rand(16, 1, 8, 8), torch.arange(16) % 5)
    made = catalog.load_function("optimizer", optimizer)(list(model.parameters()), lr=0.1, **settings)
    with devices.arithmetic(torch.device("cpu"), precision):
        made.step(Closure(model).begin(made, objective))
    return objective.__dict__["losses"]


@pytest.mark.parametrize("name", PERTURBING)
def test_in_bf16_the_second_pass_sees_the_perturbed_weights(name: str) -> None:
    """Autocast keeps the rounded weights of the first pass: they must not outlive the weights."""
    optimizer, settings = PERTURBING[name]
    exact, rounded = (losses_of_a_step(optimizer, settings, precision) for precision in ("fp32", "bf16"))
    assert len(exact) >= 2 and all(abs(loss - exact[0]) > 0.1 for loss in exact[1:])
    assert rounded == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize("method", METHODS)
def test_in_bf16_a_weight_is_rounded_once_in_an_attack_and_once_in_the_update(method: str) -> None:
    """However many passes an attack makes. A method that first looks for its targets or its start rounds for that, too."""
    weights = make_net(image_shape(method)).net.named_parameters()  # type: ignore[union-attr]
    rounded = [tuple(weight.shape) for name, weight in weights if name.startswith(("conv", "linear"))]
    of_fp32 = {"parameters": {"product": "exact"}} if method == "soar" else {}  # it refuses a finite difference in bf16
    casts = count_step(method, precision="bf16", **of_fp32).casts
    found = sum(casts[shape] for shape in set(rounded)) / len(rounded)
    assert 1 <= found <= (3 if method == "targeted_adversarial" else 2)


class ExactHead(nn.Module):
    """A linear layer that is called with autocast switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return self.head(x.flatten(1).float())


class Standardised(nn.Conv2d):
    """A convolution that changes its weights before they are rounded."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


def linear_after(layer: nn.Module, features: int) -> nn.Module:
    return nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.Linear(features, 5))


NETS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: make_net((1, 8, 8)),
    "a layer without autocast": ExactHead,
    "standardised weights": lambda: linear_after(Standardised(1, 4, 3), 144),
    "weight normalisation": lambda: linear_after(nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 4, 3)), 144),
    "spectral normalisation of old": lambda: linear_after(nn.utils.spectral_norm(nn.Conv2d(1, 4, 3)), 144),
}


@pytest.mark.parametrize("name", NETS)
def test_rounding_once_changes_no_bit_and_leaves_the_weights(name: str) -> None:
    torch.manual_seed(0)
    model, x = NETS[name]().eval(), torch.rand(16, 1, 8, 8)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with torch.autocast("cpu", torch.bfloat16):
        plain = model(x)
        with frozen(model):
            assert all(torch.equal(plain, model(x)) for _ in range(2))
            with frozen(model):  # a method within an attack
                assert torch.equal(plain, model(x))
    assert all(map(torch.equal, before, model.parameters())) and all(p.requires_grad for p in model.parameters())


def fail_second(model: nn.Module) -> None:
    model(torch.rand(2, 1, 8, 8))
    model(torch.rand(2, 7, 8, 8))


def test_a_model_that_fails_is_left_as_it_was() -> None:
    model = make_net((1, 8, 8)).train()
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RuntimeError), frozen(model):
        fail_second(model)
    assert model.training and all(p.dtype == torch.float32 and p.requires_grad for p in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())
