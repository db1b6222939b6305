"""Pictures in rows: the pixels of an image as text, which a figure reads back (``report/figures/image_grid.py``)."""

from __future__ import annotations

import base64
from typing import Any

from torch import Tensor


def picture_columns(image: Tensor) -> dict[str, Any]:
    """Return the columns ``pixels`` (base64 of the bytes, row by row, channels last), ``height``, ``width`` and ``channels``.

    Args:
        image: (C, H, W) or (H, W), 0 is black and 1 white; values beyond are clipped. C is 1 or 3; of other numbers of channels
            the first is shown.
    """
    shown = image[None] if image.dim() == 2 else image
    shown = shown if len(shown) in (1, 3) else shown[:1]
    levels = (shown.detach().cpu().double().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous()
    height, width, channels = levels.shape
    text = base64.b64encode(levels.numpy().tobytes()).decode("ascii")
    return {"pixels": text, "height": height, "width": width, "channels": channels}
