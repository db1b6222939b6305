"""A pass over a window of changed pixels must answer what a whole pass does."""

from __future__ import annotations

import math
import random
from concurrent.futures import CancelledError

import pytest
import torch
from torch import Tensor, fx, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import predict, rough
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.precision.nearby import Nearby, Window, nearby
from robustscape.attacks.precision.prepared import MixedPrecision, Watched, prepared
from robustscape.attacks.square import square
from robustscape.errors import AttackError
from robustscape.evaluation.harness.counting import CountedModel
from robustscape.models import build_classifier


class Crooked(nn.Module):
    """What the architectures do not have: odd kernels, dilation, groups, pools, writing in place, a sum with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.rand(3, 1, 1))
        self.first = nn.Conv2d(3, 8, (5, 2), stride=(1, 2), padding=(1, 3))
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.norm = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(2, stride=1)
        self.mean_pool = nn.AvgPool2d((3, 2), stride=(2, 1))
        self.third = nn.Conv2d(8, 6, 2, stride=(4, 3), padding=1)  # there are pixels that no kernel meets
        self.last = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first((x - self.mean) / 0.3))
        beside = self.second(x)
        beside += x
        beside = self.pool(self.norm(beside) + beside)
        return self.last(self.third(self.mean_pool(beside)).relu().mean((2, 3)))


def model_of(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    """A model in double precision with other than fresh statistics, and the shape of its inputs."""
    shape = (1, 28, 28) if name == "lenet" else (3, 32, 32) if name == "vgg16" else (3, 19, 22)
    torch.manual_seed(0)
    if name == "crooked":
        model: nn.Module = Crooked()
    else:
        parameters = {} if name == "lenet" else {"width": 4}
        model = build_classifier(name, parameters, shape, 5, mean=[0.4] * shape[0], std=[0.3] * shape[0])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, std=0.3)
    return model.double().eval().requires_grad_(False), shape


@pytest.mark.parametrize("name", ["crooked", "preactresnet18", "resnet18", "vgg16", "lenet"])
def test_a_pass_over_a_window_is_a_whole_pass(name: str) -> None:
    """Over windows of all sizes, in the corners too, while what is remembered is replaced, dropped and changed."""
    model, shape = model_of(name)
    search, rng = Nearby(model, fx.symbolic_trace(model)), random.Random(0)
    x = torch.rand(7, *shape, dtype=torch.double)
    torch.testing.assert_close(search.remember(x), model(x))
    assert search.layers is not None
    spared = 0
    for step in range(40):
        height, width = rng.choice([1, 2, 3, 5, shape[1]]), rng.choice([1, 2, 4, shape[2]])
        top = rng.choice([0, shape[1] - height, rng.randint(0, shape[1] - height)])
        left = rng.choice([0, shape[2] - width, rng.randint(0, shape[2] - width)])
        rows = (torch.rand(len(x)) < 0.7).nonzero().squeeze(1)
        changed = x[rows]
        changed[:, :, top : top + height, left : left + width] = torch.rand(len(rows), shape[0], height, width).double()
        window = Window(top, top + height, left, left + width)
        torch.testing.assert_close(search.change(rows, changed, window), model(changed))
        sizes = search.layers.sizes
        spared += sum(2 * where.area < math.prod(sizes[node]) for node, (where, _) in search.layers.changed.items())
        taken = torch.rand(len(rows)) < 0.5
        search.accept(taken)
        x[rows[taken]] = changed[taken]
        if step % 15 == 10:
            x = x[:-1]
            search.keep(torch.arange(len(x) + 1) < len(x))
            x[1] = torch.rand(*shape)
            search.replace(torch.tensor([1]), x[1:2])
    assert spared > 100


def test_all_that_wraps_a_model_has_its_say() -> None:
    """Passes are counted and can be forbidden, NaN is seen: over a window as over the whole."""
    model, shape = model_of("preactresnet18")
    x, rows = torch.rand(64, *shape), torch.arange(64)
    mixed = prepared(model.float(), precision="bf16")
    counter = CountedModel(mixed.rough)
    watched = Watched(MixedPrecision(counter, mixed.in_fp32))
    search = nearby(rough(watched))
    assert search.layers is not None
    torch.testing.assert_close(search.remember(x), predict(mixed.rough, x), rtol=0, atol=0)
    x[:, :, 3:5, 6:8] = 1.0
    counter.reset()
    answer = search.change(rows, x, Window(3, 5, 6, 8))
    assert counter.forwards == 64
    torch.testing.assert_close(answer, predict(mixed.rough, x), rtol=0.02, atol=0.02)
    watched.refuse("square")
    mixed.rough.get_submodule("net.net.linear.layer").bias[0] = torch.nan
    search.change(rows, x, Window(3, 5, 6, 8))
    with pytest.raises(AttackError, match=r"NaN.*'square'"):
        watched.refuse("square")
    counter.halted = True
    with pytest.raises(CancelledError):
        search.change(rows, x, Window(3, 5, 6, 8))
    with pytest.raises(CancelledError):
        counter(x)


def test_square_finds_the_same_with_and_without_a_memory() -> None:
    """Up to what rounding may tip: the search in a window and the search in whole passes see the same margins."""
    model, shape = model_of("preactresnet18")
    x = torch.rand(24, *shape)
    mixed = prepared(model.float(), precision="bf16")
    y = predict(mixed, x).argmax(1)
    threat = ThreatModel("Linf", 0.02)
    arguments = (x, y, threat)
    with_memory = square(mixed, *arguments, SampleGenerator.seeded(0, 24), queries=300)
    without = square(Whole(mixed), *arguments, SampleGenerator.seeded(0, 24), queries=300)
    assert (with_memory != without).flatten(1).any(1).float().mean() < 0.25


class Whole(nn.Module):
    """A model without a memory."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.in_fp32 = model.rough, model.in_fp32

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.model(x)
        return result
