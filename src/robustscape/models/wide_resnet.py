"""Wide residual nets for small images (Zagoruyko & Komodakis 2016): WRN-depth-width.

WRN-34-10 of kanai2022, WRN-28-10 and WRN-40-10 of kim2023, in the form usual in adversarial training: pre-activation blocks,
no dropout, He initialisation of convolutions by fan-out, and no bias but that of the last layer, which is initialised to 0.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.errors import ConfigError
from robustscape.models._shapes import require_image
from robustscape.models.preactresnet18 import PreActBlock


class WideResNet(nn.Module):
    """Three stages of (depth - 4) / 6 blocks with k b, 2 k b, 4 k b channels and strides 1, 2, 2; pooling; linear."""

    def __init__(self, channels: int, num_classes: int, blocks: int, width: int, base: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, base, 3, padding=1, bias=False)
        stages, before = [], base
        for stage in range(3):
            out = width * base * 2**stage
            first = PreActBlock(before, out, 1 if stage == 0 else 2)
            stages.append(nn.Sequential(first, *(PreActBlock(out, out, 1) for _ in range(blocks - 1))))
            before = out
        self.block1, self.block2, self.block3 = stages
        self.bn = nn.BatchNorm2d(before)
        self.linear = nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.linear(F.relu(self.bn(x)).mean((2, 3)))


def wide_resnet(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    depth: Annotated[int, Field(ge=10)] = 34,
    width: Annotated[int, Field(ge=1)] = 10,
    base: Annotated[int, Field(ge=1)] = 16,
) -> nn.Module:
    """Return WRN-``depth``-``width``.

    Args:
        shape: shape of one image, (C, H, W), e.g. 8x8 to 64x64.
        num_classes: number of logits.
        depth: number of layers, 4 more than a multiple of 6: 10, 16, 22, 28, 34, 40.
        width: widening factor k.
        base: number of channels of the first convolution, 16 in the usual net; the stages have k, 2 k and 4 k times as many.

    Raises:
        ConfigError: ``depth`` is not 4 more than a multiple of 6.
    """
    if (depth - 4) % 6:
        raise ConfigError(f"wide_resnet: 'depth' got {depth}; allowed is 6 n + 4: 10, 16, 22, 28, 34, 40, ...")
    return WideResNet(require_image("wide_resnet", shape, smallest=4)[0], num_classes, (depth - 4) // 6, width, base)
