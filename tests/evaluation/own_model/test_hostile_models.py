"""Models as people bring them: a right number, a number with its flag, or a sentence that blames the right party."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import robustscape
from robustscape.config.attacks import AttackSpec
from robustscape.errors import UserError


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 5))


X = torch.rand(24, 3, 2, 2, generator=torch.Generator().manual_seed(1))
Y = net()(X).argmax(1)


class Wrapped(nn.Module):
    """A net with something done to its inputs or its logits."""

    def __init__(self, before: Callable[[Tensor], Tensor], after: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.before, self.after = net(), before, after

    def forward(self, x: Tensor) -> Any:
        return self.after(self.net(self.before(x)))


def same(x: Tensor) -> Tensor:
    return x


class Unlockable(nn.Module):
    """It holds something that cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.generator = net(), (value for value in range(3))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits


class PreActivation(nn.Module):
    """The input of an in-place ReLU is read again, as in many pre-activation blocks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(12, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x.flatten(1))
        logits: Tensor = self.last(F.relu(z, inplace=True) + z)
        return logits


#: Model -> the robust accuracy is that of the plain net.
AS_THE_NET: dict[str, Callable[[], Any]] = {
    "a function": lambda: (lambda model: lambda x: model(x))(net()),
    "in training mode": lambda: net().train(),
    "data parallel": lambda: nn.DataParallel(net()),
    "frozen": lambda: net().requires_grad_(False),
    "weights with gradients": lambda: _with_gradients(net()),
    "scripted": lambda: torch.jit.trace(net().eval(), X),
    "an input that is copied and changed": lambda: Wrapped(lambda x: x.clone().mul_(1.0), same),
    "not contiguous": lambda: Wrapped(same, lambda z: z.T.contiguous().T),
    "parametrised": lambda: _parametrised(),
}


class Rolled(nn.Module):
    """It answers wrongly from one pass to another, and rightly before and after them."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self.net, self.passes, self.first, self.last = net(), 0, first, last

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        logits: Tensor = self.net(x)
        return logits.roll(1, 1) if self.first <= self.passes <= self.last else logits


def late(x: Tensor) -> Tensor:
    """The samples (B, 1, 1, 1) that are not among the first eight of ``X``, by a value that attacks leave as it is."""
    near = (x[:, None] - X[:8]).flatten(2).abs().amax(2) < 0.2
    return (~near.any(1)).float().view(-1, 1, 1, 1)


#: Model -> the flag that is raised.
FLAGGED: dict[str, tuple[Callable[[], Any], str]] = {
    "noise": (lambda: Wrapped(lambda x: x + 0.1 * torch.randn_like(x), same), "flag_randomised"),
    "dropout that is always on": (lambda: Wrapped(lambda x: F.dropout(x, 0.3), same), "flag_randomised"),
    "probabilities": (lambda: Wrapped(same, lambda z: z.softmax(1)), "flag_softmax_outputs"),
    "quantised inputs": (lambda: Wrapped(lambda x: (x * 4).round() / 4, same), "flag_zero_gradients"),
    "gradients that are nan for some": (
        lambda: Wrapped(lambda x: x + ((x - x.detach()) * (x[:, :1, :1, :1] > 0.5)).sqrt() * 0, same),
        "flag_nonfinite_gradients",
    ),
    "other weights during the attack": (lambda: Rolled(6, 30), "flag_randomised"),
    "other weights from the attack on": (lambda: Rolled(6, 10**6), "flag_randomised"),
    "noise beyond the first batch": (
        lambda: Wrapped(lambda x: x + 0.1 * late(x) * torch.randn_like(x), same),
        "flag_randomised",
    ),
    "quantised beyond the first batch": (
        lambda: Wrapped(lambda x: torch.where(late(x) > 0, (x * 4).round() / 4, x), same),
        "flag_zero_gradients",
    ),
    "the mean of the batch, beyond its first samples": (
        lambda: Wrapped(lambda x: x - 0.5 * late(x) * x.mean(0), same),
        "flag_batch_dependent",
    ),
    "the mean of the batch": (lambda: Wrapped(lambda x: x - 0.5 * x.mean(0), same), "flag_batch_dependent"),
    "saturated": (lambda: Wrapped(same, lambda z: z * 1e6), "flag_zero_gradients"),
}

