"""Convolutions, ReLUs and max-pooling without normalisation, then two linear layers: CNN6 and CNN8."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def plain_cnn(
    channels: int,
    num_classes: int,
    stages: Sequence[Sequence[int]],
    *,
    pooled: bool,
    side: tuple[int, int],
    hidden: int,
) -> nn.Sequential:
    """Return a net of 3x3 convolutions; weights of convolutions as He et al. (2015), without which a plain net does not start.

    Args:
        channels: of the images.
        num_classes: number of logits.
        stages: output channels of each convolution; between stages, and after the last one unless ``pooled``, is a max-pooling
            of 2x2, which rounds odd sides up.
        pooled: the last stage ends in the average over all places.
        side: height and width of the images.
        hidden: units of the hidden linear layer.
    """
    layers: list[nn.Module] = []
    height, width = side
    for number, stage in enumerate(stages):
        for out in stage:
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU()]
            channels = out
        if not (pooled and number == len(stages) - 1):
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
            height, width = (height + 1) // 2, (width + 1) // 2
    if pooled:
        layers.append(nn.AdaptiveAvgPool2d(1))
        height = width = 1
    layers += [nn.Flatten(), nn.Linear(channels * height * width, hidden), nn.ReLU(), nn.Linear(hidden, num_classes)]
    for module in layers:
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return nn.Sequential(*layers)


def stage_widths(width: int) -> list[int]:
    """Return the channels of the four stages, which are 64, 128, 196, 256 at ``width`` 64."""
    return [width, 2 * width, round(196 * width / 64), 4 * width]
