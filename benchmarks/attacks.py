"""Attacks against the libraries they replace: the AutoAttack suite, PGD, and an eps curve.

AutoAttack is compared on the three nets of ``_nets.py``; PGD and the curve are measured on MNIST. Images are attacked in
chunks, and on every chunk all candidates take their turn, so that a slow minute of a shared machine hits all alike. Each
does so in a process of its own, set up as its users have it: ours as the ``robustscape`` command does
(``devices.configure_device``), the others with nothing but the number of threads. Starting a process is not counted. Both
the wall clock and the CPU time of the process are kept; on a busy machine the ratio of CPU times is the steadier one, and
only with one thread: threads that wait for each other burn CPU time.

Every candidate's part of a chunk is written as soon as it is done; ``--resume`` goes on after the last one. The authors'
AutoAttack takes seconds for each image that is robust to the end.

Run: ``python benchmarks/attacks.py``; ``--quick`` for a look in two minutes; ``--only autoattack --threads 2`` for the suite
against the authors', half an hour on two quiet cores. ``attack_tricks.py`` measures each trick alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _autoattack import THEIR_BATCH, Candidate, autoattack, spec
from _measure import clocked, in_own_process, write
from _nets import CASES, Case, net_and_images
from torch import Tensor, nn

from robustscape.devices import configure_device
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.harness.curve import eps_curve
from robustscape.evaluation.harness.suite import SuiteResult
from robustscape.evaluation.percentages import percent_true_fp32


def pgd_libraries(model: nn.Module, eps: float, steps: int) -> dict[str, Candidate]:
    """PGD with a random start and step eps / 10, in four libraries; none is told more than the others."""
    import foolbox
    import torchattacks
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    step = eps / 10
    theirs = torchattacks.PGD(model, eps=eps, alpha=step, steps=steps)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    fool = foolbox.attacks.LinfPGD(abs_stepsize=step, steps=steps)
    estimator = PyTorchClassifier(model, nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0.0, 1.0))
    art = ProjectedGradientDescentPyTorch(
        estimator,
        eps=eps,
        eps_step=step,
        max_iter=steps,
        num_random_init=1,
        batch_size=THEIR_BATCH,
        verbose=False,
    )
    ours = {"steps": steps, "rel_step_size": 0.1}
    return {
        "robustscape": lambda x, y: craft(model, x, y, spec("pgd", **ours, early_stopping=True), eps, seed=0),
        "robustscape, all to the end": lambda x, y: craft(model, x, y, spec("pgd", **ours), eps, seed=0),
        "robustscape, auto": lambda x, y: craft(
            model, x, y, spec("pgd", **ours, early_stopping=True), eps, seed=0, precision="auto"
        ),
        "torchattacks": lambda x, y: theirs(x, y),
        "foolbox": lambda x, y: fool(wrapped, x, y, epsilons=eps)[1],
        "art": lambda x, y: torch.from_numpy(art.generate(x.numpy(), F.one_hot(y, 10).numpy())),
    }


def compare(
    name: str,
    candidates: Callable[[nn.Module], dict[str, Candidate]],
    case: Case,
    images: int,
    threads: int,
    eps: float,
    keep: Callable[[dict[str, Any]], None],
    known: Callable[[dict[str, Any]], dict[str, Any] | None],
) -> None:
    """Every candidate on every chunk; each part is kept when it is done, and the sums of the chunks all have finished."""
    model, x, _ = net_and_images(case, images)
    keys = list(candidates(model))
    parts: list[dict[str, dict[str, Any]]] = []
    for chunk in torch.arange(len(x)).split(THEIR_BATCH):
        parts.append({})
        for key in keys:
            about = {"comparison": name, "net": case.name, "eps": eps, "candidate": key}
            about |= {"first": int(chunk[0]), "images": len(chunk)}
            row = known(about)
            if row is None:
                row = about | in_own_process(_part, candidates, key, case, images, chunk.tolist(), threads)
                keep(row)
            parts[-1][key] = row
        keep(_sums({"comparison": name, "net": case.name, "eps": eps}, parts, keys))


def _part(
    candidates: Callable[[nn.Module], dict[str, Candidate]],
    key: str,
    case: Case,
    images: int,
    chunk: list[int],
    threads: int,
) -> dict[str, Any]:
    """Time and robust samples of one candidate on one chunk; of a suite, the same of its attacks."""
    if key.startswith("robustscape"):
        configure_device(threads)
    else:
        torch.set_num_threads(threads)
    model, x, y = net_and_images(case, images)
    x, y = x[chunk], y[chunk]
    candidate = candidates(model)[key]
    found, wall, cpu = clocked(lambda: candidate(x, y))
    more: dict[str, Any] = {}
    if isinstance(found, SuiteResult):
        more = {"precision": found.precision, "attacks": {}}
        for outcome in found.outcomes:
            more["attacks"][outcome.name] = {
                "attempted": int(outcome.attempted.sum()),
                "broken": int(outcome.broken.sum()),
                "seconds": round(outcome.seconds, 2),
                "forwards": outcome.forwards,
                "backwards": outcome.backwards,
            }
        found = found.x_adv
    robust = int(correctly_classified(model, found.detach(), y).sum())
    return {"seconds": round(wall, 2), "cpu_seconds": round(cpu, 2), "robust": robust} | more


def _sums(about: dict[str, Any], parts: list[dict[str, dict[str, Any]]], keys: list[str]) -> dict[str, Any]:
    """The comparison over the chunks so far."""
    images = sum(part[keys[0]]["images"] for part in parts)
    total = {
        key: {measure: sum(part[key][measure] for part in parts) for measure in ("seconds", "cpu_seconds", "robust")}
        for key in keys
    }
    row: dict[str, Any] = about | {"images": images, "candidates": {}}
    for key, sums in total.items():
        row["candidates"][key] = {
            "seconds": round(sums["seconds"], 2),
            "cpu_seconds": round(sums["cpu_seconds"], 2),
            "robust_accuracy_percent": round(100 * sums["robust"] / images, 2),
        }
    others = [key for key in keys if not key.startswith("robustscape")]
    for clock in ("seconds", "cpu_seconds"):
        best = min(total[key][clock] for key in others)
        row[f"times_faster_than_best_other_by_{clock}"] = {
            key: round(best / total[key][clock], 2) for key in keys if key.startswith("robustscape")
        }
    return row


def measure_curve(model: nn.Module, x: Tensor, y: Tensor, eps: float, keep: Callable[[dict[str, Any]], None]) -> None:
    """Eight eps in one go, over the largest alone and over one after the other."""
    epsilons = [eps * (k + 1) / 8 for k in range(8)]
    for early in (False, True):
        attack = spec("pgd", steps=20, early_stopping=early)
        found, _, all_at_once = clocked(lambda attack=attack: eps_curve(model, x, y, attack, epsilons, seed=0))
        times, accuracies = [], []
        for budget in epsilons:
            x_adv, _, alone = clocked(lambda attack=attack, budget=budget: craft(model, x, y, attack, budget, seed=0))
            times.append(alone)
            accuracies.append(percent_true_fp32(correctly_classified(model, x_adv, y)))
        shares = found.robust_accuracy()
        keep(
            {
                "curve": "8 eps, PGD-20" + (", early stopping" if early else ""),
                "images": len(x),
                "cost_over_largest_eps_alone": round(all_at_once / times[-1], 2),
                "times_faster_than_one_after_the_other": round(sum(times) / all_at_once, 2),
                "attacks_per_sample": round(found.attacks, 2),
                "largest_difference_in_points": round(
                    max(abs(a - b) for a, b in zip(shares, accuracies, strict=True)), 2
                ),
            }
        )


def main() -> None:
    """Measure, writing JSON after every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=None, help="at most; default: the net's own number")
    parser.add_argument("--nets", nargs="+", choices=["large", "lenet", "small"], default=["large", "lenet", "small"])
    parser.add_argument("--eps", type=float, default=0.25)
    parser.add_argument("--resume", action="store_true", help="keep the parts that --output already holds")
    parser.add_argument("--quick", action="store_true", help="short budgets")
    parser.add_argument("--only", choices=["curve", "pgd", "autoattack"], default=None)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "attacks_cpu.json")
    options = parser.parse_args()
    configure_device(options.threads)
    budget = {"iterations": 100, "queries": 5000, "n_target_classes": 9}
    if options.quick:
        budget = {"iterations": 10, "queries": 100, "n_target_classes": 3}
    rows = json.loads(options.output.read_text(encoding="utf-8"))["results"] if options.output.exists() else []

    keys = ("threads", "eps", "comparison", "net", "candidate", "first", "curve")

    def same(old: dict[str, Any], new: dict[str, Any]) -> bool:
        return [old.get(key) for key in keys] == [new.get(key) for key in keys]

    def keep(row: dict[str, Any]) -> None:
        """Write the row; it replaces that of an earlier run, or of the comparison's earlier chunks."""
        nonlocal rows
        row = {"threads": options.threads, "eps": options.eps, **row}
        rows = [old for old in rows if not same(old, row)]
        rows.append(row)
        write(options.output, rows)
        print(row, flush=True)

    def known(about: dict[str, Any]) -> dict[str, Any] | None:
        """The part an earlier run left, if it may be used."""
        wanted = {"threads": options.threads, **about}
        fitting = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
        return fitting[0] if fitting and options.resume else None

    def wanted(part: str) -> bool:
        return options.only in (None, part)

    if wanted("autoattack"):
        title = "AutoAttack standard, short budgets" if options.quick else "AutoAttack standard"
        for name in options.nets:
            case = CASES[name]
            count = min(case.images, options.images or case.images)
            suites = partial(autoattack, eps=case.eps, budget=budget)
            compare(title, suites, case, count, options.threads, case.eps, keep, known)
    if options.only == "autoattack":
        return
    case, images = CASES["mnist"], options.images or 1000
    if wanted("pgd"):
        steps = 10 if options.quick else 50
        libraries = partial(pgd_libraries, eps=options.eps, steps=steps)
        compare(f"PGD-{steps}", libraries, case, images, options.threads, options.eps, keep, known)
    if wanted("curve"):
        model, x, y = net_and_images(case, 250)
        measure_curve(model, x, y, 0.3, keep)


if __name__ == "__main__":
    main()