#: Model -> what the sentence says.
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "half precision": (lambda: net().to(torch.bfloat16), "model fails on inputs of shape .* float32"),
    "no gradients": (lambda: Wrapped(lambda x: x.detach(), same), "no gradient with respect to its input"),
    "another library": (
        lambda: lambda x: torch.from_numpy(net()(x.detach()).detach().numpy()),
        "no gradient with respect",
    ),
    "nan": (lambda: Wrapped(same, torch.log), "model returns NaN or infinite logits on clean inputs"),
    "normalises in place": (lambda: Wrapped(lambda x: x.sub_(0.5), same), "changes its input in place"),
    "an output with a name": (lambda: Wrapped(same, lambda z: {"logits": z}), "returned a dict with the keys 'logits'"),
    "features too": (lambda: Wrapped(same, lambda z: (z, z)), "returned a tuple"),
    "a map of logits": (lambda: Wrapped(same, lambda z: z[:, :, None, None]), r"shape \(2, 5, 1, 1\) for 2 inputs"),
    "classes as answers": (lambda: Wrapped(same, lambda z: z.argmax(1)), "one number per input"),
    "fewer classes": (lambda: Wrapped(same, lambda z: z[:, :2]), "labels reach 4, but the model has 2 classes"),
    "cannot be copied": (Unlockable, "the model cannot be copied .*lambda x: model"),
}


def _with_gradients(model: nn.Module) -> nn.Module:
    F.cross_entropy(model(X), Y).backward()
    return model


def _parametrised() -> nn.Module:
    model = net()
    torch.nn.utils.parametrizations.weight_norm(model[1])  # type: ignore[index]
    return model


def judged(model: Any, **keys: Any) -> Any:
    return robustscape.evaluate(model, X, Y, **({"suite": ["pgd20", "square500"], "eps": 0.05} | keys))


@pytest.mark.parametrize("name", AS_THE_NET)
def test_what_computes_the_same_is_as_robust(name: str) -> None:
    model = AS_THE_NET[name]()
    modes = [m.training for m in model.modules()] if isinstance(model, nn.Module) else []
    found, plain = judged(model), judged(net())
    assert found.clean_accuracy == 100.0 > plain.robust_accuracy
    assert found.robust_accuracy == pytest.approx(plain.robust_accuracy, abs=100 / 24)
    assert found.reasons.keys() == plain.reasons.keys()
    if isinstance(model, nn.Module):
        assert [m.training for m in model.modules()] == modes


@pytest.mark.parametrize("name", FLAGGED)
def test_what_misleads_has_a_flag(name: str) -> None:
    make, flag = FLAGGED[name]
    torch.manual_seed(0)
    assert flag in judged(make(), batch_size=8).reasons


class Masked(nn.Module):
    """It keeps a tensor for each size of a batch, made in the first pass of that size, whose gradient a later pass needs."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.masks = net(), dict[int, Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        mask = self.masks.setdefault(len(x), torch.ones_like(x))
        logits: Tensor = self.net(x * mask)
        return logits


def test_a_model_that_keeps_tensors_of_a_pass_is_attacked() -> None:
    for suite in ("pgd20", "apgd_ce", "fab_t_lite", "square500"):
        assert judged(Masked(), suite=suite).robust_accuracy == judged(net(), suite=suite).robust_accuracy
    assert torch.equal(robustscape.attack(Masked(), X, Y, eps=0.05), robustscape.attack(net(), X, Y, eps=0.05))


# Modes that an evaluation does not reach ------------------------------------------------------------------------------


def dropping(rate: float = 0.5) -> nn.Module:
    """The net with dropout and batch normalisation in front of it, which in eval mode do nothing, in training mode."""
    return nn.Sequential(nn.BatchNorm2d(3, eps=1e-12), nn.Dropout(rate), net())


class Functional(nn.Module):
    """Its own dropout is a function of its own mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(F.dropout(x, 0.5, self.training))
        return logits


def _forward_of(inner: nn.Module) -> nn.Module:
    """A module whose forward was replaced by a function that calls another net."""
    module = nn.Identity()
    module.forward = lambda x: inner(x)  # type: ignore[method-assign]
    return module


