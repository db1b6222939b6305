"""The bfloat16 form: the same function up to rounding, whatever the model's code does, and out of every fingerprint."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape import catalog
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen_copy, misclassified
from robustscape.attacks.base.search import SearchModel
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.fab import fab
from robustscape.attacks.precision.bf16 import CLOSE, bf16
from robustscape.models import build_classifier, fold_batchnorm
from robustscape.storage.provenance import PACKAGE, code_version


def used(model: nn.Module, x: Tensor) -> nn.Module:
    """``model``, frozen in eval mode, as if trained on ``x``: its normalisations do something."""
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.3, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
            norm.momentum = None  # running statistics are those of x
    with torch.no_grad():
        model.train()(x)
    return model.eval().requires_grad_(False)


def gradient(model: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output of ``model``, and the gradient of a sum over it in which every entry has another weight."""
    x = x.clone().requires_grad_()
    result = model(x)
    weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result)
    return result.detach(), torch.autograd.grad((result * weights).sum(), x)[0]


def assert_close(found: Callable[[Tensor], Tensor], reference: nn.Module, x: Tensor, tolerance: float) -> None:
    """Both return the same up to ``tolerance``, and gradients up to five times that, as shares of their norms.

    Gradients err more: where a pre-activation is almost 0, rounding decides whether a ReLU lets its gradient through.
    """
    (a, slope_a), (b, slope_b) = gradient(found, x), gradient(reference, x)
    assert (a - b).norm() <= tolerance * b.norm()
    assert (slope_a - slope_b).norm() <= 5 * tolerance * slope_b.norm()


