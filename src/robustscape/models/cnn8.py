"""CNN8 of ma2025 table 3.10: eight convolutions without normalisation. The work states nothing but their number.

The convolutions of CNN6, two more of 256 channels, the average over all places, linear 256, linear.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from robustscape.models._plain_cnn import plain_cnn, stage_widths
from robustscape.models._shapes import require_image


def cnn8(shape: tuple[int, ...], num_classes: int, *, width: Annotated[int, Field(ge=1)] = 64) -> nn.Module:
    """Return a net of eight 3x3 convolutions and two linear layers.

    Args:
        shape: shape of one image, (C, H, W).
        num_classes: number of logits.
        width: number of channels of the first stage; the others are in proportion, and the hidden layer has four times as many.
    """
    channels, height, columns = require_image("cnn8", shape, smallest=4)
    stages = [[w, w] for w in stage_widths(width)]
    return plain_cnn(channels, num_classes, stages, pooled=True, side=(height, columns), hidden=4 * width)
