"""A training step of each adversarial-training method of kim2023 against the bare passes it must do.

The floor of a method is the forward and backward passes that its docstring states, on batches of the same size, in the same
round, with nothing between them: no projection, no random numbers, no loss but the cross-entropy, no optimizer. In each round
a short step is repeated for about a tenth of a second, so that brief interruptions of the machine matter little. Run:
``python benchmarks/methods.py --threads 2``.
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

from robustscape import catalog
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen
from robustscape.attacks.base.threat import ThreatModel
from robustscape.devices import configure_device
from robustscape.models import build_classifier
from robustscape.training.attack import TrainingAttack
from robustscape.training.closure import Closure

FAST_AT = ("fgsm", {"random_start": True, "rel_step_size": 1.25})
PGD10 = ("pgd", {"steps": 10})
KL10 = ("kl_pgd", {"steps": 10})

#: name -> method, its parameters, attack, and its passes: input gradients, plain forwards, training passes (of so many
#: batches at once), input gradients that are differentiated.
CASES: dict[str, tuple[str, dict[str, Any], tuple[str, dict[str, Any]], tuple[int, int, list[int], int]]] = {
    "FGSM AT": ("adversarial", {}, ("fgsm", {}), (1, 0, [1], 0)),
    "fast AT": ("adversarial", {}, FAST_AT, (1, 0, [1], 0)),
    "checkpoints, c = 2": ("single_step_checkpoints", {"checkpoints": 2}, FAST_AT, (1, 1, [1], 0)),
    "checkpoints, c = 3": ("single_step_checkpoints", {"checkpoints": 3}, FAST_AT, (1, 2, [1], 0)),
    "checkpoints, c = 4": ("single_step_checkpoints", {"checkpoints": 4}, FAST_AT, (1, 3, [1], 0)),
    "PGD-2 AT": ("adversarial", {}, ("pgd", {"steps": 2}), (2, 0, [1], 0)),
    "GradAlign": ("gradalign", {"beta": 0.2}, ("fgsm", {}), (1, 0, [1], 2)),
    "PGD-10 AT": ("adversarial", {}, PGD10, (10, 0, [1], 0)),
    "TRADES, PGD-10": ("trades", {"beta": 5.0}, KL10, (10, 1, [1, 1], 0)),
    "MART, PGD-10": ("mart", {"beta": 5.0}, PGD10, (10, 0, [1, 1], 0)),
    "BAT, m = 1, PGD-10": ("bat", {"beta": 5.0, "bridges": 1}, PGD10, (10, 0, [2], 0)),
    "BAT, m = 2, PGD-10": ("bat", {"beta": 5.0, "bridges": 2}, PGD10, (10, 0, [3], 0)),
}

#: About the seconds that a candidate takes in a round.
TURN = 0.1

MODELS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "PreActResNet18(16)": ("preactresnet18", {"width": 16}, (3, 32, 32)),
    "small_cnn_bn(16)": ("small_cnn_bn", {"width": 16}, (1, 14, 14)),
}


def bare_passes(model: nn.Module, x: Tensor, y: Tensor, passes: tuple[int, int, list[int], int]) -> None:
    """Make the passes and nothing else; losses that are differentiated together are added, as in training."""
    gradients, forwards, trained, aligned = passes
    with frozen(model):
        for _ in range(gradients):
            point = x.detach().requires_grad_()
            torch.autograd.grad(F.cross_entropy(model(point), y), point)
        if forwards:
            with torch.inference_mode():
                model(torch.cat([x] * forwards) if forwards > 1 else x)
    model.train()
    for parameter in model.parameters():
        parameter.grad = None
    loss = x.new_zeros(())
    for size in trained:
        loss = loss + F.cross_entropy(model(torch.cat([x] * size)), y.repeat(size))
    for _ in range(aligned):
        point = x.detach().requires_grad_()
        inner = F.cross_entropy(model(point), y, reduction="sum")
        loss = loss + torch.autograd.grad(inner, point, create_graph=True)[0].square().sum()
    loss.backward()


def training_step(name: str, model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """Return a function that makes one update by the method, as the training loop does."""
    method, parameters, (attack, settings), _ = CASES[name]
    function, made = catalog.load_function("method", method), catalog.load_function("attack", attack)
    optimizer, closure = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), Closure(model)
    index = torch.arange(len(y), device=x.device)
    model.train()

    def update() -> None:
        bound = TrainingAttack(made, settings, ThreatModel("Linf", 8 / 255), SampleGenerator.seeded(0, index, x.device))
        objective = function(model, x, y, bound, **parameters)
        model.train()
        optimizer.step(closure.begin(optimizer, objective))

    return update


def repeated(call: Callable[[], Any], repeats: int) -> Callable[[], None]:
    """Return a function that makes ``repeats`` calls."""

    def calls() -> None:
        for _ in range(repeats):
            call()

    return calls


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/methods_cpu.json"))
    options = parser.parse_args()
    configure_device(options.threads)
    device = torch.device(options.device)
    results = []
    for model_name in options.models:
        architecture, parameters, shape = MODELS[model_name]
        for name in CASES:
            torch.manual_seed(0)
            mean = [0.5] * shape[0]
            model = build_classifier(architecture, parameters, shape, 10, mean, mean).to(device)
            x = torch.rand(options.batch, *shape, device=device)
            y = torch.randint(10, (options.batch,), device=device)
            ours, passes = training_step(name, model, x, y), CASES[name][3]
            candidates = {"floor": lambda m=model, a=x, b=y, p=passes: bare_passes(m, a, b, p), "ours": ours}
            once = interleaved({"floor": candidates["floor"]}, rounds=1, device=device)["floor"][0]
            repeats = max(1, round(TURN / once))
            turns = {key: repeated(call, repeats) for key, call in candidates.items()}
            seconds = interleaved(turns, rounds=options.rounds, device=device)
            row = {
                "model": model_name,
                "method": name,
                "input_gradients": passes[0],
                "forwards": passes[1],
                "training_passes": sum(passes[2]),
                "differentiated_input_gradients": passes[3],
                "batch": options.batch,
                "rounds": options.rounds,
                "repeats": repeats,
                "threads": torch.get_num_threads(),
                "seconds": {key: min(values) / repeats for key, values in seconds.items()},
                "ratio_to_floor": round(ratio(seconds, "ours", "floor"), 3),
            }
            print(model_name, name, row["ratio_to_floor"], row["seconds"], flush=True)
            results.append(row)
            write(options.output, results)


if __name__ == "__main__":
    main()
