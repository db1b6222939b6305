"""Nets for waveforms: front ends against torchaudio and by hand, sizes against torchvision's nets, encoders from files."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
import torchaudio
import torchvision
from torch import Tensor, nn

from robustscape.errors import ConfigError, CorruptFile, MissingData, UserError
from robustscape.models import build_classifier, fold_batchnorm
from robustscape.models._mel import FLOOR, MelSpectrogram
from robustscape.models._wav2vec import Encoder
from robustscape.models.mel_tdnn import StatisticsPooling
from robustscape.models.wav2vec_lstm import AttentiveLSTM

SHAPE = (2, 1, 1200)
MEL: dict[str, Any] = {"rate": 2000, "mels": 8, "fft": 256, "hop": 100}
CODE: dict[str, Any] = {"encoder": "random-frozen", "channels": 6, "strides": [4, 3, 2, 2, 2]}
#: Architecture -> sizes at which it is quick.
SMALL: dict[str, dict[str, Any]] = {
    "mel_densenet": {**MEL, "growth": 2, "blocks": [2, 1]},
    "mel_vgg19": {**MEL, "width": 1},
    "mel_wide_resnet": {**MEL, "depth": 10, "width": 1, "base": 2},
    "mel_tdnn": {**MEL, "hop": 50, "width": 16},
    "wav2vec_lstm": {**CODE, "hidden": 5},
    "wav2vec_linear": {**CODE, "hidden": [7]},
}


def as_bytes(wave: Tensor) -> Tensor:
    """Waveforms (B, T) as inputs of the nets."""
    return ((wave + 1) / 2)[:, None, None].expand(-1, 2, 1, -1)


@pytest.mark.parametrize("name", SMALL)
def test_logits_and_gradients(name: str) -> None:
    torch.manual_seed(0)
    model = build_classifier(name, SMALL[name], SHAPE, 4).eval()
    x = torch.rand(3, *SHAPE, requires_grad=True)
    logits = model(x)
    assert logits.shape == (3, 4) and logits.isfinite().all()
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), x)
    assert (gradient.flatten(1).abs().sum(1) > 0).all() and gradient.isfinite().all()
    torch.testing.assert_close(model(x[1:2]), logits[1:2], atol=1e-5, rtol=1e-4)
    assert build_classifier(name, {**SMALL[name], "outputs": 6}, SHAPE, 4)(x).shape == (3, 6)
    torch.testing.assert_close(fold_batchnorm(model)(x), logits, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", SMALL)
def test_what_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"'{name}' takes waveforms as two bytes a sample"):
        build_classifier(name, SMALL[name], (1, 28, 28), 4)
    with pytest.raises(UserError, match=f"'{name}' .*longer waveforms|'{name}' needs more than"):
        build_classifier(name, SMALL[name], (2, 1, 40), 4)
    with pytest.raises(ConfigError, match=r"'outputs' got 3, allowed is 4"):
        build_classifier(name, {**SMALL[name], "outputs": 3}, SHAPE, 4)


# Mel spectrogram ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["raw", "log"])
def test_the_spectrogram_is_torchaudios(scale: Any) -> None:
    wave = torch.rand(3, 16_000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ours = MelSpectrogram(16_000, 32, 2048, 512, scale)(as_bytes(wave))
    assert ours.shape == (3, 1, 32, 32), "32x32 as the work says"
    oracle = torchaudio.transforms.MelSpectrogram(16_000, 2048, hop_length=512, n_mels=32)(wave)
    expected = (oracle + FLOOR).log() if scale == "log" else oracle
    torch.testing.assert_close(ours[:, 0], expected, rtol=1e-3, atol=1e-3)


def test_the_gradient_of_the_spectrogram() -> None:
    front = MelSpectrogram(2000, 6, 64, 20, "log").double()
    wave = torch.rand(1, 90, generator=torch.Generator().manual_seed(0)).double() - 0.5
    assert torch.autograd.gradcheck(lambda w: front(as_bytes(w)), wave.requires_grad_(), atol=1e-4)


# Sizes ----------------------------------------------------------------------------------------------------------------


def parameters(name: str, sizes: dict[str, Any], shape: tuple[int, ...] = (2, 1, 16_000)) -> int:
    with torch.device("meta"):
        model = build_classifier(name, sizes, shape, 10)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_nets_on_spectrograms_have_the_sizes_of_those_on_images() -> None:
    with torch.device("meta"):
        dense, vgg = torchvision.models.densenet121(num_classes=12), torchvision.models.vgg19_bn()
    # A stem of 3x3 on one channel without normalisation in place of 7x7 on three with.
    stem = 64 * 9 - count(dense.features.conv0) - count(dense.features.norm0)
    assert parameters("mel_densenet", {"outputs": 12}) == count(dense) + stem
    assert parameters("mel_vgg19", {"outputs": 12}) == count(vgg.features) - 2 * 9 * 64 + 512 * 12 + 12
    wide = build_classifier("wide_resnet", {"depth": 28, "width": 10}, (1, 32, 32), 12)
    assert parameters("mel_wide_resnet", {"outputs": 12}) == count(wide)


def test_x_vectors_have_the_layers_of_snyder_et_al() -> None:
    net = build_classifier("mel_tdnn", {}, (2, 1, 48_000), 10).net
    layers = [(m.in_channels, m.out_channels, *m.kernel_size, *m.dilation) for m in net if isinstance(m, nn.Conv1d)]
    assert layers == [(30, 512, 5, 1), (512, 512, 3, 2), (512, 512, 3, 3), (512, 512, 1, 1), (512, 1500, 1, 1)]
    assert [(m.in_features, m.out_features) for m in net if isinstance(m, nn.Linear)] == [
        (3000, 512),
        (512, 512),
        (512, 10),
    ]
    x = torch.randn(2, 3, 7)
    pooled = StatisticsPooling()(x)
    torch.testing.assert_close(pooled, torch.cat([x.mean(2), x.std(2, correction=0)], 1), atol=1e-4, rtol=1e-4)


# Encoder --------------------------------------------------------------------------------------------------------------


def test_a_second_becomes_512_by_98() -> None:
    encoder = Encoder(512, [10, 8, 4, 4, 4], [5, 4, 2, 2, 2])
    assert encoder.frames(16_000) == 98
    assert encoder(torch.rand(1, 2, 1, 16_000)).shape == (1, 512, 98)
    kernels = [(layer[0].kernel_size, layer[0].stride, layer[0].bias) for layer in encoder.conv_layers]
    assert kernels == [((k,), (s,), None) for k, s in zip((10, 8, 4, 4, 4), (5, 4, 2, 2, 2), strict=True)]


def test_the_encoder_by_hand() -> None:
    encoder = Encoder(3, [4, 2], [2, 1])
    wave = torch.rand(2, 30) * 2 - 1
    z = wave[:, None]
    for layer, stride in zip(encoder.conv_layers, (2, 1), strict=True):
        z = F.conv1d(z, layer[0].weight, stride=stride)
        z = (z - z.mean((1, 2), keepdim=True)) / (z.var((1, 2), correction=0, keepdim=True) + 1e-5).sqrt()
        z = (z * layer[2].weight[:, None] + layer[2].bias[:, None]).relu()
    torch.testing.assert_close(encoder(as_bytes(wave)), (z + 1).log(), atol=1e-4, rtol=1e-3)


def test_a_random_encoder_is_the_same_in_all_nets_and_is_not_trained() -> None:
    nets = []
    for seed, name in ((0, "wav2vec_lstm"), (1, "wav2vec_linear")):
        torch.manual_seed(seed)
        nets.append(build_classifier(name, SMALL[name], SHAPE, 4).net)
    first, second = (net[0].state_dict() for net in nets)
    assert all(torch.equal(first[name], second[name]) for name in first)
    for net in nets:
        assert not any(p.requires_grad for p in net[0].parameters())
        assert all(p.requires_grad for p in net[1:].parameters())
    assert nets[0][0](torch.rand(2, *SHAPE)).std() > 0.05, "signals pass"


def write_weights(path: Path, encoder: Encoder, prefix: str = "", **more: Tensor) -> str:
    tensors = {prefix + name: tensor for name, tensor in encoder.state_dict().items()}
    path.write_bytes(safetensors.torch.save({**tensors, **more}))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("prefix", ["", "feature_extractor."])
def test_weights_come_from_the_users_file(tmp_path: Path, prefix: str) -> None:
    torch.manual_seed(3)
    own = Encoder(6, [10, 8, 4, 4, 4], CODE["strides"])
    more = {"feature_aggregator.conv_layers.0.weight": torch.zeros(2)} if prefix else {}
    sha256 = write_weights(tmp_path / "w.safetensors", own, prefix, **more)
    given = {**CODE, "encoder": "pretrained", "weights": str(tmp_path / "w.safetensors"), "sha256": sha256}
    net = build_classifier("wav2vec_lstm", given, SHAPE, 4).net
    x = torch.rand(2, *SHAPE)
    assert torch.equal(net[0](x), own(x)) and not any(p.requires_grad for p in net[0].parameters())


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"sha256": None}, ConfigError, "given without sha256"),
        ({"sha256": "0" * 64}, CorruptFile, "is not the file of the configuration"),
        ({"weights": "nowhere.safetensors"}, MissingData, "cannot be read"),
        ({"weights": None}, ConfigError, "'pretrained' got weights None"),
        ({"encoder": "random-frozen"}, ConfigError, "'random-frozen' got weights"),
        ({"channels": 7}, CorruptFile, "does not fit 'wav2vec_lstm': 15 of its weights"),
        ({"strides": [4, 3, 2]}, ConfigError, "'strides' got 3, allowed are as many as kernels: 5"),
    ],
)
def test_files_that_are_not_the_configurations(
    tmp_path: Path, change: dict[str, Any], kind: type[Exception], message: str
) -> None:
    path = tmp_path / "w.safetensors"
    sha256 = write_weights(path, Encoder(6, [10, 8, 4, 4, 4], CODE["strides"]))
    given = {**CODE, "encoder": "pretrained", "weights": str(path), "sha256": sha256, **change}
    with pytest.raises(kind, match=message):
        build_classifier("wav2vec_lstm", given, SHAPE, 4)


# Attention ------------------------------------------------------------------------------------------------------------


def test_attention_by_hand() -> None:
    torch.manual_seed(0)
    net = AttentiveLSTM(3, 4).eval()
    x = torch.randn(2, 3, 5)
    states, _ = net.lstm(x.transpose(1, 2))
    scores = torch.stack([net.score(torch.tanh(net.project(states[:, t])))[:, 0] for t in range(5)], 1)
    share = scores.exp() / scores.exp().sum(1, keepdim=True)
    expected = sum(share[:, t, None] * states[:, t] for t in range(5))
    torch.testing.assert_close(net(x), expected)
    assert not math.isclose(float(share.std()), 0)
