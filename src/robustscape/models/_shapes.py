"""The check of input shapes that convolutional nets share."""

from __future__ import annotations

from robustscape.errors import ConfigError


def require_image(architecture: str, shape: tuple[int, ...], smallest: int) -> tuple[int, int, int]:
    """Return ``shape`` as (C, H, W).

    Raises:
        ConfigError: it is not the shape of an image, or a side is below ``smallest`` pixels; the message names
            ``architecture``.
    """
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise ConfigError(
            f"the architecture '{architecture}' takes images (C, H, W) of at least {smallest}x{smallest} pixels, "
            f"but the data set's inputs have shape {tuple(shape)}."
        )
    return shape[0], shape[1], shape[2]
