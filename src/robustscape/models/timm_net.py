"""Nets for photographs as timm defines them (ma2025 chapter 6): Inception-v3, vision transformers, Swin, ConvNeXt.

Parameters for 1000 classes: inception_v3 23,834,568; vit_tiny, small and base_patch16_224 5,717,416, 22,050,664 and 86,567,656;
swin_small_patch4_window7_224 49,606,258; convnext_base 88,591,464. Names of modules are timm's, so files of its weights fit.

timm is no dependency of the package: pip would install its client of a model hub, which nothing here uses. These nets need it.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from robustscape.errors import ConfigError
from robustscape.models._shapes import require_image
from robustscape.models._weights import start_from_weights

#: The version whose definitions these are (requirements/no-deps.in).
VERSION = "1.0.31"


def timm_net(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    name: Literal[
        "inception_v3",
        "vit_tiny_patch16_224",
        "vit_small_patch16_224",
        "vit_base_patch16_224",
        "swin_small_patch4_window7_224",
        "convnext_base",
    ],
    weights: str | None = None,
    sha256: str | None = None,
) -> nn.Module:
    """Return a newly initialised net of timm, or one that starts from the weights of a file.

    Args:
        shape: shape of one photograph, (3, 224, 224).
        num_classes: number of logits.
        name: of the net in timm.
        weights: safetensors file of initial weights, seen from the project's folder; a head of other classes is left out.
        sha256: SHA-256 of that file.

    Raises:
        ConfigError: timm is not installed; the images are others; ``weights`` are given without ``sha256``.
        MissingData: the file is not there.
        CorruptFile: it is another, or does not fit.
    """
    if require_image(name, shape, smallest=224) != (3, 224, 224):
        raise ConfigError(f"the architecture '{name}' takes images of 3x224x224, got {'x'.join(map(str, shape))}.")
    try:
        import timm
    except ImportError:
        raise ConfigError(
            f"the architecture '{name}' is defined by timm, which is not installed: pip install --no-deps timm=={VERSION}."
        ) from None
    net: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes)
    if weights is not None:
        start_from_weights(net, weights, sha256, name)
    return net
