"""VGG16 against torchvision's vgg16_bn, whose convolutional part it is at w = 16."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from robustscape.errors import UserError
from robustscape.models import build_classifier
from robustscape.models.vgg16 import vgg16


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_features_are_torchvisions() -> None:
    torch.manual_seed(0)
    ours, theirs = vgg16((3, 32, 32), 10).eval(), torchvision.models.vgg16_bn().eval()
    assert parameters(ours.features) == parameters(theirs.features) == 14_723_136  # type: ignore[arg-type]
    theirs.features.load_state_dict(ours.features.state_dict())  # type: ignore[union-attr]
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected: Tensor = ours.linear(theirs.features(x).flatten(1))  # type: ignore[operator]
        torch.testing.assert_close(ours(x), expected)
    assert tuple(theirs.features(x).shape) == (2, 512, 1, 1)


def test_width_scales_every_layer() -> None:
    sizes = [
        [m.out_channels for m in vgg16((3, 32, 32), 10, width=w).modules() if isinstance(m, nn.Conv2d)] for w in (1, 8)
    ]
    assert sizes[0] == [4, 4, 8, 8, 16, 16, 16, 32, 32, 32, 32, 32, 32]
    assert sizes[1] == [8 * size for size in sizes[0]]


@pytest.mark.parametrize("side", [4, 7, 8, 14, 28, 32, 64])
def test_every_image_size(side: int) -> None:
    model = build_classifier("vgg16", {"width": 1}, (1, side, side), 7).eval()
    out = model(torch.rand(3, 1, side, side))
    assert out.shape == (3, 7)
    assert out.isfinite().all()


def test_every_parameter_is_used() -> None:
    model = build_classifier("vgg16", {"width": 1}, (3, 32, 32), 5).train()
    model(torch.rand(4, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 13
    assert all(m.bias is not None for m in convolutions)


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(UserError, match="'vgg16' takes images"):
        build_classifier("vgg16", {}, (20,), 10)
