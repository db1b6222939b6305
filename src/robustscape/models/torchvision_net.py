"""Convolutional nets for photographs as torchvision defines them (ma2025 chapter 6): ResNets, VGG19, DenseNet121.

Parameters for 1000 classes: resnet18 11,689,512; resnet34 21,797,672; resnet50 25,557,032; resnet101 44,549,160; vgg19_bn
143,678,248; densenet121 7,978,856. Names of modules are torchvision's, so files of its weights fit.
"""

from __future__ import annotations

from typing import Literal

import torchvision
from torch import nn

from robustscape.errors import ConfigError
from robustscape.models._shapes import require_image
from robustscape.models._weights import start_from_weights


def torchvision_net(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    name: Literal["resnet18", "resnet34", "resnet50", "resnet101", "vgg19_bn", "densenet121"],
    weights: str | None = None,
    sha256: str | None = None,
) -> nn.Module:
    """Return a newly initialised net of torchvision, or one that starts from the weights of a file.

    Args:
        shape: shape of one photograph, (3, H, W), of at least 64 pixels a side.
        num_classes: number of logits.
        name: of the net in torchvision.
        weights: safetensors file of initial weights, seen from the project's folder; a head of other classes is left out.
        sha256: SHA-256 of that file.

    Raises:
        ConfigError: the images are not of three channels, or too small; ``weights`` are given without ``sha256``.
        MissingData: the file is not there.
        CorruptFile: it is another, or does not fit.
    """
    channels, _, _ = require_image(name, shape, smallest=64)
    if channels != 3:
        raise ConfigError(f"the architecture '{name}' takes images of 3 channels, got {channels}.")
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
    if weights is not None:
        start_from_weights(net, weights, sha256, name)
    return net
