"""A PGD-k training step against the bare passes it must make, and against torchattacks' PGD in a plain loop.

The floor is k forward and input-backward passes and one forward and backward pass of the same model, on the same batch, in
the same round, with nothing between them: no projection, no random numbers, no optimizer. That is 2k + 3
forward-equivalents. Run: ``python benchmarks/training.py --threads 2``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _measure import interleaved, ratio, write
from torch import nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd
from robustscape.devices import configure_device
from robustscape.models import build_classifier
from robustscape.training.attack import TrainingAttack
from robustscape.training.closure import Closure
from robustscape.training.methods.adversarial import adversarial

MODELS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "LeNet": ("lenet", {"width": 16}, (1, 28, 28)),
    "PreActResNet18(16)": ("preactresnet18", {"width": 16}, (3, 32, 32)),
}


def compare(
    name: str, batch: int, steps: int, rounds: int, device: torch.device, channels_last: bool
) -> dict[str, Any]:
    """Time ours, the floor and torchattacks on one model."""
    architecture, parameters, shape = MODELS[name]
    torch.manual_seed(0)
    mean = [0.5] * shape[0]
    model: nn.Module = build_classifier(architecture, parameters, shape, 10, mean, mean).to(device)
    x, y = torch.rand(batch, *shape, device=device), torch.randint(10, (batch,), device=device)
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimizer, closure = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), Closure(model)
    threat = ThreatModel("Linf", 8 / 255)
    index = torch.arange(batch, device=device)

    def floor() -> None:
        with frozen(model):
            for _ in range(steps):
                point = x.detach().requires_grad_()
                torch.autograd.grad(F.cross_entropy(model(point), y), point)
        model.train()
        for parameter in model.parameters():
            parameter.grad = None
        F.cross_entropy(model(x), y).backward()

    def ours() -> None:
        generator = SampleGenerator.seeded(0, index, device)
        attack = TrainingAttack(pgd, {"steps": steps, "step_size": 2 / 255}, threat, generator)
        model.train()
        objective = adversarial(model, x, y, attack)
        model.train()
        optimizer.step(closure.begin(optimizer, objective))  # type: ignore[arg-type]

    candidates = {"floor": floor, "ours": ours}
    try:
        import torchattacks
    except ImportError:
        pass
    else:
        theirs = torchattacks.PGD(model, eps=8 / 255, alpha=2 / 255, steps=steps)

        def torchattacks_loop() -> None:
            x_adv = theirs(x, y)
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(x_adv), y).backward()
            optimizer.step()

        candidates["torchattacks in a plain loop"] = torchattacks_loop
    seconds = interleaved(candidates, rounds=rounds, device=device)
    row: dict[str, Any] = {
        "model": name,
        "steps": steps,
        "batch": batch,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "memory_format": "channels_last" if channels_last else "contiguous",
        "seconds": {key: min(values) for key, values in seconds.items()},
    }
    row |= {f"ratio_to_floor: {key}": round(ratio(seconds, key, "floor"), 3) for key in candidates if key != "floor"}
    return row


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/training_cpu.json"))
    options = parser.parse_args()
    configure_device(options.threads)
    device = torch.device(options.device)
    results = []
    for name in MODELS:
        for channels_last in (False, True):
            row = compare(name, options.batch, options.steps, options.rounds, device, channels_last)
            print(row, flush=True)
            results.append(row)
            write(options.output, results)


if __name__ == "__main__":
    main()
