"""Does a GPU compute what the CPU does, and how fast? One script for a machine that has a GPU and no Snakemake.

It needs torch, torchvision, pandas, scipy, safetensors, pydantic, numpy, PyYAML and robustscape, in the versions of
requirements/lock.txt or others, and takes at most eight minutes. Its parts, each a row of the JSON file:

- device: name, driver, versions, and a product of two matrices in fp32 against the CPU's in double precision;
- tests: those marked ``gpu``, if pytest is installed;
- step: seconds of a PGD-7 training step on three nets in fp32, tf32 and bf16, and the share of what the device can do at most
  (``--peak-tflops``, or the table below; operations are counted, multiplications and additions of convolutions and products);
- autoattack: our suite against the authors', if pyautoattack is installed, at short budgets, in turns;
- parity: one net trained on drawn digits, with the same seed, on the device and on the CPU: accuracies of both.

A part that fails says why in its row, and the others still run; then the exit code is 1. Run: ``make gpu-check``, or
``PYTHONPATH=src python benchmarks/gpu_check.py``; ``--tiny`` for a look in a minute, on a CPU too.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from _autoattack import Candidate, our_autoattack, spec, their_autoattack
from _measure import interleaved, write
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd
from robustscape.data import Split
from robustscape.data.batches import epoch_order
from robustscape.devices import arithmetic, configure_device
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.harness.suite import SuiteResult
from robustscape.evaluation.percentages import percent_true_fp32
from robustscape.models import build_classifier
from robustscape.training.attack import TrainingAttack
from robustscape.training.closure import Closure
from robustscape.training.methods.adversarial import adversarial

ROOT = Path(__file__).parents[1]

Row = dict[str, Any]

Precision = Literal["fp32", "tf32", "bf16"]

#: Part of a device's name -> 10^12 operations a second at most, dense, in fp32, tf32 and bf16 (makers' data sheets).
PEAKS: dict[str, tuple[float, float | None, float | None]] = {
    "H200": (67, 494, 989),
    "H100 PCIe": (51, 378, 756),
    "H100": (67, 494, 989),
    "A100": (19.5, 156, 312),
    "A10G": (31.5, 35, 70),
    "A10": (31.2, 62.5, 125),
    "L40S": (91.6, 183, 362),
    "L4": (30.3, 60, 121),
    "V100": (15.7, None, None),
    "T4": (8.1, None, None),
    "RTX 4090": (82.6, 82.6, 165),
    "RTX 3090": (35.6, 35.6, 71),
}

#: Name -> architecture, parameters, shape of an image, rounds.
NETS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], int]] = {
    "LeNet": ("lenet", {}, (1, 28, 28), 20),
    "PreActResNet18": ("preactresnet18", {}, (3, 32, 32), 10),
    "WRN-28-10": ("wide_resnet", {"depth": 28, "width": 10}, (3, 32, 32), 3),
}

TINY_NETS = {
    "LeNet(2)": ("lenet", {"width": 2}, (1, 28, 28), 1),
    "PreActResNet18(2)": ("preactresnet18", {"width": 2}, (3, 32, 32), 1),
}

#: Seconds after which no other part is started.
LATEST = 360

EPS = 0.1  # of the drawn digits


# -- device ------------------------------------------------------------------------------------------------------------


def device_facts(device: torch.device, size: int) -> Row:
    """What the device is, and how far a product of two matrices of ``size`` is from the exact one, relative to its largest."""
    facts: Row = {"name": device_name(device), "driver": None, "cuda": torch.version.cuda, "torch": torch.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "driver": driver_version(),
            "capability": f"{properties.major}.{properties.minor}",
            "memory_gb": round(properties.total_memory / 1e9, 1),
            "multiprocessors": properties.multi_processor_count,
            "cudnn": torch.backends.cudnn.version(),
        }
    stream = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, generator=stream) for _ in range(2))
    exact = a.double() @ b.double()
    found = (a.to(device) @ b.to(device)).cpu()
    error = ((found - exact).abs().max() / exact.abs().max()).item()
    return facts | {"matrix_size": size, "matrix_error": error, "matrix_right": error < 1e-5}


def device_name(device: torch.device) -> str:
    """As the maker calls it; "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def driver_version() -> str | None:
    """Return the version that nvidia-smi says, None if there is none."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


# -- tests -------------------------------------------------------------------------------------------------------------


def marked_tests(device: torch.device, seconds: float = 180) -> Row:
    """Run the tests that need a GPU, in a process of their own; without pytest or a GPU a word why not."""
    missing = [name for name in ("pytest", "sklearn") if importlib.util.find_spec(name) is None]
    if device.type != "cuda" or missing:
        return {"skipped": f"not installed: {', '.join(missing)}" if missing else "no GPU"}
    files = [
        path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text(encoding="utf-8")
    ]
    # The project's options name plugins that this machine may lack.
    options = ["-o", "addopts=", "--import-mode=importlib", "-q", "-m", "gpu"]
    command = [sys.executable, "-m", "pytest", *options, *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds)
    lines = (done.stdout or done.stderr).strip().splitlines()
    return {"passed": done.returncode == 0, "exit_code": done.returncode, "last_line": lines[-1] if lines else ""}


# -- steps -------------------------------------------------------------------------------------------------------------


def training_step(
    net: tuple[str, dict[str, Any], tuple[int, ...], int], batch: int, steps: int, device: torch.device
) -> tuple[Callable[[Precision], None], int]:
    """Return a function that makes one PGD-``steps`` update in a precision, and the update's operations."""
    architecture, parameters, shape, _ = net
    torch.manual_seed(0)
    mean = [0.5] * shape[0]
    model = build_classifier(architecture, parameters, shape, 10, mean, mean).to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.rand(batch, *shape, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.randint(10, (batch,), device=device)
    index = torch.arange(batch, device=device)
    optimizer, closure = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), Closure(model)

    def update(precision: Precision) -> None:
        streams = SampleGenerator.seeded(0, index, device)
        attack = TrainingAttack(pgd, {"steps": steps, "step_size": 2 / 255}, ThreatModel("Linf", 8 / 255), streams)
        model.train()
        with arithmetic(device, precision):
            objective = adversarial(model, x, y, attack)
            model.train()
            optimizer.step(closure.begin(optimizer, objective))  # type: ignore[arg-type]

    return update, count_operations(model, x, steps)


