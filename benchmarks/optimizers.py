"""A step of SAM and related optimizers against the passes it must make.

The floor of a method is its number of forward and backward passes on the same batch, and one update of PyTorch's SGD: no
perturbation, no restoring of weights, no choice of samples. Run: ``python benchmarks/optimizers.py --threads 2``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _measure import interleaved, ratio, write
from torch import Tensor, nn

from robustscape.devices import configure_device
from robustscape.models import build_classifier
from robustscape.training.closure import Closure
from robustscape.training.objective import CrossEntropy
from robustscape.training.optimizers.asam import ASAM
from robustscape.training.optimizers.esam import ESAM
from robustscape.training.optimizers.gsam import GSAM
from robustscape.training.optimizers.msam import MSAM
from robustscape.training.optimizers.sam import SAM

MODELS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "ResNet18(8)": ("resnet18", {"width": 8}, (3, 32, 32)),
    "WRN-10-2": ("wide_resnet", {"depth": 10, "width": 2}, (3, 32, 32)),
}

#: name -> (constructor, forward and backward passes on the whole batch)
METHODS: dict[str, tuple[Callable[..., torch.optim.SGD], int]] = {
    "SGD": (torch.optim.SGD, 1),
    "SAM": (SAM, 2),
    "SAM, 2 steps": (lambda p, **k: SAM(p, steps=2, **k), 3),
    "SAM, 3 steps": (lambda p, **k: SAM(p, steps=3, **k), 4),
    "MSAM, 2 steps": (lambda p, **k: MSAM(p, steps=2, **k), 3),
    "ASAM": (ASAM, 2),
    "GSAM": (GSAM, 2),
}
SETTINGS = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}


def compare(name: str, batch: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """Time every method on one model."""
    architecture, parameters, shape = MODELS[name]
    x, y = torch.rand(batch, *shape, device=device), torch.randint(10, (batch,), device=device)
    x = x.contiguous(memory_format=torch.channels_last)

    def fresh() -> nn.Module:
        torch.manual_seed(0)
        model: nn.Module = build_classifier(architecture, parameters, shape, 10, [0.5] * 3, [0.5] * 3).to(device)
        return model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]

    def ours(make: Callable[..., torch.optim.SGD]) -> Callable[[], Any]:
        model = fresh()
        optimizer, closure, objective = make(model.parameters(), **SETTINGS), Closure(model), CrossEntropy(model, x, y)
        return lambda: optimizer.step(closure.begin(optimizer, objective))  # type: ignore[arg-type]

    def floor(passes: int) -> Callable[[], None]:
        model = fresh()
        optimizer = torch.optim.SGD(model.parameters(), **SETTINGS)

        def bare_passes() -> None:
            for _ in range(passes):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
            optimizer.step()

        return bare_passes

    candidates: dict[str, Callable[[], Any]] = {method: ours(make) for method, (make, _) in METHODS.items()}
    candidates["ESAM, all tensors and samples"] = ours(lambda p, **k: ESAM(p, beta=1.0, gamma=1.0, **k))
    candidates["ESAM, half of both"] = ours(lambda p, **k: ESAM(p, beta=0.5, gamma=0.5, **k))
    for passes in range(1, 5):
        candidates[f"floor {passes}"] = floor(passes)
    if theirs := _sam_of_pytorch_optimizer(fresh(), x, y):
        candidates["SAM of pytorch-optimizer"] = theirs
    seconds = interleaved(candidates, rounds=rounds, device=device, warm_up=2)
    floors = {method: passes for method, (_, passes) in METHODS.items()}
    floors |= {"ESAM, all tensors and samples": 2, "ESAM, half of both": 2, "SAM of pytorch-optimizer": 2}
    measured = {method: passes for method, passes in floors.items() if method in seconds}
    return {
        "model": name,
        "batch": batch,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "memory_format": "channels_last",
        "seconds": {key: min(values) for key, values in seconds.items()},
        "passes": measured,
        "ratio_to_floor": {m: round(ratio(seconds, m, f"floor {passes}"), 3) for m, passes in measured.items()},
        "ratio_to_sgd": {m: round(ratio(seconds, m, "SGD"), 3) for m in measured},
    }


def _sam_of_pytorch_optimizer(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None] | None:
    """A step of the peer's SAM; None if it is not installed."""
    try:
        import pytorch_optimizer
    except ImportError:
        return None
    optimizer = pytorch_optimizer.SAM(model.parameters(), torch.optim.SGD, rho=0.05, **SETTINGS)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    def their_step() -> None:
        closure()
        optimizer.step(closure)

    return their_step


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/optimizers_cpu.json"))
    options = parser.parse_args()
    configure_device(options.threads)
    results = []
    for name in MODELS:
        row = compare(name, options.batch, options.rounds, torch.device(options.device))
        print(row, flush=True)
        results.append(row)
        write(options.output, results)


if __name__ == "__main__":
    main()
