"""Vision Transformer (Dosovitskiy et al. 2021), and one whose encoder is read from a file and frozen (ma2025 table 4.5).

Patches of the image become tokens by a convolution; a class token is put before them, positions are added; blocks of attention
and of a two-layer perceptron follow, each on normalised tokens and added to them; the class token, normalised, goes through a
linear head. Modules have the names of timm's, so files of its weights fit. ViT-B/16 is the default: 85,798,656 parameters in the
encoder and 768 C + C in the head for C classes.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustscape.errors import ConfigError
from robustscape.models._shapes import require_image
from robustscape.models._weights import read_frozen_weights


class Attention(nn.Module):
    """Multi-head self-attention of tokens (B, N, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        shape = (x.shape[0], x.shape[1], 3, self.heads, -1)
        q, k, v = self.qkv(x).reshape(shape).permute(2, 0, 3, 1, 4)
        share = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
        return self.proj((share @ v).transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class EncoderBlock(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Perceptron(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbedding(nn.Module):
    """Images (B, C, H, W) to tokens (B, N, D), one a patch."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """Images to logits."""

    def __init__(
        self, channels: int, patches: int, num_classes: int, patch: int, width: int, depth: int, heads: int
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(channels, width, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, patches + 1, width))
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch_embed(x)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(tokens))[:, 0])


def vit(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    patch: Annotated[int, Field(ge=1)] = 16,
    width: Annotated[int, Field(ge=1)] = 768,
    depth: Annotated[int, Field(ge=1)] = 12,
    heads: Annotated[int, Field(ge=1)] = 12,
    weights: str | None = None,
    sha256: str | None = None,
) -> nn.Module:
    """Return a vision transformer; with ``weights`` its encoder has those, and only the head is trained.

    Args:
        shape: shape of one image, (C, H, W).
        num_classes: number of logits.
        patch: side of a patch in pixels; it divides both sides of the image.
        width: length of a token, a multiple of ``heads``.
        depth: number of blocks.
        heads: of each attention.
        weights: file of the encoder's weights, safetensors with timm's names, seen from the project's folder; a head in it is
            left out. None: the whole net is trained.
        sha256: SHA-256 of that file, which stands for its content in what results are made from.

    Raises:
        ConfigError: sizes do not fit, or ``weights`` is given without ``sha256``.
        MissingData: the file is not there.
        CorruptFile: it has another SHA-256, or other weights than this encoder.
    """
    channels, height, columns = require_image("vit", shape, smallest=patch)
    if height % patch or columns % patch or width % heads:
        raise ConfigError(
            f"the architecture 'vit' needs a patch that divides {height}x{columns} pixels and a width that is a multiple of "
            f"heads; got patch {patch}, width {width} and heads {heads}."
        )
    patches = (height // patch) * (columns // patch)
    net = VisionTransformer(channels, patches, num_classes, patch, width, depth, heads)
    if weights is not None:
        read_frozen_weights(net, weights, sha256, "vit", trained="head.")
    return net
