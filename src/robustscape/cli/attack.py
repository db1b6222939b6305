"""``robustscape attack``: a suite against any checkpoint, or any model that can be imported."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustscape.errors import ConfigError, UserError
from robustscape.numbers import parse
from robustscape.pipeline.plan import Plan

if TYPE_CHECKING:
    import torch
    from torch import nn

    from robustscape.data import Split


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--checkpoint", type=Path, help="safetensors file; a run.json beside it says what it is")
    parser.add_argument(
        "--model", metavar="MODULE:FACTORY", help="your own model: a function without arguments that returns it"
    )
    parser.add_argument("--architecture", help="entry of config/architectures.yaml, for a checkpoint without run.json")
    parser.add_argument(
        "--dataset", help="entry of config/datasets.yaml; its test split is attacked (default: the run's)"
    )
    parser.add_argument("--suite", default="autoattack", help="entry of config/suites.yaml (default: autoattack)")
    parser.add_argument("--eps", default=None, help="radius, e.g. 8/255 (default: the run's)")
    parser.add_argument("--samples", type=int, default=None, help="first samples of the test split (default: all)")
    parser.add_argument(
        "--batch-size", type=int, default=256, help="samples of a forward pass; does not change results"
    )
    parser.add_argument(
        "--precision",
        choices=["fp32", "bf16", "auto"],
        default="fp32",
        help="of the search (auto: the quickest here); whether a sample is broken is always decided in fp32",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, default=None, help="folder to resume from after an interruption")
    parser.add_argument(
        "--output", type=Path, default=None, help="JSON with RobustBench's field names (default: print)"
    )


def _factory(path: str) -> nn.Module:
    """The model that ``package.module:factory`` returns."""
    module, _, name = path.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--model got '{path}', allowed is an importable 'package.module:factory' ({error})."
        ) from None
    model: nn.Module = factory()
    return model


def _subject(
    options: argparse.Namespace, plan: Plan, device: torch.device
) -> tuple[nn.Module, Split, dict[str, Any], dict[str, Any]]:
    """The model, the test split, what is known of the run, and the data's card."""
    from robustscape.data import load as load_data
    from robustscape.evaluation.trained_run import build_model
    from robustscape.storage import checkpoints

    record: dict[str, Any] = {}
    beside = options.checkpoint.parent / "run.json" if options.checkpoint else None
    if beside is not None and beside.exists():
        record = json.loads(beside.read_text())["config"]
    dataset = options.dataset or record.get("dataset", {}).get("name")
    if dataset is None:
        raise ConfigError(
            "say which data to attack with --dataset; there is no run.json beside the checkpoint that names it."
        )
    _, test, card = load_data(plan.data(dataset), device)
    if options.model:
        model = _factory(options.model)
    elif options.architecture:
        if options.architecture not in plan.experiment.architectures:
            raise ConfigError(f"unknown architecture '{options.architecture}'; see `robustscape list architectures`.")
        entry = plan.experiment.architectures[options.architecture].model_dump(mode="json")
        model = build_model({"architecture": entry}, card)
    elif record:
        model = build_model(record, card)
    else:
        raise ConfigError(
            "say what the model is: --model, --architecture, or a checkpoint with its run.json beside it."
        )
    if options.checkpoint:
        tensors, _ = checkpoints.load(options.checkpoint, device)
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise UserError(f"{options.checkpoint} does not fit the model: {' '.join(str(error).split())}") from None
    return model.to(device).eval(), test, record, card


def _progress() -> Callable[[str, int, int], None]:
    """A bar an attack, with the time left."""
    from tqdm import tqdm

    bars: dict[str, tqdm[Any]] = {}

    def show(name: str, done: int, total: int) -> None:
        bar = bars.setdefault(name, tqdm(total=total, desc=name, unit="sample"))
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return show


def attack(options: argparse.Namespace, plan: Plan) -> None:
    """Run the suite, show progress, print or write the result."""
    from robustscape import devices
    from robustscape.evaluation.harness.suite import run_suite, to_robustbench
    from robustscape.storage import atomic

    with devices.choose(options.device or plan.experiment.scale.device) as device:
        devices.configure(options.threads or os.cpu_count() or 1)
        model, test, record, card = _subject(options, plan, device)
        try:
            eps = float(parse(options.eps) if options.eps is not None else record.get("eps", ""))
        except ValueError:
            raise ConfigError(f"--eps got {options.eps!r}, allowed is a number such as 8/255 or 0.1.") from None
        if eps <= 0:
            raise ConfigError(
                f"--eps got {eps:g}, allowed is a number above 0; the run's own is used when it is left out."
            )
        result = run_suite(
            model,
            *test.first(options.samples),
            plan.experiment.suite(options.suite),
            eps,
            seed=options.seed,
            precision=options.precision,
            batch_size=options.batch_size,
            state_dir=options.state,
            progress=_progress(),
        )
    name = record.get("recipe", {}).get("name") or options.model or str(options.checkpoint)
    architecture = options.architecture or record.get("architecture", {}).get("name") or options.model or ""
    content = to_robustbench(result, dataset=card["name"], architecture=architecture, name=name)
    print(json.dumps(content, indent=2))
    if options.output:
        atomic.write_json(options.output, content)
