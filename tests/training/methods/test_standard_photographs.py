"""Changes of photographs in training, and the cross-entropy of what they leave."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.training.attack import TrainingAttack
from robustscape.training.methods._photographs import changed_by_policy, cropped_and_mirrored, mixed
from robustscape.training.methods.standard_photographs import standard_photographs


def photographs(count: int = 8, side: int = 64) -> Tensor:
    """Columns that rise from left to right, and a second channel of rows."""
    ramp = torch.linspace(0, 1, side)
    columns, rows = ramp.expand(side, side), ramp[:, None].expand(side, side)
    return torch.stack([columns, rows, 0 * rows]).expand(count, 3, side, side).clone()


def no_attack() -> TrainingAttack:
    return TrainingAttack(None, {}, ThreatModel("Linf", 0.0), SampleGenerator.seeded(0, 8))


def test_small_images_stay_as_they_are() -> None:
    x, y = torch.rand(4, 1, 14, 14), torch.arange(4)
    assert cropped_and_mirrored(x) is x and changed_by_policy(x, "rand", 1.0) is x
    assert mixed(x, y, 10, 0.2, 1.0) == (x, y)


def test_crops_are_crops_of_a_random_size_half_of_them_mirrored() -> None:
    torch.manual_seed(0)
    x = photographs(400)
    out = cropped_and_mirrored(x)
    widths = (out[:, 0, 30, -1] - out[:, 0, 30, 0]).abs()
    heights = out[:, 1, -1, 30] - out[:, 1, 0, 30]
    mirrored = (out[:, 0, 30, -1] < out[:, 0, 30, 0]).float().mean()
    assert 0.4 < mirrored < 0.6 and (heights > 0).all(), "left to right, never upside down"
    areas = widths * heights
    assert 0.05 < areas.min() < 0.15 and areas.max() > 0.85 and 0.4 < areas.mean() < 0.65, "8 to 100 %, uniform"
    ratios = widths / heights
    assert ratios.min() > 0.7 and ratios.max() < 1.4
    assert out.min() >= 0 and out.max() <= 1 and torch.allclose(out[:, 2], torch.zeros(()))
    torch.manual_seed(0)
    assert torch.equal(out, cropped_and_mirrored(x)), "of torch's stream, which the loop seeds"


@pytest.mark.parametrize("policy", ["rand", "trivial"])
def test_policies_change_images_one_by_one_within_the_range(policy: str) -> None:
    torch.manual_seed(0)
    x = photographs(6)
    out = changed_by_policy(x, policy, 0.0)  # type: ignore[arg-type]
    assert out.shape == x.shape and out.min() >= 0 and out.max() <= 1
    assert len({tuple(image.flatten()[::97].tolist()) for image in out}) > 2, "each image has its own change"
    erased = changed_by_policy(x, "none", 1.0)
    colour = (255 * x.mean((0, 2, 3))).round() / 255
    assert (erased.permute(0, 2, 3, 1) - colour).abs().amax(-1).flatten(1).min(1).values.max() < 0.5 / 255
    assert (erased != x).flatten(1).any(1).all()


def test_mixed_labels_are_probabilities() -> None:
    torch.manual_seed(1)
    x, y = photographs(6), torch.arange(6)
    for mixup, cutmix in ((0.2, 0.0), (0.0, 1.0), (0.2, 1.0)):
        images, probabilities = mixed(x, y, 10, mixup, cutmix)
        assert images.shape == x.shape and torch.allclose(probabilities.sum(1), torch.ones(6))
        assert ((probabilities > 0).sum(1) <= 2).all()


def test_the_loss_is_the_smoothed_cross_entropy() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(196, 10))
    x, y = torch.rand(8, 1, 14, 14), torch.arange(8)
    for smoothing in (0.0, 0.1):
        loss = standard_photographs(net, x, y, no_attack(), smoothing=smoothing, policy="rand", mixup=0.2, cutmix=1.0)()
        assert torch.allclose(loss, F.cross_entropy(net(x), y, label_smoothing=smoothing))
    wide = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 10))
    loss = standard_photographs(wide, photographs(), y, no_attack(), classes=10, mixup=0.2)()
    assert loss.isfinite() and loss > 0