def count_operations(model: nn.Module, x: Tensor, steps: int) -> int:
    """Multiplications and additions of a PGD-``steps`` update: 2 k + 3 times those of a forward pass."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    return (2 * steps + 3) * counter.get_total_flops()


def precisions_of(device: torch.device) -> list[Precision]:
    """What the device computes by itself: tf32 and bf16 from compute capability 8.0 on."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return ["fp32"]
    return ["fp32", "tf32", "bf16"] if device.type == "cuda" else ["fp32", "bf16"]


def peaks_of(name: str, given: list[float] | None) -> dict[str, float | None]:
    """10^12 operations a second at most, by precision; None where nobody knows."""
    known = next((peak for part, peak in PEAKS.items() if part in name), (None, None, None))
    return dict(zip(("fp32", "tf32", "bf16"), given or known, strict=True))


def step_times(
    name: str, net: tuple[str, dict[str, Any], tuple[int, ...], int], batch: int, device: torch.device, peaks: Row
) -> Row:
    """Median seconds of a PGD-7 step in each precision, and the share of the device's peak."""
    steps = 7
    update, operations = training_step(net, batch, steps, device)
    kinds = precisions_of(device)
    seconds = interleaved({kind: partial(update, kind) for kind in kinds}, rounds=net[3], device=device)
    row: Row = {"net": name, "steps": steps, "batch": batch, "rounds": net[3], "operations": operations}
    row["seconds"] = {kind: statistics.median(values) for kind, values in seconds.items()}
    row["tflops"] = {kind: operations / value / 1e12 for kind, value in row["seconds"].items()}
    row["share_of_peak"] = {
        kind: rate / peak if (peak := peaks[kind]) else None for kind, rate in row["tflops"].items()
    }
    return row


# -- digits ------------------------------------------------------------------------------------------------------------