class Odd(nn.Module):
    """Two convolutions, a normalisation and what ``rest`` makes of them."""

    def __init__(self, rest: Callable[[Odd, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(c, 4, 3, padding=1) for c in (2, 4, 4))
        self.bn, self.relu, self.last, self.rest = nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Linear(4, 3), rest

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.rest(self, self.first(x)).mean((2, 3)))  # type: ignore[no-any-return]


ODD: dict[str, Callable[[Odd, Tensor], Tensor]] = {
    "in place": lambda n, z: n.second(n.relu(n.bn(z))),
    "in place, and read afterwards": lambda n, z: z + n.relu(z),
    "in place, after a normalisation": lambda n, z: (b := n.bn(n.second(z))) + n.relu(b),
    "in place, on a view": lambda n, z: n.relu((b := n.bn(n.second(z)))[:, :2]).repeat(1, 2, 1, 1) + b,
    "in place, for block and shortcut": lambda n, z: n.third(F.relu_(b := n.bn(z))) + n.second(b),
    "in place, behind the identity": lambda n, z: n.second(F.relu_(nn.Identity()(z))) + z,
    "in place, after float()": lambda n, z: n.second(F.relu_(z.float())) + z,
    "in place, after contiguous()": lambda n, z: n.second(F.relu_(z.contiguous())) + z,
    "in place, after to()": lambda n, z: n.second(F.relu_(z.to(torch.float32))) + n.bn(z),
    "in place, on a part": lambda n, z: F.relu_(z[:, :2]).repeat(1, 2, 1, 1) + n.second(z),
    "dropout in place": lambda n, z: n.second(F.dropout(z, 0.3, n.training, inplace=True)) + z,
    "a leaky ReLU in place": lambda n, z: n.second(F.leaky_relu_(b := n.bn(z), 0.1)) + b,
    "a hard tanh in place": lambda n, z: n.second(F.hardtanh_(z)) + z,
    "SiLU in place": lambda n, z: n.second(F.silu(z, inplace=True)) + z,
    "ELU in place": lambda n, z: n.second(F.elu_(z)) + z,
    "scaled in place": lambda n, z: n.second(z.mul_(0.5)) + z,
    "clamped in place": lambda n, z: n.second(z.clamp_(min=0)) + z,
    "added in place, after a normalisation": lambda n, z: n.second((b := n.bn(n.third(z))).add_(z)) + b,
    "added in place": lambda n, z: n.second(z).add_(z).relu_() + n.bn(z),
    "a normalisation before its convolution": lambda n, z: n.second(F.relu(n.bn(z))) + z,
    "a convolution twice": lambda n, z: n.bn(n.second(z)) + n.second(z),
    "a convolution's weight, read": lambda n, z: n.bn(n.second(z)) * n.second.weight.sum(),
    "a functional convolution": lambda n, z: n.bn(F.conv2d(z, n.third.weight, padding=1)),
    "weights in arithmetic of their own": lambda n, z: torch.baddbmm(
        z.flatten(2).float(), n.third.weight[:, :, 0, 0].expand(len(z), -1, -1), z.flatten(2).float()
    ).view_as(z),
    "control flow on values": lambda n, z: n.bn(n.second(z)) if z.sum() > 0 else n.third(z),
    "a tensor of its own": lambda n, z: n.bn(n.second(z)) + torch.tensor([1.0, 2.0, 0.5, -1.0])[:, None, None],
    "a constant": lambda n, z: n.bn(input=n.second(z)),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_nets_are_the_same_function(name: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(16, 2, 6, 6)
    model = used(Odd(ODD[name]), x)
    assert_close(fold_batchnorm(model), model, x, 1e-5)
    form = bf16(frozen_copy(model, x))
    assert_close(form.search, model, x, 0.02)
    assert torch.equal(form(x), frozen_copy(model, x)(x))


@pytest.mark.parametrize("name", [name for name in ODD if "place" in name])
def test_fab_finds_in_bfloat16_what_it_finds_in_fp32(name: str) -> None:
    """Another function in the search would lead along another boundary; fp32 would confirm nothing there."""
    torch.manual_seed(0)
    x = torch.rand(24, 2, 6, 6)
    model: Any = used(Odd(ODD[name]), x)
    model.last.bias -= model(x).mean(0)  # a boundary is near
    y = model(x).argmax(1)
    threat, generator = ThreatModel("L2", 0.3), SampleGenerator.seeded(0, 24)
    found = [
        misclassified(model(fab(form, x, y, threat, generator, iterations=8, n_target_classes=2)), y)
        for form in (SearchModel(frozen_copy(model, x)), bf16(frozen_copy(model, x)))
    ]
    assert (found[0] == found[1]).sum() >= 22
    assert found[0].any()


def test_tied_and_reparametrised_layers_are_the_same_function() -> None:
    torch.manual_seed(0)
    x = torch.rand(16, 2, 6, 6)
    tied = Odd(ODD["in place"])
    tied.second.weight = tied.third.weight
    reparametrised, hooked = Odd(lambda n, z: n.bn(n.second(z))), Odd(lambda n, z: n.bn(n.second(z)))
    nn.utils.parametrizations.weight_norm(reparametrised.second)
    nn.utils.spectral_norm(hooked.second)
    for model in (tied, reparametrised, hooked):
        assert_close(bf16(frozen_copy(used(model, x), x)).search, model, x, 0.02)


def test_a_model_that_draws_numbers_goes_on_drawing_them() -> None:
    model = used(Odd(lambda n, z: n.bn(n.second(z)) + torch.randn(4, 1, 1)), torch.rand(4, 2, 6, 6))
    x = torch.rand(4, 2, 6, 6)
    form = bf16(frozen_copy(model, x))
    assert not torch.equal(form.search(x), form.search(x))


def test_other_models_are_searched_too() -> None:
    """In train mode, in double precision, without layers, of one layer, and no module at all."""
    torch.manual_seed(0)
    x = torch.rand(16, 2, 6, 6)
    model = used(Odd(ODD["in place"]), x)
    train, double = frozen_copy(model, x, train=True), frozen_copy(model.double(), x.double())
    assert_close(bf16(train).search, train, x, 0.02)  # type: ignore[arg-type]
    assert_close(bf16(double).search, double, x.double(), 1e-12)  # type: ignore[arg-type]
    for simple in (nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Linear(72, 3))):
        assert_close(bf16(frozen_copy(simple, x)).search, simple, x, 0.02)
    weight = torch.rand(72, 3)
    assert_close(bf16(lambda z: z.flatten(1) @ weight).search, lambda z: z.flatten(1) @ weight, x, 0.02)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [("preactresnet18", {"width": 8}), ("wide_resnet", {"depth": 16, "width": 1, "base": 8})],
)
def test_the_copy_is_quick_and_errs_little(architecture: str, parameters: dict[str, Any]) -> None:
    torch.manual_seed(0)
    x = torch.rand(32, 3, 16, 16)
    exact = frozen_copy(used(build_classifier(architecture, parameters, (3, 16, 16), 10), x), x)
    form = bf16(exact)
    found, truth = form.search(x), exact(x)
    assert 0 < (found - truth).abs().max() < 2 * CLOSE * truth.abs().max()  # untrained nets err more than trained ones
    low: Any = form.low
    weights = [
        module.weight.dtype for module in low.form.args[0].modules() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    assert weights[0] == weights[-1] == torch.float32 and set(weights[1:-1]) == {torch.bfloat16}


def test_precisions_are_entries_of_the_catalogue() -> None:
    assert isinstance(catalog.load_function("precision", "bf16")(nn.Linear(3, 2)), SearchModel)


# -- fingerprints ------------------------------------------------------------------------------------------------------

SHIPPED = (
    "robustscape.training.loop",
    "robustscape.evaluation.trained_run",
    *(
        entry.module
        for kind in ("attack", "method", "measurement", "comparison", "probe", "trace", "theory")
        for entry in catalog.catalog_entries(kind).values()
    ),
)


def test_an_edit_here_changes_no_fingerprint_of_the_shipped_studies(tmp_path: Path) -> None:
    copy = tmp_path / "robustscape"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    edited = list((copy / "attacks" / "precision").glob("*.py"))
    assert edited
    for file in edited:
        file.write_text(file.read_text() + "\nREMARK = 1\n")
    for module in SHIPPED:
        assert code_version(module, root=copy) == code_version(module), module
    form = "robustscape.attacks.precision.bf16"
    assert code_version(form, root=copy) != code_version(form)


def test_nothing_imports_a_precision() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "precision":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any("attacks.precision" in name for name in names), path
