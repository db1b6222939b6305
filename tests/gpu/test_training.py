"""Training steps on the pretended GPU: no mixed devices, no waits, a budget of kernels, and casts of weights in bf16.

The steps are those of the training loop: the counts between two calls of its ``observe`` are one update with its batch. Nothing
that is counted depends on the sizes of tensors, so the nets are tiny.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from gpu.pretended import CUDA, Counts, pretended_gpu
from torch import nn

from robustscape import catalog
from robustscape.attacks.base.gradients import frozen, input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.models import build_classifier
from robustscape.training import loop
from robustscape.training.aligning import AligningNet

IMAGE, PHOTOGRAPH, CLASSES = (1, 8, 8), (1, 64, 64), 5

#: Samples of a step (no tensor of weights has that many rows), and steps; the last one is counted, which no first use disturbs.
BATCH, STEPS = 3, 3

ATTACK_STEPS = 3

ATTACKS = {
    "pgd": AttackSpec(attack="pgd", parameters={"steps": ATTACK_STEPS, "targeted": False}),
    "kl_pgd": AttackSpec(attack="kl_pgd", parameters={"steps": ATTACK_STEPS}),
    "fgsm": AttackSpec(attack="fgsm", parameters={}),
}

#: Kernels of a PGD step beside the forward and the input-backward pass.
PGD_ROOM = 5

#: Room of a budget: a newer PyTorch may need a kernel more here and there.
ROOM = 1.03


@dataclass(frozen=True)
class Case:
    """A method as it is trained with here, and the kernels of its step with SGD, measured.

    Args:
        kernels: of a step of ``small_cnn_bn`` in fp32.
        parameters: of the method.
        attack: name in ``ATTACKS``.
        passes: forward passes before the update, with frozen weights: the attack's and the method's own.
        photographs: whether images are large enough to be cropped and resized.
    """

    kernels: int
    parameters: dict[str, Any]
    attack: str | None = None
    passes: int = 0
    photographs: bool = False


METHODS: dict[str, Case] = {
    "standard": Case(118, {}),
    "standard_filtered": Case(123, {"kind": "low_pass", "percent": 30}),
    "standard_photographs": Case(96, {"classes": CLASSES}, photographs=True),
    "adversarial": Case(338, {}, "pgd", ATTACK_STEPS),
    "adversarial_photographs": Case(316, {}, "pgd", ATTACK_STEPS, photographs=True),
    "alignment": Case(146, {"nets": "n", "source": "a", "witness": "b"}, passes=1),
    "bat": Case(441, {}, "pgd", ATTACK_STEPS),
    "foar": Case(517, {}, "pgd", 1),
    "gradalign": Case(969, {}, "fgsm", 1),
    "mart": Case(421, {}, "pgd", ATTACK_STEPS),
    "mma": Case(382, {"steps": 1, "bisections": 2, "rounds": 1}, "pgd", 4),
    "single_step_checkpoints": Case(248, {}, "fgsm", 2),
    "soar": Case(936, {}, "pgd", 1),
    "targeted_adversarial": Case(407, {"hierarchies": [[2, 3]]}, "pgd", ATTACK_STEPS + 1),
    "trades": Case(357, {}, "kl_pgd", ATTACK_STEPS + 1),
}


def image_shape(method: str) -> tuple[int, ...]:
    return PHOTOGRAPH if METHODS[method].photographs else IMAGE


def make_net(shape: tuple[int, ...]) -> nn.Module:
    """A net that is sure of class 0, which is every sample's: MMA looks for margins of samples that are right."""
    model = build_classifier("small_cnn_bn", {"width": 4}, shape, CLASSES, [0.5], [0.5])
    with torch.no_grad():
        model.net.linear.bias[0] += 5.0
    return model


