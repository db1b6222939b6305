"""The gate: whatever is wrong with samples, labels, budget or model is said in a sentence that blames the right one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec, Suite
from robustscape.errors import AttackError, ConfigError, UserError
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.harness.inputs import check_eps, check_labels, check_samples
from robustscape.evaluation.harness.suite import run_suite

PGD = AttackSpec(attack="pgd", parameters={"steps": 2})


def one_attack(**keys: Any) -> Suite:
    return Suite(name="one", attacks=(("one", AttackSpec.model_validate({"attack": "pgd", **keys})),))


def classifier(classes: int = 3, inputs: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes)).eval()


def samples(count: int = 6, inputs: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, inputs, generator=generator), torch.arange(count) % 3


X, Y = samples()

#: What is given instead of the good one -> what the sentence says.
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "bytes": ({"x": (X * 255).to(torch.uint8)}, r"inputs must be floating.*uint8: divide by 255"),
    "0 to 255": ({"x": X * 255}, r"inputs go from .* \[0, 255\]: divide by 255"),
    "normalised": ({"x": X * 4 - 2}, r"inputs go from .*normalisation into the model"),
    "nan": ({"x": X.clone().fill_(torch.nan)}, "inputs contain NaN"),
    "no tensor": ({"x": [1, 2]}, "inputs must be a tensor or a NumPy array"),
    "one dimension": ({"x": X[:, 0]}, "inputs must have a dimension for the samples"),
    "floats as labels": ({"y": Y.float()}, r"labels must be integers \(N,\), got float32"),
    "one-hot": ({"y": nn.functional.one_hot(Y)}, r"one-hot.*argmax"),
    "a column": ({"y": Y[:, None]}, r"give y\[:, 0\]"),
    "too few labels": ({"y": Y[:4]}, "6 inputs and 4 labels"),
    "negative labels": ({"y": Y - 1}, "from 0 on, got -1"),
    "labels from 1": ({"y": Y + 1}, r"labels reach 3, but the model has 3 classes, 0 to 2\. Are they counted from 1\?"),
    "labels beyond": ({"y": Y + 7}, r"labels reach 9, but the model has 3 classes"),
    "eps 8": ({"eps": 8}, r"more than the whole range of inputs, \[0, 1\]\. Did you mean 8/255\?"),
    "eps nan": ({"eps": float("nan")}, "eps got nan"),
    "eps inf": ({"eps": float("inf")}, "eps got inf"),
    "eps negative": ({"eps": -0.1}, "eps got -0.1"),
    "eps of others": ({"eps": torch.rand(5)}, "one for each of the 6 samples"),
    "eps a word": ({"eps": "much"}, "eps got 'much'"),
    "batch size 0": ({"batch_size": 0}, "batch_size got 0"),
    "batch size -3": ({"batch_size": -3}, "batch_size got -3"),
    "no samples": ({"x": X[:0], "y": Y[:0]}, "the number of samples got 0"),
    "a class": ({"model": nn.Linear}, "got the class Linear: call it"),
    "a state dict": ({"model": classifier().state_dict()}, "state dict: load it into a module"),
    "a tuple": ({"model": lambda x: (classifier()(x), None)}, "returned a tuple"),
    "a dict": ({"model": lambda x: {"logits": classifier()(x)}}, "returned a dict with the keys 'logits'"),
    "one number": ({"model": lambda x: x.sum(1)}, r"one number per input.*return \(0, z\)"),
    "classes lost": ({"model": lambda x: classifier()(x).argmax(1, keepdim=True).expand(-1, 3)}, "it returned int64"),
    "too many rows": ({"model": lambda x: classifier()(x).repeat(2, 1)}, r"shape \(4, 3\) for 2 inputs"),
    "in place": ({"model": lambda x: classifier()(x.sub_(0.5))}, "changes its input in place"),
    "another shape": ({"model": classifier(3, 9)}, r"model fails on inputs of shape \(2, 8\), float32"),
    "another dtype": ({"model": classifier().double()}, r"model fails on inputs of shape \(2, 8\), float32"),
    "nan logits": ({"model": lambda x: classifier()(x) * torch.nan}, "model returns NaN or infinite logits on clean"),
    "no gradient": ({"model": torch.no_grad()(classifier())}, "no gradient with respect to its input"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_a_sentence_that_blames_the_right_party(name: str) -> None:
    given, said = FAULTS[name]
    good: dict[str, Any] = {"model": classifier(), "x": X, "y": Y, "eps": 0.1, "batch_size": None}
    arguments = good | given
    with pytest.raises(UserError, match=said) as raised:
        run_suite(
            arguments["model"],
            arguments["x"],
            arguments["y"],
            one_attack(),
            arguments["eps"],
            seed=0,
            batch_size=arguments["batch_size"],
        )
    assert "attack" not in str(raised.value).split("cannot")[0].split(", so")[0]  # the user's fault is not the attack's


@pytest.mark.parametrize(
    "name", [n for n, (given, _) in FAULTS.items() if not {"model"} & set(given) and n != "no samples"]
)
def test_crafting_has_the_same_gate(name: str) -> None:
    if name == "eps 8":
        pytest.skip("a ball larger than the range is allowed to the library's own callers")
    given, _ = FAULTS[name]
    arguments: dict[str, Any] = {"x": X, "y": Y, "eps": 0.1, "batch_size": None} | given
    with pytest.raises(UserError) as raised:
        craft(
            classifier(),
            arguments["x"],
            arguments["y"],
            PGD,
            arguments["eps"],
            seed=0,
            batch_size=arguments["batch_size"],
        )
    assert re.match(r"the (inputs|labels|attack)|there are|eps|batch_size", str(raised.value)), raised.value


def test_a_label_that_is_no_class_is_not_a_mistake_of_the_model() -> None:
    """It would count as misclassified, and lower every accuracy in silence."""
    with pytest.raises(AttackError, match=r"labels reach 7.*3 classes"):
        correctly_classified(classifier(), X, Y + 5)


@pytest.mark.parametrize("labels", [Y.int(), Y.to(torch.uint8), Y.numpy(), Y.numpy().astype(np.uint16), Y.tolist()])
def test_any_integers_are_labels(labels: Any) -> None:
    assert torch.equal(check_labels(labels, 6), Y)


def test_arrays_are_inputs() -> None:
    assert torch.equal(check_samples(X.numpy()[:, ::-1]), X.flip(1))


@pytest.mark.parametrize("eps", ["8/255", 8 / 255, np.float32(8 / 255), torch.tensor(8 / 255)])
def test_budgets_are_numbers(eps: Any) -> None:
    assert check_eps(eps, 6) == pytest.approx(8 / 255)


@pytest.mark.parametrize("make", [lambda eps: eps.requires_grad_(), lambda eps: eps.requires_grad_() * 1, None])
def test_budgets_that_are_part_of_a_graph_are_taken_out_of_it(make: Any) -> None:
    """So are those of inference mode, which have no place in a graph."""
    plain = torch.full((6,), 0.1)
    with torch.inference_mode(make is None):
        eps = plain.clone() if make is None else make(plain.clone())
    for budget, expected in ((eps, plain), (eps[0], float(plain[0]))):
        found = run_suite(classifier(), X, Y, one_attack(), budget, seed=0)
        assert torch.equal(found.x_adv, run_suite(classifier(), X, Y, one_attack(), expected, seed=0).x_adv)
        assert not found.x_adv.requires_grad
        x_adv = craft(classifier(), X, Y, PGD, budget, seed=0)
        assert not (x_adv.requires_grad or x_adv.is_inference())


def test_an_infinite_budget_is_for_noise_alone() -> None:
    noise = AttackSpec(attack="gaussian_noise", norm="L2", bounds=None, parameters={"variance": 0.1})
    assert torch.isfinite(craft(classifier(), X, Y, noise, float("inf"), seed=0)).all()
    with pytest.raises(ConfigError, match="eps got inf"):
        craft(classifier(), X, Y, AttackSpec(attack="pgd", bounds=None), float("inf"), seed=0)


@pytest.mark.parametrize("eps", [0, 0.0, torch.tensor([0.0, 0.1] * 3)])
@pytest.mark.parametrize("start", ["ball", "step"])
def test_eps_zero_is_exact_with_a_step_in_input_units(eps: Any, start: str) -> None:
    suite = one_attack(parameters={"step_size": 0.05, "start": start})
    result = run_suite(classifier(), X, Y, suite, eps, seed=0)
    still = torch.as_tensor(eps).expand(6) == 0
    assert torch.equal(result.x_adv[still], X[still])
    assert torch.equal(result.robust[still], correctly_classified(classifier(), X, Y)[still])


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3)])
def test_numpys_integers_are_seeds(seed: Any, tmp_path: Any) -> None:
    random = one_attack(parameters={"steps": 1})
    found = run_suite(classifier(), X, Y, random, 0.1, seed=seed, state_dir=tmp_path).x_adv
    assert torch.equal(found, run_suite(classifier(), X, Y, random, 0.1, seed=3).x_adv)
    with pytest.raises(ConfigError, match=r"seed got 0\.5"):
        craft(classifier(), X, Y, PGD, 0.1, seed=0.5)  # type: ignore[arg-type]


# Wrong numbers that were returned in silence --------------------------------------------------------------------------


def accuracy_of_digits(digits: Any, suite: Suite, model: Any = None, **keys: Any) -> float:
    return run_suite(
        model or digits.model, digits.x, digits.y, suite, keys.pop("eps", 0.1), seed=0, **keys
    ).robust_accuracy


def test_a_targeted_attack_says_at_which_classes() -> None:
    with pytest.raises(ValueError, match="would aim at the true labels"):
        AttackSpec(attack="pgd", parameters={"targeted": True})
    with pytest.raises(ValueError, match=r"'square' takes no 'targets'.*pgd"):
        AttackSpec(attack="square", targets="second")


def test_targeted_attacks_break_what_their_rule_allows(digits: Any) -> None:
    """More targets break more; the likeliest wrong class breaks more than the least likely; none leaves all samples right."""
    settings = {"steps": 20, "early_stopping": True}
    found = {
        rule: accuracy_of_digits(digits, one_attack(targets=rule, parameters=settings))
        for rule in ("least_likely", "random", "second", "all")
    }
    untargeted = accuracy_of_digits(digits, one_attack(parameters=settings))
    clean = 100 * correctly_classified(digits.model, digits.x, digits.y).float().mean().item()
    assert clean - 1 > found["least_likely"] > found["second"] >= found["all"]
    assert found["random"] > found["second"]
    assert found["all"] == pytest.approx(untargeted, abs=2)


@pytest.mark.parametrize("attack", ["fgsm", "bim", "pgd", "cw_linf"])
def test_targets_are_never_the_label(attack: str) -> None:
    """A linear model of three classes, on which aiming at the label would raise its logit."""
    model = classifier()
    for rule in ("random", "least_likely", "second", "all"):
        spec = AttackSpec.model_validate({"attack": attack, "targets": rule})
        x_adv = craft(model, X, Y, spec, 0.05, seed=0)
        rows = torch.arange(6)
        before, after = (model(z).log_softmax(1)[rows, Y] for z in (X, x_adv))
        assert (after - before).mean() < -1e-3, rule


@pytest.mark.parametrize("attack", ["pgd", "fgsm", "bim", "apgd"])
def test_dlr_is_refused_for_two_classes_before_any_pass(attack: str) -> None:
    torch.manual_seed(0)
    model, calls = nn.Linear(64, 2), []
    model.register_forward_hook(lambda *a: calls.append(len(a[1][0])))
    x = torch.rand(50, 64)
    y = model(x).argmax(1)
    suite = Suite(
        name="two",
        attacks=(("first", PGD), ("dlr", AttackSpec.model_validate({"attack": attack, "parameters": {"loss": "dlr"}}))),
    )
    calls.clear()
    with pytest.raises(
        AttackError, match=r"'dlr' needs at least 3 classes, the model has 2.*'cross_entropy', 'margin'"
    ):
        run_suite(model, x, y, suite, 0.1, seed=0)
    assert sum(calls) <= 3  # the test passes of two samples and of one
    with pytest.raises(AttackError, match="'dlr' needs at least 3"):
        craft(model, x, y, suite.attacks[1][1], 0.1, seed=0)
    assert run_suite(model, x, y, one_attack(parameters={"loss": "margin"}), 0.1, seed=0).robust_accuracy < 20


def test_too_few_classes_for_nine_targets_is_said_first() -> None:
    suite = Suite(
        name="autoattack",
        attacks=(
            ("apgd_ce", AttackSpec(attack="apgd")),
            ("apgd_t", AttackSpec(attack="apgd", parameters={"loss": "dlr_targeted"})),
        ),
    )
    seen: list[str] = []
    with pytest.raises(AttackError, match="'dlr_targeted' needs at least 4 classes, the model has 3"):
        run_suite(classifier(), X, Y, suite, 0.1, seed=0, progress=lambda name, *_: seen.append(name))
    assert not seen


class Saturated(nn.Module):
    """The cross-entropy of its logits is 0 in fp32, the margin is not."""

    def __init__(self) -> None:
        super().__init__()
        self.net = classifier()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x) * 1e4
        return logits


def test_zero_gradients_are_those_of_the_attacks_own_loss() -> None:
    y = Saturated()(X).argmax(1)
    for loss, expected in (("cross_entropy", True), ("margin", False)):
        result = run_suite(Saturated(), X, y, one_attack(parameters={"loss": loss}), 1e-3, seed=0)
        assert (result.flags["flag_zero_gradients"] > 50) == expected, loss


@pytest.mark.parametrize("others", ["a function", "another forward"])
def test_a_state_is_bound_to_what_the_model_answers(others: str, tmp_path: Any) -> None:
    class Twisted(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = super().forward(x)
            return -logits

    model = classifier()
    second: Callable[[Tensor], Tensor]
    if others == "a function":
        first, second = (lambda x: model(x)), (lambda x: -model(x))
    else:
        first, second = model, Twisted(*model)
        assert first.state_dict().keys() == second.state_dict().keys()
    y = model(X).argmax(1)
    assert run_suite(first, X, y, one_attack(), 1e-4, seed=0, state_dir=tmp_path).robust_accuracy == 100.0
    assert run_suite(first, X, y, one_attack(), 1e-4, seed=0, state_dir=tmp_path).robust_accuracy == 100.0
    with pytest.raises(UserError, match="of another model: its logits differ"):
        run_suite(second, X, y, one_attack(), 1e-4, seed=0, state_dir=tmp_path)
    assert run_suite(second, X, y, one_attack(), 1e-4, seed=0).robust_accuracy == 0.0


def test_a_black_box_suite_needs_no_gradients(tmp_path: Any) -> None:
    model = torch.no_grad()(classifier())
    y = classifier()(X).argmax(1)
    suite = Suite(name="black", attacks=(("square", AttackSpec(attack="square", parameters={"queries": 20})),))
    for _ in range(2):  # anew, and from the state
        result = run_suite(model, X, y, suite, 0.05, seed=0, state_dir=tmp_path)
        assert result.clean_accuracy == 100.0
        assert np.isnan(result.flags["flag_zero_gradients"])


@pytest.mark.parametrize("inside", [False, True])
def test_tensors_with_a_graph_or_of_inference_mode_are_taken_as_they_are(inside: bool) -> None:
    plain = run_suite(classifier(), X, Y, one_attack(), 0.05, seed=0)
    with_graph = X.clone().requires_grad_()
    with torch.inference_mode():
        x, y, made = X.clone(), Y.clone(), classifier()
    with torch.inference_mode(inside):
        for model, given, labels in [(classifier(), with_graph * 1, Y), (classifier(), x, y), (made, x, y)]:
            found = run_suite(model, given, labels, one_attack(), 0.05, seed=0)
            assert torch.equal(found.x_adv, plain.x_adv) and not found.x_adv.requires_grad
            assert torch.equal(
                craft(model, given, labels, PGD, 0.05, seed=0), craft(classifier(), X, Y, PGD, 0.05, seed=0)
            )
    assert with_graph.requires_grad


class CentredByBatch(nn.Module):
    """Batch normalisation without running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.net = nn.BatchNorm1d(2, track_running_stats=False), classifier()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(self.norm(x.view(-1, 2, 4)))
        return logits


@pytest.mark.parametrize("count", [1, 2, 6])
def test_a_model_that_depends_on_the_batch_is_flagged(count: int) -> None:
    x, y = samples(count)
    flagged = run_suite(CentredByBatch(), x, y, one_attack(), 0.05, seed=0)
    assert flagged.flags["flag_batch_dependent"] is True
    healthy = run_suite(classifier(), x, y, one_attack(), 0.05, seed=0)
    assert healthy.flags["flag_batch_dependent"] is False


def test_a_model_that_cannot_take_one_sample_is_refused() -> None:
    """A batch shrinks as samples break, so it would fail in the middle."""
    model = nn.Sequential(nn.BatchNorm1d(8, track_running_stats=False), classifier())
    with pytest.raises(AttackError, match=r"model fails on inputs of shape \(1, 8\).*more than 1 value per channel"):
        run_suite(model, X, Y, one_attack(), 0.05, seed=0)


def test_a_net_that_computes_its_weight_can_be_copied() -> None:
    model = nn.Sequential(torch.nn.utils.weight_norm(nn.Linear(8, 3)))
    model(X)  # from now on it keeps a weight that is no leaf
    assert run_suite(model, X, Y, one_attack(), 0.05, seed=0).clean_accuracy >= 0
