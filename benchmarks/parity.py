"""Robust accuracy of every attack that other libraries have too, beside theirs: same weights, images, budget.

The model is the adversarially trained PreActResNet18(16) of ``attacks.py``, the images are the 1,000 test images of the project's
Fashion-MNIST subset. Budgets are short, so that a weaker step shows: with long ones all attacks end at the same number.
Random starts and searches draw other numbers in every library, which moves a result by two or three images. TI-FGSM has a
namesake in torchattacks for colour images only.

Run: ``python benchmarks/parity.py``; half an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import foolbox
import numpy as np
import torch
import torch.nn.functional as F
import torchattacks
from _autoattack import spec
from _measure import write
from _nets import CASES, net_and_images
from art.attacks import evasion as art
from art.estimators.classification import PyTorchClassifier
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from robustscape.devices import configure_device
from robustscape.evaluation.harness.craft import correctly_classified, craft

STEPS, TARGETS, QUERIES = 10, 3, 300
BATCH = 250

Norm = Literal["Linf", "L2"]
Library = Callable[[Tensor, Tensor], Tensor]

EPS: dict[Norm, float] = {"Linf": CASES["large"].eps, "L2": 1.0}


@dataclass
class Pair:
    """One of our attacks and its namesakes."""

    name: str
    attack: str
    norm: Norm
    parameters: dict[str, Any]
    theirs: dict[str, Library] = field(default_factory=dict)


def pairs(model: nn.Module) -> Iterator[Pair]:
    """Every attack that has a namesake, with the same hyper-parameters."""
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    estimator = PyTorchClassifier(model, nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0.0, 1.0))

    def of_foolbox(attack: Any, eps: float) -> Library:
        return lambda x, y: attack(wrapped, x, y, epsilons=eps)[1]

    def of_art(attack: Any) -> Library:
        return lambda x, y: torch.from_numpy(attack.generate(x.numpy(), F.one_hot(y, 10).numpy()))

    for norm, eps in EPS.items():
        order = np.inf if norm == "Linf" else 2
        step, shared = 0.25 * eps, {"norm": order, "eps": eps, "batch_size": BATCH}
        yield Pair(
            "FGSM" if norm == "Linf" else "FGM",
            "fgsm",
            norm,
            {},
            {
                "foolbox": of_foolbox(
                    foolbox.attacks.LinfFastGradientAttack()
                    if norm == "Linf"
                    else foolbox.attacks.L2FastGradientAttack(),
                    eps,
                ),
                "ART": of_art(art.FastGradientMethod(estimator, **shared)),
            }
            | ({"torchattacks": torchattacks.FGSM(model, eps)} if norm == "Linf" else {}),
        )
        library = foolbox.attacks.LinfPGD if norm == "Linf" else foolbox.attacks.L2PGD
        projected = art.ProjectedGradientDescentPyTorch(
            estimator, **shared, eps_step=step, max_iter=STEPS, num_random_init=1, verbose=False
        )
        yield Pair(
            "PGD",
            "pgd",
            norm,
            {"steps": STEPS, "rel_step_size": 0.25},
            {
                "torchattacks": torchattacks.PGD(model, eps, step, STEPS)
                if norm == "Linf"
                else torchattacks.PGDL2(model, eps, step, STEPS),
                "foolbox": of_foolbox(library(abs_stepsize=step, steps=STEPS), eps),
                "ART": of_art(projected),
            },
        )
        for name, loss, their_loss in (("APGD-CE", "cross_entropy", "ce"), ("APGD-DLR", "dlr", "dlr")):
            authors = APGDAttack(model, n_iter=2 * STEPS, norm=norm, eps=eps, loss=their_loss, seed=0, device="cpu")
            yield Pair(
                name,
                "apgd",
                norm,
                {"loss": loss, "iterations": 2 * STEPS},
                {
                    "pyautoattack": authors.perturb,
                    "torchattacks": torchattacks.APGD(model, norm, eps, steps=2 * STEPS, loss=their_loss),
                },
            )
        targeted = APGDAttack_targeted(
            model, n_iter=2 * STEPS, norm=norm, eps=eps, seed=0, device="cpu", n_target_classes=TARGETS
        )
        yield Pair(
            "APGD-T",
            "apgd",
            norm,
            {"loss": "dlr_targeted", "iterations": 2 * STEPS, "n_target_classes": TARGETS},
            {
                "pyautoattack": targeted.perturb,
                "torchattacks": torchattacks.APGDT(model, norm, eps, steps=2 * STEPS, n_classes=TARGETS + 1),
            },
        )
        boundary = FABAttack_PT(
            model,
            norm=norm,
            n_restarts=1,
            n_iter=2 * STEPS,
            eps=eps,
            seed=0,
            targeted=True,
            device="cpu",
            n_target_classes=TARGETS,
        )
        yield Pair(
            "FAB-T",
            "fab",
            norm,
            {"iterations": 2 * STEPS, "n_target_classes": TARGETS},
            {
                "pyautoattack": boundary.perturb,
                "torchattacks": torchattacks.FAB(
                    model, norm, eps, steps=2 * STEPS, multi_targeted=True, n_classes=TARGETS + 1
                ),
            },
        )
        yield Pair(
            "Square",
            "square",
            norm,
            {"queries": QUERIES},
            {
                "pyautoattack": SquareAttack(
                    model, norm=norm, n_queries=QUERIES, eps=eps, seed=0, resc_schedule=True, device="cpu"
                ).perturb,
                "torchattacks": torchattacks.Square(model, norm, eps, n_queries=QUERIES),
            },
        )

    eps = EPS["Linf"]
    step, budget = 0.25 * eps, {"steps": STEPS, "rel_step_size": 0.25}
    steps_of_art = {"eps": eps, "eps_step": step, "max_iter": STEPS, "batch_size": BATCH, "verbose": False}
    momentum = art.MomentumIterativeMethod(estimator, decay=1.0, **steps_of_art)
    yield Pair(
        "BIM",
        "bim",
        "Linf",
        budget,
        {
            "torchattacks": torchattacks.BIM(model, eps, step, STEPS),
            "ART": of_art(art.BasicIterativeMethod(estimator, **steps_of_art)),
        },
    )
    namesakes: dict[str, tuple[str, Library, dict[str, Library]]] = {
        "MI-FGSM": ("mi_fgsm", torchattacks.MIFGSM(model, eps, step, STEPS), {"ART": of_art(momentum)}),
        "NI-FGSM": ("ni_fgsm", torchattacks.NIFGSM(model, eps, step, STEPS), {}),
        "SI-NI-FGSM": ("si_ni_fgsm", torchattacks.SINIFGSM(model, eps, step, STEPS), {}),
        "VMI-FGSM": ("vmi_fgsm", torchattacks.VMIFGSM(model, eps, step, STEPS), {}),
        "VNI-FGSM": ("vni_fgsm", torchattacks.VNIFGSM(model, eps, step, STEPS), {}),
        "DI-FGSM": ("di_fgsm", torchattacks.DIFGSM(model, eps, step, STEPS), {}),
    }
    for name, (attack, library, others) in namesakes.items():
        yield Pair(name, attack, "Linf", budget, {"torchattacks": library, **others})


def robust_accuracy(model: nn.Module, x: Tensor, y: Tensor, attack: Library, norm: Norm) -> float:
    """Percent, of inputs that are in the ball and in the range, or are made so: libraries leave them by a rounding."""
    robust = 0
    for images, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 (ART and pyautoattack draw from it)
        found = attack(images, labels).detach()
        offset, eps = (found - images).flatten(1), EPS[norm]
        length = offset.norm(dim=1) if norm == "L2" else offset.abs().amax(1)
        if length.max() > eps * (1 + 1e-4) or found.min() < -1e-6 or found.max() > 1 + 1e-6:
            offset = offset * (eps / length).clamp(max=1)[:, None]
            found = (images + offset.view_as(images)).clamp(0, 1)
        robust += int(correctly_classified(model, found, labels).sum())
    return round(100 * robust / len(x), 2)


def main() -> None:
    """Attack with everything, writing JSON after every attack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--resume", action="store_true", help="keep the rows that --output already holds")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "parity_cpu.json")
    options = parser.parse_args()
    configure_device(options.threads)
    model, x, y = net_and_images(CASES["large"], options.images)
    rows: list[dict[str, Any]] = (
        json.loads(options.output.read_text(encoding="utf-8"))["results"] if options.resume else []
    )
    known = {(row["attack"], row["norm"]) for row in rows}
    for pair in sorted(pairs(model), key=lambda pair: pair.attack in ("fab", "square")):  # the longest last
        if (pair.name, pair.norm) in known:
            continue
        chosen, eps = spec(pair.attack, **pair.parameters).model_copy(update={"norm": pair.norm}), EPS[pair.norm]

        def ours(images: Tensor, labels: Tensor, chosen: Any = chosen, eps: float = eps) -> Tensor:
            return craft(model, images, labels, chosen, eps, seed=0)

        found = robust_accuracy(model, x, y, ours, pair.norm)
        theirs = {name: robust_accuracy(model, x, y, attack, pair.norm) for name, attack in pair.theirs.items()}
        rows.append(
            {
                "attack": pair.name,
                "norm": pair.norm,
                "eps": eps,
                "parameters": pair.parameters,
                "images": len(x),
                "robust_accuracy_percent": {"robustscape": found, **theirs},
                "points_above_the_best_other": round(found - min(theirs.values()), 2),
            }
        )
        write(options.output, rows)
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
