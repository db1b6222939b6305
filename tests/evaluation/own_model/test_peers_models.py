"""The models that other libraries are tested with, rebuilt, go through the call; their tests' images and weights are not needed.

foolbox: the means of the channels as logits of three classes. torchattacks: RobustBench's wide residual net for five images of
CIFAR-10's shape. ART: a convolution of one channel and a linear layer for MNIST, as logits and as probabilities, three linear
layers for the four numbers of an iris, and a net with one output for two classes.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import robustscape
from robustscape.errors import UserError
from robustscape.models import build_classifier

GENERATOR = torch.Generator().manual_seed(0)
SUITE = ["pgd20", "square500"]


class ChannelMeans(nn.Module):
    """foolbox's: no weights at all."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(3).mean(2)


class ConvolutionAndPool(nn.Module):
    """ART's for MNIST; ``outputs`` is what follows the last layer, their default being a softmax."""

    def __init__(self, outputs: Any, classes: int = 10) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.pool, self.last = nn.Conv2d(1, 1, 7), nn.MaxPool2d(4, 4), nn.Linear(25, classes)
        self.outputs = outputs

    def forward(self, x: Tensor) -> Any:
        return self.outputs(self.last(self.pool(F.relu(self.conv(x))).reshape(-1, 25)))


def iris() -> nn.Module:
    """ART's for four numbers: linear layers with nothing between them."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 10), nn.Linear(10, 10), nn.Linear(10, 3))


def wide_residual_net() -> nn.Module:
    """torchattacks' (RobustBench "Standard") with a tenth of its channels."""
    torch.manual_seed(0)
    return build_classifier("wide_resnet", {"depth": 28, "width": 1}, (3, 32, 32), 10).eval()


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return 100 * float((model(x).argmax(1) == y).double().mean())


def test_foolboxs_channel_means_have_their_exact_robust_accuracy() -> None:
    """The worst case moves each pixel of the largest channel down and of another one up, as far as the range lets it."""
    x, eps = torch.rand(16, 3, 6, 6, generator=GENERATOR), 0.02
    model = ChannelMeans()
    y = model(x).argmax(1)
    low, high = (x - eps).clamp(0, 1).mean((2, 3)), (x + eps).clamp(0, 1).mean((2, 3))
    others = high.masked_fill(F.one_hot(y, 3).bool(), -1.0)
    robust = low[torch.arange(16), y] > others.amax(1)
    assert 0 < int(robust.sum()) < 16, "the test would show nothing"
    result = robustscape.evaluate(model, x, y, suite=SUITE, eps=eps)
    assert result.clean_accuracy == 100 and torch.equal(torch.as_tensor(result.robust), robust)
    with pytest.raises(UserError, match="at least 4"):
        robustscape.evaluate(model, x, y, suite="autoattack", eps=eps)


MODELS: dict[str, tuple[Any, tuple[int, ...], float]] = {
    "torchattacks: wide residual net": (wide_residual_net, (5, 3, 32, 32), 8 / 255),
    "ART: MNIST, logits": (lambda: ConvolutionAndPool(lambda z: z), (40, 1, 28, 28), 0.1),
    "ART: MNIST, probabilities": (lambda: ConvolutionAndPool(lambda z: z.softmax(1)), (40, 1, 28, 28), 0.1),
    "ART: iris": (iris, (60, 4), 0.05),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_peers_test_model_goes_through_the_call(name: str) -> None:
    make, shape, eps = MODELS[name]
    model, x = make(), torch.rand(*shape, generator=GENERATOR)
    y = model(x).argmax(1)
    suite = SUITE if x.dim() == 4 else ["pgd20", "apgd_ce"]  # Square is for images
    result = robustscape.evaluate(model, x, y, suite=suite, eps=eps)
    assert result.clean_accuracy == 100 >= result.robust_accuracy
    assert accuracy(model, torch.as_tensor(result.x_adv), y) == pytest.approx(result.robust_accuracy)
    assert (torch.as_tensor(result.x_adv) - x).abs().max() <= eps + 1e-6
    assert bool(result.flags["flag_softmax_outputs"]) == ("probabilities" in name)


def test_arts_net_with_one_output_for_two_classes_is_a_sentence() -> None:
    model, x = ConvolutionAndPool(lambda z: z.sigmoid(), classes=1), torch.rand(4, 1, 28, 28, generator=GENERATOR)
    with pytest.raises(UserError, match="class"):
        robustscape.evaluate(model, x, torch.tensor([0, 1, 0, 1]), suite=SUITE, eps=0.1)
