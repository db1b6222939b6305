"""PGD-40 on logistic regression, batches of 128 MNIST-sized inputs: what its passes cost, and whether runs should be stacked.

CPU time of an attack, in turns, median of the ratios: the same iteration written plainly (autograd, projection in as many passes
as its formula has); ours; and R attacks on R sets of weights as one of R x 128 samples, whose forward is ``vmap`` of
``functional_call`` over stacked weights, or one matrix-vector product per set (a bound: no dispatch could be cheaper).
Run: ``python benchmarks/small_nets.py``; two minutes.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _measure import clocked, write
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, frozen, input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd
from robustscape.devices import configure_device
from robustscape.models import build_classifier

BATCH, SHAPE, STEPS = 128, (1, 28, 28), 40

#: Norm -> threat model and parameters of the attack: yamada2021's, at an eps at which every step counts.
ATTACKS: dict[str, tuple[ThreatModel, dict[str, Any]]] = {
    "L2": (ThreatModel("L2", 1.0), {"steps": STEPS, "rel_step_size": 0.15}),
    "Linf": (ThreatModel("Linf", 0.3), {"steps": STEPS, "step_size": 0.01}),
    "Linf, small eps": (ThreatModel("Linf", 8 / 255), {"steps": STEPS, "step_size": 0.01}),
}


def plain_pgd(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, step: float) -> Tensor:
    """PGD as its formula reads."""
    point = threat.random_point(x, SampleGenerator.seeded(0, len(x)))
    for _ in range(STEPS):
        gradient = input_gradient(model, point, y, cross_entropy)[2]
        point = threat.project(point + step * threat.ascent(gradient), x)
    return point


def our_pgd(name: str, model: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """The attack ``name`` of ``ATTACKS``."""
    threat, parameters = ATTACKS[name]
    return pgd(model, x, y, threat, SampleGenerator.seeded(0, len(x)), **parameters)


class OneByOne(nn.Module):
    """R logistic regressions, each on its own samples of a batch: a matrix-vector product for each, all else together."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.flatten(1).chunk(len(self.weights))
        logits = torch.cat([part @ weight for part, weight in zip(parts, self.weights, strict=True)])
        return nn.functional.pad(logits[:, None], (1, 0))


def measure(runs: int, rounds: int) -> list[dict[str, Any]]:
    """A row per attack and way, CPU time relative to one of ours per set of weights."""
    torch.manual_seed(0)
    nets = [build_classifier("logistic_regression", {"init_std": 0.1}, SHAPE, 2).eval() for _ in range(runs)]
    parameters, buffers = stack_module_state(nets)
    net = torch.vmap(lambda weights, inputs: functional_call(nets[0], (weights, buffers), (inputs,)))

    def stacked(inputs: Tensor) -> Tensor:
        weights = {key: value.detach() for key, value in parameters.items()}
        logits: Tensor = net(weights, inputs.unflatten(0, (runs, -1)))
        return logits.flatten(0, 1)

    bound = OneByOne(parameters["net.linear.weight"].detach()[:, 0]).eval()
    x, y = torch.rand(runs * BATCH, *SHAPE), torch.arange(runs * BATCH) % 2
    rows = []
    for name, (threat, parameters_of_attack) in ATTACKS.items():
        step = parameters_of_attack.get("step_size", 0.15 * float(threat.eps))
        ways: dict[str, tuple[Callable[[], Any], int]] = {
            "ours, one set of weights": (partial(our_pgd, name, nets[0], x[:BATCH], y[:BATCH]), 1),
            "as the formula reads": (partial(plain_pgd, nets[0], x[:BATCH], y[:BATCH], threat, step), 1),
            "stacked by vmap": (partial(our_pgd, name, stacked, x, y), runs),
            "stacked, a product for each": (partial(our_pgd, name, bound, x, y), runs),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        with frozen(nets[0]):
            for number in range(rounds + 1):
                for way, (call, sets) in ways.items():
                    taken = clocked(call)[2] / sets
                    if number:  # the first warms up
                        seconds[way].append(taken)
        reference = next(iter(seconds.values()))
        for way, times in seconds.items():
            ratio = statistics.median(a / b for a, b in zip(times, reference, strict=True))
            rows.append(
                {
                    "attack": name,
                    "way": way,
                    "sets_of_weights": ways[way][1],
                    "microseconds_per_step_and_set": round(1e6 * min(times) / STEPS),
                    "times_ours": round(ratio, 2),
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure and write ``results/small_nets_cpu.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="sets of weights in a stack")
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    configure_device(1)
    write(Path(__file__).parent / "results" / "small_nets_cpu.json", measure(options.runs, options.rounds))


if __name__ == "__main__":
    main()
