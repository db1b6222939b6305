"""ResNet-50 for small images: its size, its names, and torchvision's net of the same blocks."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from robustscape.models.resnet50 import resnet50


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(("classes", "count"), [(10, 23_520_842), (25, 23_551_577), (100, 23_705_252)])
def test_its_size_is_that_of_the_flat_nets_of_ma2025(classes: int, count: int) -> None:
    with torch.device("meta"):
        assert parameters(resnet50((3, 32, 32), classes)) == count


def test_it_is_torchvisions_but_for_the_stem() -> None:
    torch.manual_seed(0)
    ours = resnet50((3, 16, 16), 10).eval()
    theirs = torchvision.models.resnet50(num_classes=10).eval()
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    names = {name.replace("shortcut", "downsample").replace("linear", "fc"): v for name, v in ours.state_dict().items()}
    theirs.load_state_dict(names)
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-3, atol=1e-5)


def test_narrow_nets_take_small_images() -> None:
    logits = resnet50((1, 8, 8), 7, width=2).eval()(torch.rand(3, 1, 8, 8))
    assert logits.shape == (3, 7) and torch.isfinite(logits).all()
