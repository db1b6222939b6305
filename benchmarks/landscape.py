"""Cost of landscapes and curvature: python benchmarks/landscape.py [--only ROW ...] [--quick] [--threads N] [--rounds N].

Ratios within one process (medians over rounds in which the variants take turns), against what the mathematics needs:

    hessian_product   a Hessian-vector product; floor: the bare double backward pass (forward, backward, backward)
    dense_hessian     all products of a small model at once; floor: one after another
    surface_point     a point of the surface; floor: its attack called bare and two forward passes for the losses;
                      "passes" counts only the k forward and input-backward passes and those two
    stacked_points    many points of logistic regression in one batch; floor: one point at a time
    stacked_weights   the same for convolutional nets: only narrow ones on few, small inputs gain
    surface_41x41     seconds of a whole adversarial surface as liu2020's figures 8 and 10 have it, in one process
    folded            forward, or forward and input gradient, with batch normalisation folded in; floor: without

Rows go to benchmarks/results/landscape_cpu.json as they are measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import curvlinops
import torch
from _measure import interleaved, ratio, write
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen, input_gradient
from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.pgd import pgd
from robustscape.config.attacks import AttackSpec
from robustscape.landscape import hessian
from robustscape.landscape import surface as surfaces
from robustscape.landscape.directions import filter_normalised, parameters_of, unflatten
from robustscape.models import build_classifier, fold_batchnorm

RESULTS = Path(__file__).parent / "results" / "landscape_cpu.json"

Case = tuple[str, dict[str, Any], tuple[int, ...], int]
Variants = dict[str, Callable[[], Any]]

LOGISTIC_8: Case = ("logistic_regression", {}, (1, 8, 8), 2)
LOGISTIC_14: Case = ("logistic_regression", {}, (1, 14, 14), 2)
LOGISTIC_28: Case = ("logistic_regression", {}, (1, 28, 28), 2)
CNN: Case = ("small_cnn", {"width": 16}, (1, 8, 8), 10)
LENET: Case = ("lenet", {"width": 4}, (1, 28, 28), 10)
LENET_8: Case = ("lenet", {"width": 16}, (1, 8, 8), 10)
RESNET_7: Case = ("resnet18", {"width": 8}, (1, 7, 7), 10)
NARROW_CNN: Case = ("small_cnn_bn", {"width": 8}, (1, 7, 7), 10)
PREACT: Case = ("preactresnet18", {"width": 16}, (1, 28, 28), 10)
RESNET: Case = ("resnet18", {"width": 16}, (3, 32, 32), 10)


def make_case(case: Case, samples: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A model of the case in eval mode, with running statistics of its inputs, and random data."""
    architecture, parameters, shape, classes = case
    torch.manual_seed(0)
    model = build_classifier(architecture, parameters, shape, classes)
    x, y = torch.rand(samples, *shape), torch.randint(0, classes, (samples,))
    with torch.no_grad():
        model(x[:64])
    return model.eval(), x, y


def hessian_product(case: Case, samples: int) -> Variants:
    model, x, y = make_case(case, samples)
    parameters, like, batch = list(model.parameters()), parameters_of(model), hessian.BATCH
    vector = torch.randn(hessian.parameter_count(model))
    pieces = tuple(unflatten(vector, like).values())

    def floor() -> Tensor:
        total = torch.zeros_like(vector)
        for part, labels in zip(x.split(batch), y.split(batch), strict=True):
            loss = cross_entropy(model(part), labels).sum() / len(x)
            first = torch.autograd.grad(loss, parameters, create_graph=True)
            total += torch.cat([g.reshape(-1) for g in torch.autograd.grad(first, parameters, pieces)])
        return total

    batches = list(zip(x.split(batch), y.split(batch), strict=True))
    theirs = curvlinops.HessianLinearOperator(
        model, nn.CrossEntropyLoss(), parameters, batches, check_deterministic=False, num_data=len(x)
    )
    kept, recomputed = hessian.fixed_operator(model, x, y), hessian.fixed_operator(model, x, y, kept_bytes=0)
    torch.testing.assert_close(kept(vector[None])[0], floor(), rtol=1e-3, atol=1e-4)
    return {
        "floor": floor,
        "ours": lambda: kept(vector[None]),
        "ours_recomputed": lambda: recomputed(vector[None]),
        "curvlinops": lambda: theirs @ vector,
    }


