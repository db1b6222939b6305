"""Standard training on images without some of their DCT coefficients: min_w mean_n loss(f_w(Phi(x_n)), y_n) (ma2025 4.3.1).

Only the inputs of training lose coefficients; the net is evaluated on images as they are. The filter sees an image after
augmentation: it commutes with mirroring, the only augmentation of the work. Cost: 1 forward, 1 backward (3 forward-equivalents),
four products of a channel with a matrix of its side, and for "energy" a sort of its coefficients.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from robustscape.data.dct import filter_images
from robustscape.devices import exact_fp32
from robustscape.training.attack import TrainingAttack
from robustscape.training.objective import CrossEntropy


def standard_filtered(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: TrainingAttack,
    *,
    kind: Literal["energy", "low_pass"],
    percent: Annotated[float, Field(ge=0, le=100)],
) -> CrossEntropy:
    """Return the mean cross-entropy of filtered inputs as an objective; no attack is made.

    Args:
        model: the net, in training mode.
        x: images (B, C, H, W).
        y: labels (B,).
        attack: not called.
        kind: which coefficients are removed: "energy": those of the smallest magnitude, image by image; "low_pass": those of
            the highest frequency.
        percent: share of the coefficients that is removed; 0: standard training.
    """
    with exact_fp32():  # its products would be rounded in a lower precision of training, and coefficients not removed
        filtered = filter_images(x, kind, percent)
    return CrossEntropy(model, filtered, y)
