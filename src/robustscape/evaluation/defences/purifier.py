"""Neural representation purifier (Naseer et al. 2020): a net that turns attacked images into clean ones, whatever the attack.

It is trained without labels on the training images. Each is attacked so that the embedding of a net moves as far as it can in the
ball (self-supervised perturbation), and the purifier learns to undo that:

    min_P mean_n  ||F(P(x'_n)) - F(x_n)||_2^2 / D  +  ||P(x'_n) - x_n||_2^2 / d

The authors' purifier is a larger net with a critic's term in its loss; the one here is four residual blocks, trained for a few
thousand updates, which is why no number of theirs stands beside one of ours. Cost of an update: 5 passes forward and backward of
the embedding net for x', one of both nets for the loss.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustscape.data import Split
from robustscape.models.embeddings import embeddings

STEPS, BATCH, CHANNELS, BLOCKS, RATE = 5, 32, 16, 4, 2e-3


class Purifier(nn.Module):
    """Images (B, C, H, W) to images of that shape in [0, 1]: x plus a correction by residual convolutions."""

    def __init__(self, image_channels: int, channels: int = CHANNELS, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.first = nn.Conv2d(image_channels, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
            )
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(channels, image_channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias if self.last.bias is not None else torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        for block in self.blocks:
            z = z + block(z)
        return (x + self.last(z)).clamp(0, 1)


def train_purifier(net: nn.Module, images: Split, eps: float, updates: int, seed: int) -> Purifier:
    """Return a purifier in eval mode, trained on ``images`` for ``updates`` batches.

    Args:
        net: whose embeddings it restores, in eval mode; it is not changed.
        images: training images; their labels are not read.
        eps: radius of the ball (Linf) in which they are attacked.
        updates: of the purifier.
        seed: of its initial weights, the batches and the attacks.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        purifier = Purifier(images.x.shape[1]).to(images.y.device)
    optimizer = torch.optim.Adam(purifier.parameters(), lr=RATE)
    for _ in range(updates):
        x = images.inputs(torch.randint(len(images), (BATCH,), generator=generator).to(images.y.device))
        with torch.no_grad():
            wanted = embeddings(net, x)
        noise = (2 * torch.rand(x.shape, generator=generator) - 1).to(x)
        attacked = _moved(net, x, wanted, eps, noise)
        restored = purifier(attacked)
        loss = (embeddings(net, restored) - wanted).square().mean() + (restored - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.zero_grad()
    return purifier.eval()


def _moved(net: nn.Module, x: Tensor, wanted: Tensor, eps: float, noise: Tensor) -> Tensor:
    """Return images in the ball around ``x`` whose embeddings are far from ``wanted``: signed steps of eps/2 from ``noise``."""
    point = (x + eps * noise).clamp(0, 1)
    for _ in range(STEPS):
        point = point.detach().requires_grad_()
        (gradient,) = torch.autograd.grad((embeddings(net, point) - wanted).square().sum(), point)
        step = point.detach() + eps / 2 * gradient.sign()
        point = torch.minimum(torch.maximum(step, x - eps), x + eps).clamp(0, 1)
    return point.detach()
