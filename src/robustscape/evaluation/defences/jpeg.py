"""JPEG compression of the input (Guo et al. 2018), by Pillow, with its default subsampling of colours."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robustscape.errors import UserError


def compress_jpeg(x: Tensor, quality: int = 75) -> Tensor:
    """Return images (B, C, H, W) in [0, 1] as JPEG of that quality gives them back; C is 1 or 3.

    Raises:
        UserError: the inputs are no such images.
    """
    if x.dim() != 4 or x.shape[1] not in (1, 3):
        raise UserError(f"JPEG is for images of 1 or 3 channels, got inputs of shape {tuple(x.shape[1:])}.")
    levels = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    out = np.empty_like(levels)
    for place, image in enumerate(levels):
        buffer = io.BytesIO()
        Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(buffer, "JPEG", quality=quality)
        decoded = np.asarray(Image.open(buffer))
        out[place] = decoded.reshape(image.shape)
    return (torch.from_numpy(out).permute(0, 3, 1, 2).to(x) / 255).contiguous()