class Listed(nn.Module):
    """A net in a list is no submodule."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.nets = [inner]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.nets[0](x)
        return logits


#: Way to hold a net that the evaluation cannot put into eval mode -> a model from that net.
HELD: dict[str, Callable[[nn.Module], Any]] = {
    "a function": lambda inner: lambda x: inner(x),
    "a method": lambda inner: inner.forward,
    "a partial": lambda inner: functools.partial(inner),
    "a partial of a method": lambda inner: functools.partial(inner.forward),
    "a closure over a method": lambda inner: lambda x: inner.forward(x),
    "a replaced forward": _forward_of,
    "a list": Listed,
}


@pytest.mark.parametrize("make", [dropping, Functional])
@pytest.mark.parametrize("how", HELD)
def test_a_net_in_training_mode_out_of_reach_is_refused(how: str, make: Callable[[], nn.Module]) -> None:
    inner = make().train()
    before = {name: value.clone() for name, value in inner.state_dict().items()}
    for call in (judged, lambda model: robustscape.attack(model, X, Y, eps=0.05)):
        with pytest.raises(UserError, match=r"modules in training mode that are none of its own \(.*Call \.eval\(\)"):
            call(HELD[how](inner))
    assert all(module.training for module in inner.modules())
    assert all(torch.equal(value, before[name]) for name, value in inner.state_dict().items())


@pytest.mark.parametrize("how", HELD)
def test_a_net_out_of_reach_is_judged_in_eval_mode_or_where_its_mode_changes_nothing(how: str) -> None:
    plain = judged(net()).robust_accuracy
    assert judged(HELD[how](dropping().eval())).robust_accuracy == pytest.approx(plain, abs=100 / 24)
    assert judged(HELD[how](net().train())).robust_accuracy == pytest.approx(plain, abs=100 / 24)


def test_a_forward_that_was_replaced_by_a_method_goes_along_into_the_copy() -> None:
    model = dropping().train()
    model.forward = types.MethodType(lambda self, x: nn.Sequential.forward(self, x), model)  # type: ignore[method-assign]
    assert judged(model).robust_accuracy == pytest.approx(judged(net()).robust_accuracy, abs=100 / 24)
    assert model.training


def test_a_traced_graph_is_judged_in_eval_mode() -> None:
    model = torch.fx.symbolic_trace(dropping().train())
    assert judged(model).robust_accuracy == pytest.approx(judged(net()).robust_accuracy, abs=100 / 24)


def test_training_mode_is_not_asked_of_a_function() -> None:
    spec = AttackSpec(attack="pgd", model_mode="train")
    with pytest.raises(UserError, match="a function has no mode; give the model itself"):
        robustscape.evaluate(lambda x: net()(x), X, Y, suite=spec, eps=0.05)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_judged_is_a_sentence(name: str) -> None:
    make, said = REFUSED[name]
    with pytest.raises(UserError, match=said):
        judged(make())


def test_autocast_of_the_caller_is_put_off() -> None:
    asked: list[torch.dtype] = []

    def note(z: Tensor) -> Tensor:
        asked.append(z.dtype)
        return z

    plain = judged(Wrapped(same, note))
    with torch.autocast("cpu", torch.bfloat16):
        found = judged(Wrapped(same, note))
        robustscape.attack(Wrapped(same, note), X, Y, "fgsm", eps=0.05)
    assert set(asked) == {torch.float32}
    assert torch.equal(found.x_adv, plain.x_adv)


#: Inputs of which the first two are not changed by a clamp to [0.2, 1], so that a first pass of them shows nothing.
CLAMPED = torch.cat([X[:2] * 0.7 + 0.25, X[2:]])


@pytest.mark.parametrize("attack", ["pgd20", "square500", "random_noise"])
def test_a_model_that_changes_some_samples_in_place_is_refused(attack: str) -> None:
    model, x = Wrapped(lambda x: x.clamp_(0.2, 1.0), same), CLAMPED.clone()
    with pytest.raises(UserError, match="the model changes its input in place"):
        robustscape.evaluate(model, x, Y, suite=attack, eps=0.05)
    assert torch.equal(x, CLAMPED)


def test_a_model_that_changes_its_input_in_place_moves_no_ball() -> None:
    """Without a judge in front an attack meets it first."""
    with pytest.raises(UserError, match="the model or attack 'square' changes its input in place"):
        robustscape.attack(Wrapped(lambda x: x.clamp_(0.2, 1.0), same), CLAMPED, Y, "square", eps=0.05)


def test_a_relu_in_place_whose_input_is_read_again_is_attacked_as_it_computes() -> None:
    model = PreActivation()
    y = model(X).argmax(1)
    exact = robustscape.evaluate(model, X, y, suite=["pgd20", "fab_t_lite"], eps=0.05)
    quick = robustscape.evaluate(model, X, y, suite=["pgd20", "fab_t_lite"], eps=0.05, precision="bf16")
    assert exact.clean_accuracy == quick.clean_accuracy == 100.0
    assert quick.robust_accuracy == pytest.approx(exact.robust_accuracy, abs=5)


def test_a_model_that_fails_late_is_blamed_and_not_the_attack() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.calls = net(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            logits: Tensor = self.net(x)
            return logits * (torch.nan if self.calls > 8 else 1.0)

    with pytest.raises(UserError, match="the model returns NaN or infinite logits under attack 'pgd'"):
        judged(Late())
