"""Wide residual nets: the published sizes, every image size, and what they compute."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.errors import ConfigError, UserError
from robustscape.models import build_classifier
from robustscape.models.wide_resnet import wide_resnet


@pytest.mark.parametrize(
    ("depth", "width", "count"), [(28, 10, 36_479_194), (34, 10, 46_160_474), (40, 10, 55_841_754), (16, 4, 2_748_890)]
)
def test_parameters_of_the_known_nets(depth: int, width: int, count: int) -> None:
    with torch.device("meta"):
        net = wide_resnet((3, 32, 32), 10, depth=depth, width=width)
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 14, 28, 64])
def test_every_image_size(channels: int, side: int) -> None:
    torch.manual_seed(0)
    model = build_classifier("wide_resnet", {"depth": 10, "width": 2, "base": 4}, (channels, side, side), 7).eval()
    x = torch.rand(3, channels, side, side, requires_grad=True)
    logits = model(x)
    assert logits.shape == (3, 7) and torch.isfinite(logits).all()
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), x)
    assert gradient.abs().sum() > 0
    assert torch.allclose(model(x[1:2]), logits[1:2], atol=1e-5)


def test_it_is_its_definition() -> None:
    torch.manual_seed(0)
    model = build_classifier("wide_resnet", {"depth": 16, "width": 3, "base": 2}, (3, 12, 12), 5).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data.uniform_(0.5, 1.5)
    s = {name.removeprefix("net."): value for name, value in model.state_dict().items()}

    def bn(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (s[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return (x - mean[:, None, None]) * (weight / (var + 1e-5).sqrt())[:, None, None] + bias[:, None, None]

    x = torch.rand(2, 3, 12, 12)
    z = F.conv2d(x, s["conv1.weight"], padding=1)
    for stage in range(3):
        for block in range(2):
            name, stride = f"block{stage + 1}.{block}", 2 if stage and not block else 1
            a = F.relu(bn(z, f"{name}.bn1"))
            shortcut = F.conv2d(a, s[f"{name}.shortcut.0.weight"], stride=stride) if not block else z
            a = F.relu(bn(F.conv2d(a, s[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn2"))
            z = F.conv2d(a, s[f"{name}.conv2.weight"], padding=1) + shortcut
    z = F.relu(bn(z, "bn")).mean((2, 3)) @ s["linear.weight"].T + s["linear.bias"]
    with torch.no_grad():
        torch.testing.assert_close(model(x), z, rtol=1e-4, atol=1e-4)
    assert s["linear.weight"].shape == (5, 4 * 3 * 2) and s["conv1.weight"].shape[0] == 2


def test_a_depth_that_no_net_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'depth' got 30; allowed is 6 n \+ 4"):
        build_classifier("wide_resnet", {"depth": 30}, (3, 8, 8), 10)
    with pytest.raises(UserError, match="takes images"):
        build_classifier("wide_resnet", {"depth": 10}, (16,), 10)
