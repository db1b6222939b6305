"""``robustscape attack``: a suite of attacks against any checkpoint, or any model that can be imported."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustscape.cli.options import job_device, make_plan, positive_integer, sentence_case
from robustscape.errors import ConfigError, CorruptFile, UserError, unknown_name
from robustscape.numbers import parse_number
from robustscape.pipeline.plan import Plan
from robustscape.storage.records import read_record

if TYPE_CHECKING:
    import torch
    from torch import nn

    from robustscape.data import Split

_EPILOG = """\
examples:
  robustscape attack --checkpoint results/small/models/<run>/model.safetensors --eps 8/255
  robustscape attack --model mypackage:mymodel --dataset digits --suite white-box --eps 0.1"""


def add_attack_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "attack a checkpoint, or a model of your own, with a suite of attacks"
    command = commands.add_parser(
        "attack",
        help=text,
        description=f"{sentence_case(text)}; print robust accuracy and costs as JSON.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_options(command)
    add_protocol_options(command)
    command.set_defaults(execute=attack_command)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is attacked."""
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="weights as safetensors; a run.json beside it says what they are",
    )
    parser.add_argument(
        "--model", metavar="MODULE:FACTORY", help="your own model: a function without arguments that returns it"
    )
    parser.add_argument(
        "--architecture", metavar="NAME", help="entry of config/architectures.yaml, for a checkpoint without run.json"
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="entry of config/datasets.yaml, prepared; its test split is attacked (default: the data set of the run)",
    )
    parser.add_argument(
        "--samples", type=positive_integer, metavar="N", help="first samples of the test split (default: all)"
    )


def add_protocol_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how it is attacked, and where the result goes."""
    parser.add_argument(
        "--suite", metavar="NAME", default="autoattack", help="entry of config/suites.yaml (default: %(default)s)"
    )
    parser.add_argument("--eps", help="perturbation budget, such as 8/255 (default: that of the run)")
    parser.add_argument(
        "--batch-size",
        type=positive_integer,
        metavar="N",
        help="samples per pass; does not change results (default: what suits the device)",
    )
    parser.add_argument(
        "--precision",
        choices=["fp32", "bf16", "auto"],
        default="fp32",
        help="precision of the search, auto: the fastest here; fp32 decides whether a sample is broken (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", default=0, help="seed of the attacks' random numbers (default: %(default)s)"
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="folder from which an interrupted evaluation goes on (default: none)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="also write the JSON, with RobustBench's field names (default: no)"
    )


def _import_model(path: str) -> nn.Module:
    """Return the model that ``package.module:factory`` makes.

    Raises:
        ConfigError: it cannot be imported.
    """
    module, _, name = path.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--model got '{path}', allowed is an importable 'package.module:factory' ({error})."
        ) from None
    model: nn.Module = factory()
    return model


def _run_config(checkpoint: Path | None) -> dict[str, Any]:
    """Return the configuration of the run that a checkpoint belongs to; empty without a run.json beside it.

    Raises:
        CorruptFile: the run.json is damaged.
    """
    path = checkpoint.parent / "run.json" if checkpoint else None
    if path is None or not path.exists():
        return {}
    config: dict[str, Any] = read_record(path).get("config", {})
    if not config:
        raise CorruptFile(f"'{path}' is not the record of a run; train the run again, or move the file away.")
    return config


def _make_model(
    options: argparse.Namespace, plan: Plan, run_config: dict[str, Any], card: dict[str, Any], device: torch.device
) -> nn.Module:
    """Return the model that is attacked, in eval mode on ``device``.

    Raises:
        ConfigError: the options do not say which model.
        UserError: the checkpoint belongs to another one.
    """
    from robustscape.evaluation.trained_run import build_model
    from robustscape.storage import checkpoints

    if options.model:
        model = _import_model(options.model)
    elif options.architecture:
        architectures = plan.experiment.architectures
        if options.architecture not in architectures:
            raise unknown_name("architecture of config/architectures.yaml", options.architecture, architectures)
        entry = architectures[options.architecture].model_dump(mode="json")
        model = build_model({"architecture": entry}, card)
    elif run_config:
        model = build_model(run_config, card)
    else:
        raise ConfigError(
            "say what the model is: --model, --architecture, or a --checkpoint with its run.json beside it."
        )
    if options.checkpoint:
        tensors, _ = checkpoints.load_checkpoint(options.checkpoint, device)
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise UserError(f"{options.checkpoint} does not fit the model: {' '.join(str(error).split())}") from None
    return model.to(device).eval()


def _load_test_split(
    options: argparse.Namespace, plan: Plan, run_config: dict[str, Any], device: torch.device
) -> tuple[Split, dict[str, Any]]:
    """Return the test split that is attacked, and the data set's card.

    Raises:
        ConfigError: nothing says which data set.
    """
    from robustscape.data import load_dataset

    name = options.dataset or run_config.get("dataset", {}).get("name")
    if name is None:
        raise ConfigError(
            "say which data set to attack with --dataset; there is no run.json beside the checkpoint that names it."
        )
    _, test, card = load_dataset(plan.data_folder(name), device)
    return test, card


def _read_eps(options: argparse.Namespace, run_config: dict[str, Any]) -> float:
    """Return the perturbation budget.

    Raises:
        ConfigError: it is missing, not a number, or not above 0.
    """
    given = options.eps if options.eps is not None else run_config.get("eps")
    if given is None:
        raise ConfigError("say the perturbation budget with --eps, such as 8/255; there is no run that has one.")
    try:
        eps = float(parse_number(given))
    except ValueError:
        raise ConfigError(f"--eps got {given!r}, allowed is a number such as 8/255 or 0.1.") from None
    if eps <= 0:
        raise ConfigError(f"--eps got {eps:g}, allowed is a number above 0; without --eps it is that of the run.")
    return eps


def _progress_bars() -> Callable[[str, int, int], None]:
    """Return a callback (attack, samples done, samples in all) that shows a bar per attack, with the time left."""
    from tqdm import tqdm

    bars: dict[str, tqdm[Any]] = {}

    def show(name: str, done: int, total: int) -> None:
        bar = bars.setdefault(name, tqdm(total=total, desc=name, unit="sample"))
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return show


def attack_command(options: argparse.Namespace) -> None:
    """Run the suite, show its progress, print the result and write it where ``--output`` says."""
    from robustscape.evaluation.harness.suite import run_suite, to_robustbench
    from robustscape.storage import atomic

    plan = make_plan(options)
    run_config = _run_config(options.checkpoint)
    with job_device(options, plan) as device:
        test, card = _load_test_split(options, plan, run_config, device)
        model = _make_model(options, plan, run_config, card, device)
        result = run_suite(
            model,
            *test.first(options.samples),
            plan.experiment.suite(options.suite),
            _read_eps(options, run_config),
            seed=options.seed,
            precision=options.precision,
            batch_size=options.batch_size,
            state_dir=options.state,
            progress=_progress_bars(),
        )
    name = run_config.get("recipe", {}).get("name") or options.model or str(options.checkpoint)
    architecture = options.architecture or run_config.get("architecture", {}).get("name") or options.model or ""
    content = to_robustbench(result, dataset=card["name"], architecture=architecture, name=name)
    print(json.dumps(content, indent=2))
    if options.output:
        atomic.write_json(options.output, content)
