"""What convolutional nets require of their inputs."""

from __future__ import annotations

from robustscape.errors import ConfigError


def require_image(architecture: str, shape: tuple[int, ...], smallest: int) -> tuple[int, int, int]:
    """``shape`` as (C, H, W).

    Raises:
        ConfigError: not an image, or smaller than ``smallest`` pixels a side.
    """
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise ConfigError(
            f"the architecture '{architecture}' takes images (C, H, W) of at least {smallest}x{smallest} pixels, "
            f"but the data set's inputs have shape {tuple(shape)}."
        )
    return shape[0], shape[1], shape[2]
