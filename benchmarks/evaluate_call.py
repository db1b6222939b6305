"""One call on one net, as each library offers it for "how robust is my model?": robust accuracy, passes, CPU seconds.

    robustscape     evaluate(model, x, y, suite="autoattack")
    pyautoattack    AutoAttack(version="standard"), the authors' own
    torchattacks    AutoAttack(version="standard")
    ART             AutoAttack with its defaults: APGD on two losses, DeepFool, Square
    foolbox         the attacks of its example of several attacks, worst case per image: it has no AutoAttack

The protocols are the libraries' own, so robust accuracies differ where an attack is weaker; the first three run the same four
attacks. A pass is one image through the net, forwards, or backwards from the logits. Each candidate runs in a process of its own,
set up as its users have it; starting it is not counted.

Run: ``python benchmarks/evaluate_call.py``; minutes for each candidate. ``--images 10`` for a look.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _measure import clocked, in_own_process, write
from _nets import CASES, Case, net_and_images
from torch import Tensor, nn

from robustscape.devices import configure_device
from robustscape.evaluation.harness.craft import correctly_classified

#: Passes of this process; not of a module, since some libraries attack a copy.
PASSES = {"forwards": 0, "backwards": 0}

Call = Callable[[Tensor, Tensor], Tensor]


class Counted(nn.Module):
    """A net that counts the images that go through it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        PASSES["forwards"] += len(x)
        logits: Tensor = self.net(x)
        if logits.requires_grad:
            logits.register_hook(lambda gradient: PASSES.__setitem__("backwards", PASSES["backwards"] + len(gradient)))
        return logits


def of_robustscape(model: nn.Module, eps: float) -> Call:
    """Ours."""
    import robustscape

    return lambda x, y: robustscape.evaluate(model, x, y, suite="autoattack", eps=eps, seed=0).x_adv


def of_pyautoattack(model: nn.Module, eps: float) -> Call:
    """The authors' own."""
    import pyautoattack

    attack = pyautoattack.AutoAttack(model, eps=eps, seed=0, version="standard")
    return lambda x, y: attack.run_standard_evaluation(x, y)[0]


def of_torchattacks(model: nn.Module, eps: float) -> Call:
    """The namesake in torchattacks."""
    import torchattacks

    return lambda x, y: torchattacks.AutoAttack(model, norm="Linf", eps=eps, version="standard", seed=0)(x, y)


def of_art(model: nn.Module, eps: float) -> Call:
    """The namesake in ART."""
    sys.modules.setdefault(
        "multiprocess", multiprocessing
    )  # it imports this package, and needs it for several processes only
    from art.attacks.evasion import AutoAttack
    from art.estimators.classification import PyTorchClassifier

    def call(x: Tensor, y: Tensor) -> Tensor:
        estimator = PyTorchClassifier(model, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, clip_values=(0.0, 1.0))
        attack = AutoAttack(estimator, norm=np.inf, eps=eps, eps_step=eps / 4, batch_size=250)
        return torch.from_numpy(attack.generate(x.numpy(), F.one_hot(y, 10).numpy()))

    return call


def of_foolbox(model: nn.Module, eps: float) -> Call:
    """The attacks of foolbox's example of several attacks; the first that breaks an image counts."""
    import foolbox

    attacks = [
        foolbox.attacks.FGSM(),
        foolbox.attacks.LinfPGD(),
        foolbox.attacks.LinfBasicIterativeAttack(),
        foolbox.attacks.LinfAdditiveUniformNoiseAttack(),
        foolbox.attacks.LinfDeepFoolAttack(),
    ]

    def call(x: Tensor, y: Tensor) -> Tensor:
        wrapped, found = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), x.clone()
        open_ones = torch.ones(len(y), dtype=torch.bool)
        for attack in attacks:
            _, clipped, success = attack(wrapped, x, y, epsilons=eps)
            found[open_ones & success] = clipped[open_ones & success]
            open_ones &= ~success
        return found

    return call


#: What each is, in words: the nearest thing that a library offers.
WHAT = {
    "robustscape": "AutoAttack",
    "pyautoattack": "AutoAttack, the authors' own",
    "torchattacks": "AutoAttack",
    "art": "its AutoAttack: APGD on two losses, DeepFool, Square",
    "foolbox": "FGSM, PGD, BIM, noise and DeepFool, worst case per image; it has no AutoAttack",
}

CALLS: dict[str, Callable[[nn.Module, float], Call]] = {
    "robustscape": of_robustscape,
    "pyautoattack": of_pyautoattack,
    "torchattacks": of_torchattacks,
    "art": of_art,
    "foolbox": of_foolbox,
}


def measure(candidate: str, case: Case, images: int, threads: int) -> dict[str, Any]:
    """The row of a candidate."""
    if candidate == "robustscape":
        configure_device(threads)
    else:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (ART draws from it)
    net, x, y = net_and_images(case, images)
    call = CALLS[candidate](Counted(net).eval(), case.eps)
    PASSES.update(forwards=0, backwards=0)
    found, wall, cpu = clocked(lambda: call(x, y))
    passes = {name: round(count / len(x), 1) for name, count in PASSES.items()}
    found = (x + (found.detach() - x).clamp(-case.eps, case.eps)).clamp(0, 1)  # libraries leave the ball by a rounding
    return {
        "candidate": candidate,
        "call": WHAT[candidate],
        "net": case.name,
        "eps": case.eps,
        "images": len(x),
        "clean_accuracy_percent": round(100 * int(correctly_classified(net, x, y).sum()) / len(x), 2),
        "robust_accuracy_percent": round(100 * int(correctly_classified(net, found, y).sum()) / len(x), 2),
        **{f"{name}_per_image": value for name, value in passes.items()},
        "cpu_seconds": round(cpu, 2),
        "seconds": round(wall, 2),
        "threads": threads,
    }


def main() -> None:
    """Measure and write, after every candidate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--net", choices=list(CASES), default="lenet")
    parser.add_argument("--only", nargs="+", choices=list(CALLS), default=list(CALLS))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "evaluate_call_cpu.json")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for candidate in options.only:
        rows.append(in_own_process(measure, candidate, CASES[options.net], options.images, options.threads))
        print(rows[-1], flush=True)
        write(options.output, rows)


if __name__ == "__main__":
    main()