def dense_hessian(case: Case, samples: int) -> Variants:
    model, x, y = make_case(case, samples)
    operator, vectors = hessian.fixed_operator(model, x, y), torch.randn(64, hessian.parameter_count(model))
    return {"floor": lambda: [operator(vector[None]) for vector in vectors], "ours": lambda: operator(vectors)}


def surface_point(case: Case, samples: int, steps: int) -> Variants:
    model, x, y = make_case(case, samples)
    parameters = {"steps": steps, "rel_step_size": 0.25}
    direction, at = filter_normalised(model, 0), torch.linspace(-1, 1, 3)[:, None]
    quick, index = surfaces.frozen_copy(model), torch.arange(samples)  # same layout and batches for all
    batch = max(1, min(surfaces.BATCH, surfaces.STACKED // x[0].numel()))

    def each_batch(call: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
        with frozen(quick):
            for _ in at:
                for part, labels, numbers in zip(x.split(batch), y.split(batch), index.split(batch), strict=True):
                    call(part, labels, numbers)
                    with torch.no_grad():
                        quick(part), quick(part)  # the adversarial and the clean loss

    def attack(part: Tensor, labels: Tensor, numbers: Tensor) -> None:
        pgd(quick, part, labels, ThreatModel("Linf", 0.1), SampleGenerator.seeded(0, numbers), **parameters)

    def passes(part: Tensor, labels: Tensor, numbers: Tensor) -> None:
        for _ in range(steps):
            input_gradient(quick, part, labels, cross_entropy)

    inner = surfaces.Inner(AttackSpec(attack="pgd", parameters=parameters), 0.1)
    return {
        "floor": lambda: each_batch(attack),
        "ours": lambda: surfaces.surface(model, x, y, [direction], at, inner),
        "passes": lambda: each_batch(passes),
    }


def stacked(case: Case, samples: int, points: int, together: int) -> Variants:
    model, x, y = make_case(case, samples)
    spec = AttackSpec(attack="pgd", norm="L2", parameters={"steps": 10, "rel_step_size": 0.15})
    inner, copy = surfaces.Inner(spec, 1.0), surfaces.frozen_copy(model)
    directions, at = [filter_normalised(model, 0)], [[value] for value in torch.linspace(-1, 1, points).tolist()]
    case_at = (copy, x, y, directions, at, inner)
    return {
        "floor": lambda: list(surfaces._one_by_one(*case_at)),
        "ours": lambda: list(surfaces._stacked(*case_at, together=together)),
    }


def surface_41x41(case: Case, samples: int, steps: int) -> Variants:
    model, x, y = make_case(case, samples)
    inner = surfaces.Inner(AttackSpec(attack="pgd", parameters={"steps": steps, "rel_step_size": 0.1}), 0.1)
    ticks = torch.linspace(-1, 1, 41)
    case_at = (model, x, y, [filter_normalised(model, number) for number in range(2)])
    return {"ours": lambda: surfaces.surface(*case_at, torch.cartesian_prod(ticks, ticks), inner)}


def folded(case: Case, samples: int, gradient: bool) -> Variants:
    model, x, y = make_case(case, samples)
    nets = {"floor": surfaces.frozen_copy(model), "ours": surfaces.frozen_copy(fold_batchnorm(model))}

    def call(net: nn.Module) -> Any:
        if gradient:
            return input_gradient(net, x, y, cross_entropy)
        with torch.inference_mode():
            return net(x)

    return {name: (lambda net=net: call(net)) for name, net in nets.items()}


def case_name(case: Case) -> str:
    """The architecture with its parameters, and the shape of its inputs."""
    size = "".join(f"({value})" for value in case[1].values())
    return f"{case[0]}{size} {'x'.join(map(str, case[2]))}"


def main() -> None:
    arguments = argparse.ArgumentParser(description="Cost of landscapes and curvature.")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--quick", action="store_true", help="two rounds of the small cases, results only printed")
    arguments.add_argument("--only", nargs="+", help="rows of these names; the others stay as they are in the file")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    table: list[tuple[str, Case, int, Callable[..., Variants], dict[str, Any]]] = [
        ("hessian_product", LOGISTIC_28, 2000, hessian_product, {}),
        ("hessian_product", CNN, 512, hessian_product, {}),
        ("hessian_product", LENET, 256, hessian_product, {}),
        ("hessian_product", PREACT, 64, hessian_product, {}),
        ("hessian_product", RESNET, 64, hessian_product, {}),
        ("dense_hessian", LOGISTIC_28, 2000, dense_hessian, {}),
        ("surface_point", LOGISTIC_28, 1000, surface_point, {"steps": 40}),
        ("surface_point", CNN, 512, surface_point, {"steps": 10}),
        ("surface_point", LENET, 128, surface_point, {"steps": 10}),
        ("surface_point", PREACT, 64, surface_point, {"steps": 10}),
        ("stacked_points", LOGISTIC_8, 288, stacked, {"points": 41, "together": 14}),
        ("stacked_points", LOGISTIC_14, 288, stacked, {"points": 20, "together": 4}),
        ("stacked_points", LOGISTIC_14, 800, stacked, {"points": 20, "together": 2}),
        ("stacked_weights", CNN, 300, stacked, {"points": 8, "together": 4}),
        ("stacked_weights", PREACT, 64, stacked, {"points": 4, "together": 4}),
        ("stacked_weights", NARROW_CNN, 64, stacked, {"points": 16, "together": 8}),
        ("stacked_weights", RESNET_7, 48, stacked, {"points": 13, "together": 13}),
        ("stacked_weights", RESNET_7, 96, stacked, {"points": 12, "together": 6}),
        ("stacked_weights", LENET_8, 8, stacked, {"points": 16, "together": 16}),
        ("surface_41x41", RESNET_7, 32, surface_41x41, {"steps": 10}),
        ("surface_41x41", LENET_8, 6, surface_41x41, {"steps": 50}),
        ("folded_forward", RESNET, 128, folded, {"gradient": False}),
        ("folded_gradient", RESNET, 128, folded, {"gradient": True}),
        ("folded_forward", PREACT, 128, folded, {"gradient": False}),
        ("folded_gradient", PREACT, 128, folded, {"gradient": True}),
    ]
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))["results"] if options.only else []
    rows: list[dict[str, Any]] = [row for row in kept if row["what"] not in options.only]
    for what, case, samples, measure, settings in table:
        whole = what == "surface_41x41"
        if (options.quick and (whole or case in (PREACT, RESNET))) or (options.only and what not in options.only):
            continue
        variants = measure(case, samples, **settings)
        rounds = 1 if whole else 2 if options.quick else options.rounds
        seconds = interleaved(variants, rounds=rounds, device=torch.device("cpu"), warm_up=0 if whole else 1)
        rows.append(
            {
                "what": what,
                "model": case_name(case),
                "samples": samples,
                **settings,
                "threads": options.threads,
                "rounds": rounds,
                "fastest_seconds": {key: round(min(values), 6) for key, values in seconds.items()},
                "ratio_to_floor": {
                    key: round(ratio(seconds, key, "floor"), 3)
                    for key in seconds
                    if "floor" in seconds and key != "floor"
                },
            }
        )
        print(f"{what:16} {case_name(case):34} n={samples:<5} {list(rows[-1].values())[-2:]}", flush=True)
        if not options.quick:
            write(RESULTS, rows)


if __name__ == "__main__":
    main()
