"""Feature distillation (Liu et al. 2019): 8x8 blocks are quantised in the cosine domain, low frequencies a little finer.

The steps are 25 levels (of 255) for the 4x4 lowest frequencies of a block and 30 for the others, as we know the authors' public
code; the work states none. Blocks that reach over the image are filled with its edge.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robustscape.data.dct import dct, idct

BLOCK, LOW = 8, 4
LOW_STEP, HIGH_STEP = 25.0, 30.0


def distil_features(x: Tensor) -> Tensor:
    """Return images (B, C, H, W) in [0, 1] with quantised blocks, clipped to [0, 1]."""
    count, channels, height, width = x.shape
    down, across = -height % BLOCK, -width % BLOCK
    padded = F.pad(x, (0, across, 0, down), mode="replicate") * 255 - 128
    rows, columns = padded.shape[2] // BLOCK, padded.shape[3] // BLOCK
    blocks = padded.reshape(count, channels, rows, BLOCK, columns, BLOCK).permute(0, 1, 2, 4, 3, 5)
    spectrum = dct(blocks.reshape(-1, 1, BLOCK, BLOCK))
    steps = torch.full((BLOCK, BLOCK), HIGH_STEP, device=x.device, dtype=x.dtype)
    steps[:LOW, :LOW] = LOW_STEP
    quantised = idct((spectrum / steps).round() * steps).reshape(count, channels, rows, columns, BLOCK, BLOCK)
    whole = quantised.permute(0, 1, 2, 4, 3, 5).reshape(padded.shape)[..., :height, :width]
    return ((whole + 128) / 255).clamp(0, 1)
