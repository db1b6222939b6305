"""CNN6 of ma2025 table 3.10: six convolutions without normalisation. Widths are silent; these are of the author's public code.

conv 64, 64, pool, 128, 128, pool, 196, 196, pool, linear 256, linear.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from robustscape.models._plain_cnn import plain_cnn, stage_widths
from robustscape.models._shapes import require_image


def cnn6(shape: tuple[int, ...], num_classes: int, *, width: Annotated[int, Field(ge=1)] = 64) -> nn.Module:
    """Return a net of six 3x3 convolutions and two linear layers.

    Args:
        shape: shape of one image, (C, H, W).
        num_classes: number of logits.
        width: number of channels of the first stage; the others are in proportion, and the hidden layer has four times as many.
    """
    channels, height, columns = require_image("cnn6", shape, smallest=4)
    stages = [[w, w] for w in stage_widths(width)[:3]]
    return plain_cnn(channels, num_classes, stages, pooled=False, side=(height, columns), hidden=4 * width)
