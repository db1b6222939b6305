"""Defences by preprocessing: closed forms, other implementations, and that they leave clean images recognisable."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn, idctn
from torch import Tensor, nn

from robustscape.data import Split
from robustscape.errors import UserError
from robustscape.evaluation.defences.bit_reduction import reduce_bits
from robustscape.evaluation.defences.feature_distillation import distil_features
from robustscape.evaluation.defences.jpeg import compress_jpeg
from robustscape.evaluation.defences.purifier import Purifier, train_purifier
from robustscape.evaluation.defences.randomized_smoothing import smoothed_votes


def pictures(count: int, channels: int, side: int, seed: int = 0) -> Tensor:
    rough = torch.rand(count, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(rough, (side, side), mode="bicubic").clamp(0, 1)


def test_fewer_bits_has_that_many_levels() -> None:
    x = torch.linspace(0, 1, 1001)
    for bits in (1, 2, 4):
        levels = reduce_bits(x, bits).unique()
        assert len(levels) == 2**bits and (reduce_bits(x, bits) - x).abs().max() <= 0.5 / (2**bits - 1) + 1e-6
        assert torch.equal(reduce_bits(levels, bits), levels)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillows(channels: int) -> None:
    x = pictures(2, channels, 14)
    out = compress_jpeg(x, 75)
    levels = (x[1] * 255).round().byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(levels[:, :, 0] if channels == 1 else levels).save(buffer, "JPEG", quality=75)
    expected = np.asarray(Image.open(buffer)).reshape(levels.shape)
    assert ((out[1].permute(1, 2, 0) * 255).round().byte().numpy() == expected).all() and out.shape == x.shape
    assert 0 < (out - x).abs().mean() < 0.06
    with pytest.raises(UserError, match="1 or 3 channels"):
        compress_jpeg(torch.rand(1, 2, 8, 8))


def test_feature_distillation_by_scipys_cosine_transform() -> None:
    x = pictures(2, 3, 16).double()
    steps = np.full((8, 8), 30.0)
    steps[:4, :4] = 25.0
    block = x[1, 2, 8:, :8].numpy() * 255 - 128
    expected = idctn(np.round(dctn(block, norm="ortho") / steps) * steps, norm="ortho")
    assert np.allclose(distil_features(x)[1, 2, 8:, :8].numpy(), np.clip((expected + 128) / 255, 0, 1))
    odd = pictures(2, 1, 14)
    assert distil_features(odd).shape == odd.shape and (distil_features(odd) - odd).abs().mean() < 0.06


def test_votes_are_counted_and_belong_to_samples() -> None:
    def above(x: Tensor) -> Tensor:
        return torch.stack([x.flatten(1).mean(1), 0 * x[:, 0, 0, 0]], dim=1)

    x = torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1, 1)
    votes = smoothed_votes(above, x, torch.arange(3), 0, sigma=0.25, votes=200)
    assert votes[0].tolist() == [200, 0] and votes[1].tolist() == [0, 200] and 60 < votes[2, 0] < 140
    assert torch.equal(smoothed_votes(above, x[2:], torch.tensor([2]), 0, votes=200), votes[2:]), "of its own stream"


def test_a_purifier_starts_as_the_identity_and_learns_to_undo() -> None:
    torch.manual_seed(0)
    x = pictures(64, 1, 14)
    assert torch.equal(Purifier(1)(x), x)
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 144, 16), nn.Linear(16, 4)).eval()
    images = Split((x * 255).round().byte(), torch.zeros(64).long(), 255.0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    purifier = train_purifier(net, images, 0.1, 60, 0)
    noise = 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(5)).sign()
    attacked = (images.inputs() + noise).clamp(0, 1)
    with torch.no_grad():
        assert (purifier(attacked) - x).square().mean() < 0.8 * (attacked - x).square().mean()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    again = train_purifier(net, images, 0.1, 3, 0)
    assert torch.equal(again.last.weight, train_purifier(net, images, 0.1, 3, 0).last.weight)