#: The ten digits in five columns and seven rows: a number a row, its bits the columns.
FONT = np.array(
    [
        [14, 17, 19, 21, 25, 17, 14],
        [4, 12, 4, 4, 4, 4, 14],
        [14, 17, 1, 2, 4, 8, 31],
        [31, 2, 4, 2, 1, 17, 14],
        [2, 6, 10, 18, 31, 2, 2],
        [31, 16, 30, 1, 1, 17, 14],
        [6, 8, 16, 30, 17, 17, 14],
        [31, 1, 2, 4, 8, 8, 8],
        [14, 17, 17, 14, 17, 17, 14],
        [14, 17, 17, 15, 1, 2, 12],
    ]
)


def drawn_digits(count: int, seed: int) -> Split:
    """Digits of a 5 x 7 font, at random places of 12 x 12 pixels, faint or strong, in noise: on the CPU, the same everywhere."""
    stream = np.random.default_rng(seed)
    y = np.arange(count) % 10
    glyphs = (FONT[y][:, :, None] >> np.arange(4, -1, -1)) & 1
    x = stream.normal(0.0, 0.15, (count, 1, 12, 12))
    strength = stream.uniform(0.5, 1.0, count)
    top, left = stream.integers(0, 6, count), stream.integers(0, 8, count)
    for n in range(count):
        x[n, 0, top[n] : top[n] + 7, left[n] : left[n] + 5] += strength[n] * glyphs[n]
    levels = (x.clip(0, 1) * 255).round().astype(np.uint8)
    return Split(torch.from_numpy(levels), torch.from_numpy(y.astype(np.int64)), 255.0)


def on(device: torch.device, split: Split) -> Split:
    """The split on the device."""
    return Split(split.x.to(device), split.y.to(device), split.scale)


def trained_net(device: torch.device, samples: int, epochs: int) -> tuple[nn.Module, list[float]]:
    """A small convolutional net trained by PGD-3 on drawn digits, from the same weights everywhere, and the losses of its epochs.

    The steps are those of ``robustscape.training.loop``, which imports more than this script may.
    """
    split = on(device, drawn_digits(samples, 0))
    torch.manual_seed(0)
    model = build_classifier("small_cnn_bn", {"width": 8}, (1, 12, 12), 10, [0.2], [0.3]).to(device)
    optimizer, closure = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), Closure(model)
    losses: list[float] = []
    for epoch in range(epochs):
        total = torch.zeros((), device=device)
        threat = ThreatModel("Linf", EPS * (epoch + 1) / epochs)
        batches = epoch_order(samples, 0, epoch, device).split(50)
        for index in batches:
            streams = SampleGenerator.seeded(epoch, index, device)
            attack = TrainingAttack(pgd, {"steps": 3, "rel_step_size": 0.5}, threat, streams)
            model.train()
            objective = adversarial(model, split.inputs(index), split.y[index], attack)
            model.train()
            total += optimizer.step(closure.begin(optimizer, objective)).detach()  # type: ignore[arg-type, union-attr]
        losses.append(total.item() / len(batches))
    return model.eval(), losses


def parity(device: torch.device, samples: int, epochs: int) -> Row:
    """Clean and PGD-20 accuracy of the net trained on the device and on the CPU, each judged where it was trained."""
    rows: dict[str, Row] = {}
    for place in (device, torch.device("cpu")):
        model, losses = trained_net(place, samples, epochs)
        test = on(place, drawn_digits(samples, 1))
        x, y = test.first(None)
        attacked = craft(model, x, y, spec("pgd", steps=20), EPS, seed=0)
        rows["device" if place is device else "cpu"] = {
            "clean_accuracy_percent": round(percent_true_fp32(correctly_classified(model, x, y)), 2),
            "pgd_accuracy_percent": round(percent_true_fp32(correctly_classified(model, attacked, y)), 2),
            "train_losses": [round(loss, 5) for loss in losses],
        }
    differences = {
        key: abs(rows["device"][key] - rows["cpu"][key]) for key in ("clean_accuracy_percent", "pgd_accuracy_percent")
    }
    return {"samples": samples, "epochs": epochs, "eps": EPS, **rows, "differences_in_points": differences}


