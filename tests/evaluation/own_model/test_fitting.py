"""What a model must have for the attacks on it: classes, a hierarchy of them, a normalisation; each fault is told beforehand."""

from __future__ import annotations

import inspect
import re
import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustscape
from robustscape.attacks._hierarchy import outside_superclass
from robustscape.catalog import catalog_entries
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.config.shipped import find_attack
from robustscape.errors import ConfigError, UserError
from robustscape.evaluation.own_model import call
from robustscape.evaluation.own_model.fitting import ProtocolWarning
from robustscape.models import build_classifier

HIERARCHY = [0, 1, 0, 1]


class Counting(nn.Module):
    """Logits of C classes from the first C inputs; counts the samples that are passed."""

    passed = 0

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        Counting.passed += len(x)
        return 8 * x.flatten(1)[:, : self.classes]


def inputs_of(classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(24, 6, generator=generator)
    return x, x[:, :classes].argmax(1)


# -- hierarchies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hierarchical_pgd", "group_loss_pgd"])
@pytest.mark.parametrize("given", [list, tuple, torch.tensor, np.array])
def test_attacks_of_a_hierarchy_leave_superclasses(name: str, given: Any) -> None:
    """Class c has the superclass c mod 2, so a class of the same superclass is no way out."""
    x, y = inputs_of(4)
    model = Counting(4)
    x_adv = robustscape.attack(model, x, y, name, eps=0.3, superclass=given(HIERARCHY), steps=30)
    z = torch.tensor(HIERARCHY)
    outside = z[model(x_adv).argmax(1)] != z[y]
    assert torch.equal(outside, outside_superclass(HIERARCHY, model(x_adv), y))
    leads = [x[i, :4][z != z[label]].max() > x[i, label] - 0.4 for i, label in enumerate(y.tolist())]
    assert outside[torch.tensor(leads)].all() and outside.any()
    other = robustscape.attack(model, x, y, name, eps=0.3, superclass=[0, 0, 1, 1], steps=30)
    assert not torch.equal(other, x_adv)


def test_the_case_of_hierarchical_pgd_can_be_chosen() -> None:
    x, y = inputs_of(4)
    z = torch.tensor(HIERARCHY)
    broken = {}
    for case in ("worst", "average"):
        x_adv = robustscape.attack(Counting(4), x, y, "hierarchical_pgd", eps=0.2, superclass=HIERARCHY, case=case)
        broken[case] = int((z[x_adv[:, :4].argmax(1)] != z[y]).sum())
    assert broken["worst"] >= broken["average"] > 0


def test_a_meta_classifier_is_attacked() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.meta = nn.Linear(6, 2, bias=False)
            with torch.no_grad():
                self.meta.weight.copy_(torch.tensor([[1.0, 0, 1, 0, 0, 0], [0, 1.0, 0, 1, 0, 0]]))

        def forward(self, x: Tensor) -> Tensor:
            return x[:, :4] + 0 * self.meta(x).sum(1, keepdim=True)

    x, y = inputs_of(4)
    model = Two()
    x_adv = robustscape.attack(model, x, y, "pgd_meta", eps=0.3, superclass=HIERARCHY)
    own = torch.tensor(HIERARCHY)[y]
    before, after = (model.meta(points).gather(1, own[:, None]) for points in (x, x_adv))
    assert (after < before).all()


def test_a_suite_takes_a_hierarchy_for_the_attacks_that_use_one() -> None:
    x, y = inputs_of(4)
    found = robustscape.evaluate(Counting(4), x, y, suite=["fgsm", "group_loss_pgd"], eps=0.1, superclass=HIERARCHY)
    settings = {one["name"]: one["parameters"] for one in found.protocol["attacks"]}
    assert settings["group_loss_pgd"]["superclass"] == HIERARCHY and "superclass" not in settings["fgsm"]
    spec = find_attack("group_loss_pgd", superclass=[0, 0, 1, 1])
    for suite in (spec, Suite(name="own", attacks=(("mine", spec),))):
        found = robustscape.evaluate(Counting(4), x, y, suite=suite, eps=0.1, superclass=HIERARCHY)
        assert found.protocol["attacks"][0]["parameters"]["superclass"] == HIERARCHY
        found = robustscape.evaluate(Counting(4), x, y, suite=suite, eps=0.1)
        assert found.protocol["attacks"][0]["parameters"]["superclass"] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("name", "superclass", "sentence"),
    [
        ("hierarchical_pgd", None, "attack 'hierarchical_pgd': superclass is missing, the hierarchy of the classes"),
        ("group_loss_pgd", [0, 1], "superclass has 2 entries, but the model has 4 classes"),
        ("pgd_meta", [0, 0, 1, 1, 1], "superclass has 5 entries, but the model has 4 classes"),
        ("hierarchical_pgd", [1, 1, 1, 1], "which no attack can leave; give at least 2 superclasses"),
        ("hierarchical_pgd", [0, 0, 1, -1], "allowed is a list with the number of the superclass of each class"),
        ("hierarchical_pgd", [0, 0, 1, 0.5], "allowed is a list with the number of the superclass of each class"),
        ("hierarchical_pgd", "0011", "allowed is a list with the number of the superclass of each class"),
        ("hierarchical_pgd", [[0, 0], [1, 1]], "allowed is a list with the number of the superclass of each class"),
        (
            "pgd",
            HIERARCHY,
            "superclass is for attacks of a hierarchy, group_loss_pgd, hierarchical_pgd, pgd_meta; got it for",
        ),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_hierarchy_that_is_missing_or_wrong_is_told_before_any_attack(
    name: str, superclass: Any, sentence: str, whole: bool
) -> None:
    x, y = inputs_of(4)
    Counting.passed = 0
    suite = [name] if name == "pgd" else ["fgsm", name]
    ask: Any = partial(robustscape.evaluate, suite=suite) if whole else partial(robustscape.attack, name=name)
    with pytest.raises(UserError, match=re.escape(sentence)):
        ask(Counting(4), x, y, eps=0.1, superclass=superclass)
    assert Counting.passed <= 8  # the passes of two samples that look at the model


def test_no_parameter_of_an_attack_has_the_name_of_an_argument_of_the_call() -> None:
    """``hierarchical_pgd`` had ``targets``, which the call took for the rule of a targeted attack."""
    taken = {*inspect.signature(call.attack).parameters, *AttackSpec.model_fields} - {"parameters"}
    for name, entry in catalog_entries("attack").items():
        assert not taken - {"superclass"} & set(entry.parameters.model_fields), name


# -- few classes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suite", "norm", "classes", "sentences"),
    [
        (
            "autoattack",
            None,
            2,
            [
                "'apgd_t' (loss 'dlr_targeted', at least 4)",
                "suite=['apgd_ce', 'square5000', 'fab_t']",
                "--suite apgd_ce ",
            ],
        ),
        ("autoattack", "L1", 3, ["suite=['apgd_ce_l1', 'square5000_l1', 'fab_t_l1']"]),
        ("autoattack_l2", None, 3, ["suite=['apgd_ce_l2', 'square5000_l2', 'fab_t_l2']"]),
        ("white-box", "L2", 2, ["suite=['fgsm', 'pgd20', 'apgd_ce', 'fab_t']"]),
        ("apgd_t", None, 3, ["suite=['apgd_ce', 'fab_t', 'square5000']"]),
        (["apgd_dlr", "fgsm"], None, 2, ["'apgd_dlr' (loss 'dlr', at least 3)", "suite=['fgsm']"]),
        ("apgd_t_l1", None, 2, ["suite=['apgd_ce_l1', 'fab_t_l1', 'square5000_l1']"]),
    ],
)
def test_a_suite_for_more_classes_names_one_for_these(
    suite: Any, norm: Any, classes: int, sentences: list[str]
) -> None:
    x, y = inputs_of(classes)
    Counting.passed = 0
    with pytest.raises(UserError) as refused:
        robustscape.evaluate(Counting(classes), x, y, suite=suite, norm=norm, eps=0.1)
    for sentence in sentences:
        assert sentence in str(refused.value), str(refused.value)
    assert Counting.passed <= 8
    found = re.search(r"suite=(\[.*?\])", str(refused.value))
    assert found
    names = re.findall(r"'(\w+)'", found.group(1))
    if classes == 2:  # what is named can be run
        done = robustscape.evaluate(Counting(classes), x, (y + 1) % classes, suite=names, norm=norm, eps=0.1)
        assert done.robust_accuracy == 0


def test_labels_of_few_classes_do_not_make_the_model_one_of_few() -> None:
    x, _ = inputs_of(6)
    found = robustscape.evaluate(Counting(6), x, torch.zeros(24, dtype=torch.int64), suite="apgd_t_lite", eps=0.01)
    assert found.protocol["attacks"][0]["name"] == "apgd_t_lite"


# -- normalisation -------------------------------------------------------------------------------------------------------


def colour_net(normalize: nn.Module) -> nn.Module:
    return nn.Sequential(normalize, nn.Flatten(), nn.LazyLinear(4))


@pytest.mark.parametrize(
    ("mean", "std", "channels", "sentence"),
    [
        (
            [123.7, 116.3, 103.5],
            [0.2] * 3,
            3,
            "a mean of 123.7, but inputs are in [0, 1]; if it is of pixels in [0, 255]",
        ),
        ([0.5] * 3, [58.4, 57.1, 57.4], 3, "a std of 58.4, but inputs are in [0, 1]"),
        ([float("nan")] * 3, [0.2] * 3, 3, "a mean of nan, allowed is a finite number"),
        ([0.5] * 3, [float("inf")] * 3, 3, "a std of inf, allowed is a finite number above 0"),
        ([0.5] * 3, [0.25] * 3, 1, "is given inputs of shape (2, 1, 8, 8), and has 3 channels, but these have 1"),
        ([0.5] * 2, [0.25] * 2, 3, "has 2 channels, but these have 3"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_normalisation_that_does_not_fit_is_refused(
    mean: list[float], std: list[float], channels: int, sentence: str, whole: bool
) -> None:
    """Three means of one channel would broadcast to three channels, and the net see another image."""
    x, y = torch.rand(6, channels, 8, 8), torch.arange(6) % 4
    normalize = robustscape.Normalize([0.5] * len(mean), [0.25] * len(std))
    for name, values in (("mean", mean), ("std", std)):  # as a state dict brings them, which no constructor has seen
        normalize.get_buffer(name).copy_(torch.tensor(values).view(-1, 1, 1))
    model = colour_net(normalize)
    with torch.no_grad():
        model[2](torch.rand(1, max(channels, len(mean)) * 64))  # type: ignore[index]
    ask: Any = partial(robustscape.evaluate, suite="fgsm") if whole else partial(robustscape.attack, name="fgsm")
    with pytest.raises(UserError, match=re.escape(sentence)):
        ask(model, x, y)


def test_a_normalisation_of_images_in_front_of_rows_is_refused() -> None:
    """(B, 8) minus (8, 1, 1) would be (8, B, 8)."""
    model = nn.Sequential(robustscape.Normalize([0.5] * 8, [0.5] * 8), nn.Linear(8, 4))
    with pytest.raises(UserError, match=r"is made for 2 dimensions after the channel; dims=0 is right for these"):
        robustscape.attack(model, torch.rand(8, 8), torch.arange(8) % 4, "fgsm")
    right = nn.Sequential(robustscape.Normalize([0.5] * 8, [0.5] * 8, dims=0), nn.Linear(8, 4))
    assert robustscape.attack(right, torch.rand(8, 8), torch.arange(8) % 4, "fgsm").shape == (8, 8)


def test_normalisations_that_fit_what_they_are_given_pass() -> None:
    """One mean for all channels; three behind a layer that makes three of one; of pixels behind one that makes pixels."""

    class Repeat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.expand(-1, 3, -1, -1)

    class Pixels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 255 * x

    nets = [
        nn.Sequential(robustscape.Normalize([0.5], [0.5]), nn.Flatten(), nn.Linear(192, 4)),
        nn.Sequential(robustscape.Normalize([0.0] * 3, [1 / 255] * 3), nn.Flatten(), nn.Linear(192, 4)),
        nn.Sequential(Pixels(), robustscape.Normalize([123.7], [58.4]), nn.Flatten(), nn.Linear(192, 4)),
        build_classifier("mlp", {"hidden": [4]}, (3, 8, 8), 4, mean=[0.5] * 3, std=[0.25] * 3),
    ]
    y = torch.arange(6) % 4
    for net in nets:
        assert robustscape.attack(net, torch.rand(6, 3, 8, 8), y, "fgsm").shape == (6, 3, 8, 8)
    behind = nn.Sequential(Repeat(), robustscape.Normalize([0.5] * 3, [0.25] * 3), nn.Flatten(), nn.Linear(192, 4))
    assert len(robustscape.evaluate(behind, torch.rand(6, 1, 8, 8), y, suite="fgsm").robust) == 6
    assert not any(module._forward_pre_hooks for net in [*nets, behind] for module in net.modules())


# -- what is no input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (np.full((4, 6), None), "the inputs must be floating numbers of at most 64 bits, got object"),
        (np.full((4, 6), "0.5"), "the inputs must be floating numbers of at most 64 bits, got <U3"),
        (np.full((4, 6), 0.5, np.longdouble), "the inputs must be floating numbers of at most 64 bits, got "),
        (torch.full((4, 6), 0.5).to_sparse(), "the one given is sparse"),
        (torch.empty(4, 6, device="meta"), "the one given is on the meta device, without values"),
    ],
)
def test_arrays_that_torch_cannot_take_are_refused(x: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        robustscape.attack(Counting(4), x, [0, 1, 2, 3], "fgsm")


def test_arrays_of_another_byte_order_are_taken() -> None:
    x, y = inputs_of(4)
    swapped = x.numpy().astype(x.numpy().dtype.newbyteorder())
    found = [robustscape.attack(Counting(4), one, y, "fgsm", eps=0.1) for one in (x, swapped)]
    assert torch.equal(*found)


@pytest.mark.parametrize("precision", [torch.bfloat16, "fp16", None])
def test_a_precision_that_there_is_not_is_refused(precision: Any) -> None:
    x, y = inputs_of(4)
    with pytest.raises(UserError, match=r"precision got .*, allowed is fp32, .*bf16.*, auto"):
        robustscape.evaluate(Counting(4), x, y, suite="fgsm", precision=precision)


X = inputs_of(3)[0]


@pytest.mark.parametrize("numpy", [False, True])
@pytest.mark.parametrize(
    ("x", "said"),
    [
        (X.new_full(X.shape, 16.0), r"go from 16 to 16, but the range is \[0, 1\]; rescale to \[0, 1\]"),
        ((X > 0.5).to(torch.uint8) * 16, r"got uint8 from 0 to 16, .* rescale to \[0, 1\]"),
        (X.new_full(X.shape, 200.0), r"they are in \[0, 255\]: divide by 255"),
        (torch.full_like(X, 255).to(torch.uint8), "got uint8: divide by 255"),
        (X.new_full(X.shape, torch.nan), "contain NaN or infinity"),
    ],
    ids=["0 to 16", "bytes to 16", "0 to 255", "bytes to 255", "NaN"],
)
def test_a_scale_is_called_that_of_bytes_only_where_the_values_say_so(x: Tensor, said: str, numpy: bool) -> None:
    """scikit-learn's digits go from 0 to 16; divided by 255 they would be nearly black, and eps larger than they are."""
    given = x.numpy() if numpy else x
    y = torch.arange(len(x)) % 3
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    for made in (
        lambda: robustscape.evaluate(model, given, y, suite="fgsm"),
        lambda: robustscape.attack(model, given, y, "fgsm"),
    ):
        with pytest.raises(UserError, match=said):
            made()


def test_all_budgets_are_checked_before_any_attack() -> None:
    """Not hours later, when the smaller ones are done."""
    x, y = inputs_of(4)
    Counting.passed = 0
    with pytest.raises(ConfigError, match=r"eps got 8, which in Linf is more than the whole range.*Did you mean 8/255"):
        robustscape.evaluate(Counting(4), x, y, suite="fgsm", eps=[0.1, 8])
    assert Counting.passed == 0


# -- masks, steps, hashes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "what"), [("x", "inputs"), ("y", "labels"), ("eps", "budgets")])
def test_a_masked_array_is_refused(place: str, what: str) -> None:
    """PyTorch takes what is under the mask for valid."""
    x, y = inputs_of(4)
    given: dict[str, Any] = {"x": x.numpy(), "y": y.numpy(), "eps": np.full(len(x), 0.1)}
    mask = np.zeros(given[place].shape, bool)
    mask[0] = True
    given[place] = np.ma.masked_array(given[place], mask)
    for ask in (partial(robustscape.evaluate, suite="fgsm"), partial(robustscape.attack, name="fgsm")):
        with pytest.raises(UserError, match=rf"the {what} are a masked array, {mask.sum()} of whose"):
            ask(Counting(4), **given)


def test_a_step_of_another_norm_is_refused() -> None:
    """20 steps of 2/255 are a length in Linf; in L2 they would not leave the middle of a ball of 0.5."""
    x, y = inputs_of(4)
    spec = AttackSpec(attack="pgd", parameters={"steps": 20, "step_size": 2 / 255})
    with pytest.raises(
        ConfigError, match=r"has a step_size of 0.00784314 in Linf, which is a length of another kind in L2"
    ):
        robustscape.evaluate(Counting(4), x, y, suite=spec, norm="L2", eps=0.5)


def test_steps_that_cannot_use_the_budget_are_warned_of() -> None:
    x, y = inputs_of(4)
    spec = AttackSpec(attack="pgd", parameters={"steps": 10, "step_size": 0.01, "random_start": False})
    with pytest.warns(ProtocolWarning, match=r"takes 10 steps of 0.01, 0.1 in all, and cannot use a budget of 0.3"):
        weak = robustscape.evaluate(Counting(4), x, y, suite=spec, eps=[0.05, 0.3])
    assert weak[1].robust_accuracy > robustscape.evaluate(Counting(4), x, y, suite="pgd", eps=0.3).robust_accuracy
    with pytest.warns(ProtocolWarning):
        robustscape.attack(Counting(4), x, y, spec, eps=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ProtocolWarning)
        robustscape.evaluate(Counting(4), x, y, suite=spec, eps=0.1)


def test_a_model_without_weights_has_no_hash() -> None:
    """That of nothing is the same for all of them, as if they were one model."""
    assert call.model_hash(Counting(4)) is None and call.model_hash(lambda x: x) is None
    hashes = {call.model_hash(nn.Linear(2, 2)) for _ in range(2)}
    assert len(hashes) == 2 and None not in hashes
