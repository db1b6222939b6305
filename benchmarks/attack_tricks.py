"""The gain of each trick of the attacks alone: time without it over time with it, above 1 it pays.

Without and with it alternate, and the median of the ratios counts. The net is an adversarially trained PreActResNet18 of width 16
on MNIST. Run: ``python benchmarks/attack_tricks.py``; five minutes.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _measure import clocked, write
from _nets import CASES, net_and_images
from torch import Tensor, nn

from robustscape.attacks import fab as fab_module
from robustscape.attacks._boundary import project_on_hyperplane
from robustscape.attacks.apgd import apgd
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen_copy, input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.search import SearchModel
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.precision import bf16 as bf16_module
from robustscape.attacks.precision.bf16 import bf16
from robustscape.devices import configure_device
from robustscape.models import fold_batchnorm


def measure_tricks(model: nn.Module, x: Tensor, y: Tensor, eps: float, rounds: int) -> list[dict[str, Any]]:
    """A row per trick."""
    attacked, plain = frozen_copy(model), copy.deepcopy(model)
    unfrozen = copy.deepcopy(attacked).requires_grad_(True)  # type: ignore[union-attr]
    small, large = x[:64], x[:250]

    def forward(net: Any, images: Tensor, *, inference: bool = True) -> Callable[[], Any]:
        def run() -> None:
            with torch.inference_mode() if inference else torch.no_grad():
                net(images)

        return run

    def gradient(net: Any, images: Tensor) -> Callable[[], Any]:
        return lambda: input_gradient(net, images, y[: len(images)], cross_entropy)

    def all_gradients(images: Tensor) -> Callable[[], Any]:
        def run() -> None:
            inputs = images.clone().requires_grad_()
            cross_entropy(unfrozen(inputs), y[: len(images)]).sum().backward()

        return run

    def pieces(make: Callable[[Any, Tensor], Callable[[], Any]], net: Any, size: int) -> Callable[[], Any]:
        runs = [make(net, part) for part in large.split(size)]
        return lambda: [run() for run in runs]

    folded, half = frozen_copy(fold_batchnorm(model)), bf16(attacked)
    unfolded = _with(bf16_module, "fold_batchnorm", copy.deepcopy, bf16, attacked)
    frozen_plain = copy.deepcopy(plain).requires_grad_(False)
    threat, weak = ThreatModel("Linf", eps), ThreatModel("Linf", eps * 1.15)

    def run_apgd(early_stopping: bool) -> Callable[[], Any]:
        generator = SampleGenerator.seeded(0, 64)
        return lambda: apgd(attacked, small, y[:64], weak, generator, iterations=20, early_stopping=early_stopping)

    def run_apgd_t(batch_size: int | None) -> Callable[[], Any]:
        """``batch_size`` 9: a pass for each class; None: as many classes in a pass as fit."""
        net, few = SearchModel(attacked), large[:9]
        net.most_rows = (lambda x: batch_size) if batch_size else net.most_rows  # type: ignore[method-assign]
        budget: dict[str, Any] = {"iterations": 5, "loss": "dlr_targeted", "early_stopping": False}
        return lambda: apgd(net, few, y[:9], threat, SampleGenerator.seeded(0, 9), **budget)

    flat = large.clone()
    normal, level = torch.randn_like(flat), torch.rand(len(flat)) * 20
    from pyautoattack.fab_projections import projection_linf

    def by_sorting() -> None:
        offset = level + (normal * flat).flatten(1).sum(1)
        projection_linf(flat.flatten(1), normal.flatten(1), offset)

    fab_once = {"iterations": 3, "n_target_classes": 1}
    tricks: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        # name: (without, with)
        "input gradients only, 64 images": (all_gradients(small), gradient(attacked, small)),
        "channels last, forward, 64 images": (forward(frozen_plain, small), forward(attacked, small)),
        "channels last, gradient, 64 images": (gradient(frozen_plain, small), gradient(attacked, small)),
        "channels last, gradient, 250 images": (gradient(frozen_plain, large), gradient(attacked, large)),
        "batches of 128, not 250, forward": (pieces(forward, attacked, 250), pieces(forward, attacked, 128)),
        "batches of 128, not 250, gradient": (pieces(gradient, attacked, 250), pieces(gradient, attacked, 128)),
        "inference mode, forward": (forward(attacked, small, inference=False), forward(attacked, small)),
        "folded batch normalisation, forward": (forward(attacked, small), forward(folded, small)),
        "folded batch normalisation, gradient": (gradient(attacked, small), gradient(folded, small)),
        "bf16, forward": (forward(attacked, small), forward(half.search, small)),
        "bf16, gradient": (gradient(attacked, small), gradient(half.search, small)),
        "bf16: folded batch normalisation, forward": (forward(unfolded.search, small), forward(half.search, small)),
        "bf16: folded batch normalisation, gradient": (gradient(unfolded.search, small), gradient(half.search, small)),
        "target classes together, APGD-T, 9 images": (run_apgd_t(9), run_apgd_t(None)),
        "early stopping inside APGD-20, eps 15 % up": (run_apgd(False), run_apgd(True)),
        "hyperplane by Newton, not by sorting": (
            by_sorting,
            lambda: project_on_hyperplane(flat, normal, level, threat),
        ),
        "FAB without weight gradients": (
            lambda: _fab_with_weight_gradients(unfrozen, small, y[:64], threat, fab_once),
            lambda: fab_module.fab(attacked, small, y[:64], threat, SampleGenerator.seeded(0, 64), **fab_once),
        ),
    }
    rows: list[dict[str, Any]] = []
    for name, (without, with_it) in tricks.items():
        ratios = []
        without(), with_it()
        for _ in range(rounds):
            _, _, before = clocked(without)
            _, _, after = clocked(with_it)
            ratios.append(before / after)
        rows.append({"trick": name, "times_faster": round(float(np.median(ratios)), 2), "rounds": rounds})
        print(rows[-1], flush=True)
    return rows


def _with(module: Any, name: str, other: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of ``function`` while ``module.name`` is ``other``."""
    original = getattr(module, name)
    setattr(module, name, other)
    try:
        return function(*arguments)
    finally:
        setattr(module, name, original)


def _fab_with_weight_gradients(
    model: Any, x: Tensor, y: Tensor, threat: ThreatModel, parameters: dict[str, int]
) -> None:
    """FAB whose backward passes go to the weights too, as ``Tensor.backward`` does on a model that is not frozen."""
    original = torch.autograd.grad

    def grad(outputs: Tensor, inputs: Tensor, **_: Any) -> tuple[Tensor, ...]:
        return original(outputs, (inputs, *model.parameters()))[:1]

    _with(
        torch.autograd,
        "grad",
        grad,
        lambda: fab_module.fab(model, x, y, threat, SampleGenerator.seeded(0, len(x)), **parameters),
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "attack_tricks_cpu.json")
    options = parser.parse_args()
    configure_device(options.threads)
    case = CASES["mnist"]
    rows = measure_tricks(*net_and_images(case), case.eps, options.rounds)
    write(options.output, [{"threads": options.threads, **row} for row in rows])


if __name__ == "__main__":
    main()
