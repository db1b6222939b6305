"""Random changes of photographs in training, as for ImageNet (ma2025 appendix 6.A).

The random numbers are torch's global ones, which the training loop seeds anew for every epoch. Images with fewer than ``LEAST``
pixels a side are stand-ins and stay as they are: a crop to 8 % of 14x14 pixels would leave a speck.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

#: Least side, in pixels, of what counts as a photograph.
LEAST = 64

#: Names of a policy of stronger changes of one image.
Policy = Literal["none", "rand", "trivial"]


def are_photographs(x: Tensor) -> bool:
    """Return whether ``x`` is a batch of images large enough to be changed, (B, C, H, W)."""
    return x.dim() == 4 and min(x.shape[2:]) >= LEAST


def cropped_and_mirrored(x: Tensor) -> Tensor:
    """Return images (B, C, H, W), each a crop of 8 to 100 % of the area resized to H x W, half of them mirrored.

    The crop's ratio of sides is in [3/4, 4/3] (torchvision's RandomResizedCrop); each image has its own.
    """
    if not are_photographs(x):
        return x
    count, device = len(x), x.device
    scale = torch.empty(count, device=device).uniform_(0.08, 1.0)
    ratio = torch.empty(count, device=device).uniform_(-0.2876821, 0.2876821).exp()  # log(4/3)
    width = (scale * ratio).sqrt().clamp(max=1.0)
    height = (scale / ratio).sqrt().clamp(max=1.0)
    left = (2 * torch.rand(count, device=device) - 1) * (1 - width)
    top = (2 * torch.rand(count, device=device) - 1) * (1 - height)
    sign = 1.0 - 2.0 * (torch.rand(count, device=device) < 0.5)
    zero = torch.zeros_like(width)
    map_to_crop = torch.stack(
        [torch.stack([sign * width, zero, left], dim=1), torch.stack([zero, height, top], dim=1)], dim=1
    ).to(x.dtype)
    grid = F.affine_grid(map_to_crop, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def changed_by_policy(x: Tensor, policy: Policy, erase: float) -> Tensor:
    """Return images (B, C, H, W) in [0, 1], each changed by a random operation of ``policy``, a share ``erase`` with a hole.

    Args:
        x: images in [0, 1].
        policy: "rand": RandAugment (2 operations of strength 9); "trivial": TrivialAugment; "none".
        erase: probability that a random rectangle gets the mean colour of the batch: PyTorch's reference sets it to 0 after
            standardisation.
    """
    if not are_photographs(x) or (policy == "none" and erase == 0):
        return x
    steps: list[torch.nn.Module] = []
    if policy != "none":
        steps.append(v2.RandAugment() if policy == "rand" else v2.TrivialAugmentWide())
    if erase:
        steps.append(v2.RandomErasing(erase, value=(255 * x.mean((0, 2, 3))).round().tolist()))
    change = v2.Compose(steps)
    levels = (x * 255).round().to(torch.uint8)
    return torch.stack([change(image) for image in levels]).to(x.dtype) / 255


def mixed(x: Tensor, y: Tensor, classes: int, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Return images (B, C, H, W) mixed with others of the batch, and their probabilities of the classes (B, C).

    Where nothing is mixed, images and labels (B,) come back as they are.

    One of Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) is drawn for the batch, if both have a parameter above 0.

    Args:
        x: images.
        y: labels (B,).
        classes: C.
        mixup: parameter of Mixup's beta distribution; 0: no Mixup.
        cutmix: the same of CutMix.
    """
    kinds = [kind for kind, parameter in (("mixup", mixup), ("cutmix", cutmix)) if parameter > 0]
    if not kinds or not are_photographs(x):
        return x, y
    kind = kinds[int(torch.randint(len(kinds), ()))]
    change = (
        v2.MixUp(alpha=mixup, num_classes=classes) if kind == "mixup" else v2.CutMix(alpha=cutmix, num_classes=classes)
    )
    return change(x, y)