def make_split(shape: tuple[int, ...]) -> Split:
    draw = torch.Generator().manual_seed(0)
    count = BATCH * STEPS
    x = torch.randint(0, 256, (count, *shape), generator=draw, dtype=torch.uint8)
    return Split(x.to(CUDA), torch.zeros(count, dtype=torch.int64, device=CUDA), 255.0)


def count_step(
    method: str,
    optimizer: str = "sgd",
    settings: dict[str, Any] | None = None,
    attacks: dict[str, AttackSpec] = ATTACKS,
    **recipe: Any,
) -> Counts:
    """What the last of ``STEPS`` updates does, its batch and augmentation included."""
    case = METHODS[method]
    shape = image_shape(method)
    torch.manual_seed(0)
    content = {
        "method": method,
        "parameters": case.parameters,
        "attack": case.attack,
        "optimizer": {"name": optimizer, "parameters": {"lr": 0.05} | (settings or {})},
        "epochs": 1,
        "batch_size": BATCH,
        "augmentation": {} if case.photographs else {"crop": 1, "flip": True},
    }
    with pretended_gpu() as counts:
        model, split = make_net(shape), make_split(shape)
        if method == "alignment":
            model = AligningNet(model, [make_net(shape).to(CUDA)], projected=False)

        def clear(*_: Any) -> None:
            seen.append(Counts(counts.kernels.copy(), counts.waits.copy(), counts.casts.copy()))
            counts.clear()

        seen: list[Counts] = []
        chosen = Recipe.model_validate(content | recipe)
        loop.train(model, split, split, chosen, attacks, 0.1, 0, progress=False, observe=clear)
    assert len(seen) == STEPS
    return seen[-1]


def test_every_method_has_a_case_here() -> None:
    assert sorted(METHODS) == sorted(catalog.catalog_entries("method"))


WAITING = pytest.mark.xfail(reason="how many samples are right, and so have a margin, is a number the CPU must know")


@pytest.mark.parametrize("method", [pytest.param(m, marks=WAITING if m == "mma" else ()) for m in METHODS])
def test_a_step_of_a_method_waits_for_nothing(method: str) -> None:
    assert not count_step(method).waits


@pytest.mark.parametrize("method", METHODS)
def test_a_step_of_a_method_keeps_its_budget_of_kernels(method: str) -> None:
    assert count_step(method).kernels.total() <= ROOM * METHODS[method].kernels


def test_a_step_of_pgd_starts_few_kernels_beside_those_of_its_pass() -> None:
    """The sign, the step, the projection, and a look at the logits, per step of the attack."""
    one_more = {"pgd": AttackSpec(attack="pgd", parameters={"steps": ATTACK_STEPS + 1, "targeted": False})}
    more, fewer = (count_step("adversarial", attacks=attacks).kernels.total() for attacks in (one_more, ATTACKS))
    with pretended_gpu() as counts:
        model, x = make_net(IMAGE).to(CUDA).eval(), torch.rand(BATCH, *IMAGE).to(CUDA)
        y = torch.zeros(BATCH, dtype=torch.int64, device=CUDA)
        counts.clear()
        with frozen(model):
            input_gradient(model, x, y, cross_entropy)
    assert more - fewer <= counts.kernels.total() + PGD_ROOM


#: Settings with which an optimizer does more.
OPTIMIZERS = [
    *((name, {}) for name in catalog.catalog_entries("optimizer")),
    ("sgd", {"momentum": 0.9, "weight_decay": 1e-3}),
    ("sam", {"steps": 2}),
    ("clipped_sgd", {"max_norm": 1.0}),
    ("entropy_sgd", {"awp_gamma": 0.01}),
    ("entropy_sgd", {"order": "second", "protocol": "release", "momentum": 0.9, "inner_steps": 2}),
]


@pytest.mark.parametrize(("optimizer", "settings"), OPTIMIZERS)
def test_a_step_of_an_optimizer_waits_for_nothing(optimizer: str, settings: dict[str, Any]) -> None:
    assert not count_step("standard", optimizer, settings).waits