# -- AutoAttack --------------------------------------------------------------------------------------------------------


def against_autoattack(device: torch.device, samples: int, epochs: int, images: int, budget: dict[str, int]) -> Row:
    """Seconds and robust accuracy of our suite and the authors' on one net and the same images; None if not installed."""
    model, _ = trained_net(device, samples, epochs)
    x, y = on(device, drawn_digits(images, 2)).first(None)
    candidates: dict[str, Candidate | None] = {
        "robustscape": lambda x, y: our_autoattack(model, EPS, budget, x, y, precision="fp32"),
        "pyautoattack": None,
    }
    if importlib.util.find_spec("pyautoattack") is not None:
        candidates["pyautoattack"] = their_autoattack(model, EPS, budget, device)
    row: Row = {"images": images, "eps": EPS, "budget": budget}
    for name, candidate in candidates.items():
        row[name] = None if candidate is None else _timed_attack(candidate, model, x, y)
    both = [row[name]["seconds"] for name in ("pyautoattack", "robustscape") if row[name]]
    row["times_faster"] = both[0] / both[1] if len(both) == 2 else None
    return row


def _timed_attack(candidate: Candidate, model: nn.Module, x: Tensor, y: Tensor) -> Row:
    began = time.perf_counter()
    found = candidate(x, y)
    points = found.x_adv if isinstance(found, SuiteResult) else found.detach()
    robust = percent_true_fp32(correctly_classified(model, points, y))  # waits for the device
    return {"seconds": time.perf_counter() - began, "robust_accuracy_percent": round(robust, 2)}


# -- all of it ---------------------------------------------------------------------------------------------------------


def main() -> None:
    """Do every part, writing JSON after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tiny", action="store_true", help="tiny nets and budgets")
    parser.add_argument("--peak-tflops", type=float, nargs=3, metavar=("FP32", "TF32", "BF16"), default=None)
    parser.add_argument("--output", type=Path, default=None, help="default: benchmarks/results/gpu_check_<device>.json")
    options = parser.parse_args()
    configure_device(options.threads)
    device, tiny = torch.device(options.device), options.tiny
    name = device_name(device)
    file = f"gpu_check_{name.lower().replace(' ', '_').replace('/', '_')}.json"
    output = options.output or Path(__file__).parent / "results" / file
    peaks = peaks_of(name, options.peak_tflops)
    learned = {"samples": 100 if tiny else 2000, "epochs": 2 if tiny else 6}
    budget = {"iterations": 5, "queries": 20, "n_target_classes": 2}
    if not tiny:
        budget = {"iterations": 50, "queries": 1000, "n_target_classes": 9}
    parts: list[tuple[str, Callable[[], Row]]] = [
        ("device", partial(device_facts, device, 64 if tiny else 2048)),
        ("tests", partial(marked_tests, device)),
        ("parity", partial(parity, device, **learned)),
        ("autoattack", partial(against_autoattack, device, **learned, images=10 if tiny else 200, budget=budget)),
    ]
    for net, made in (TINY_NETS if tiny else NETS).items():
        parts.append(("step", partial(step_times, net, made, 2 if tiny else 128, device, peaks)))
    rows: list[Row] = []
    for part, measure in parts:
        rows.append({"part": part, **_measured(measure)})
        write(output, rows)
        print(rows[-1], flush=True)
    if any("failed" in row or not row.get("matrix_right", True) or not row.get("passed", True) for row in rows):
        raise SystemExit(1)


_BEGAN = time.perf_counter()


def _measured(measure: Callable[[], Row]) -> Row:
    """The part's row with its seconds; a row that says why, where it failed or there is no time left."""
    began = time.perf_counter()
    if began - _BEGAN > LATEST:
        return {"skipped": f"{LATEST} seconds were over"}
    try:
        row = measure()
    except Exception as error:  # the next part may still work, and the file says what did not
        row = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
    return row | {"part_seconds": round(time.perf_counter() - began, 2)}


if __name__ == "__main__":
    main()
