"""Running statistics estimated anew are plain averages over the batches given, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from robustscape.models.batchnorm import recalibrate_batchnorm


def make_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(48, 2)
    )


def batches() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [scale * torch.rand(8, 2, 6, 6, generator=draw) for scale in (1.0, 3.0, 0.2)]


def passes(model: nn.Module, inputs: list[torch.Tensor]) -> list[Callable[[], object]]:
    return [partial(model, x) for x in inputs]


def test_means_and_variances_are_averages_over_the_batches_alone() -> None:
    model = make_model()
    for x in batches():  # what they were before does not count
        model.train()(100 * x)
    recalibrate_batchnorm(model, passes(model, batches()))
    outputs = [model[0](x) for x in batches()]
    mean = torch.stack([y.mean((0, 2, 3)) for y in outputs]).mean(0)
    variance = torch.stack([y.var((0, 2, 3)) for y in outputs]).mean(0)
    torch.testing.assert_close(model[1].running_mean, mean)
    torch.testing.assert_close(model[1].running_var, variance)


def test_modes_momenta_and_weights_stay() -> None:
    model = make_model()
    model.train()
    model[1].eval()
    model[1].momentum = 0.3
    before = {name: p.clone() for name, p in model.named_parameters()}
    recalibrate_batchnorm(model, passes(model, batches()))
    assert [m.training for m in model] == [True, False, True, True, True, True] and model[1].momentum == 0.3
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_layers_after_the_first_see_it_normalised_by_the_batch() -> None:
    """Two normalisations in a row: the second one's input has mean 0 and variance 1 in every batch."""
    model = nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.BatchNorm1d(4, affine=False))
    recalibrate_batchnorm(model, passes(model, [x.flatten(1)[:, :4] for x in batches()]))
    torch.testing.assert_close(model[1].running_mean, torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(model[1].running_var, torch.full((4,), 8 / 7), atol=1e-2, rtol=0)


def test_instance_norm_is_averaged_alike() -> None:
    norm = nn.InstanceNorm1d(3, track_running_stats=True)
    inputs = [torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    recalibrate_batchnorm(norm, [lambda x=x: norm(x) for x in inputs])  # type: ignore[misc]
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean((0, 2)) for x in inputs]).mean(0))
    assert norm.momentum == 0.1
