"""Shared by the commands: the global options, the plan they ask for, the device of a job."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robustscape import catalog
from robustscape.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from robustscape.config.main import Main
    from robustscape.pipeline.plan import Plan


def add_global_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has; they stand before the command."""
    parser.add_argument("--config", metavar="FOLDER", default="config", help="configuration (default: %(default)s)")
    parser.add_argument(
        "--scale",
        help="size of the experiment: smoke, small, tenth, rehearsal or paper (default: that of config.yaml)",
    )
    parser.add_argument(
        "--seeds",
        type=positive_integer,
        metavar="N",
        help="at most N seeds of every run (default: that of config.yaml)",
    )
    parser.add_argument("--results", metavar="FOLDER", help="where results are (default: that of config.yaml)")
    parser.add_argument("--downloads", metavar="FOLDER", help="where full data sets are (default: that of config.yaml)")
    parser.add_argument("--plugins", metavar="FOLDER", help="functions of your own (default: that of config.yaml)")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: that of the scale)")
    parser.add_argument("--threads", type=positive_integer, metavar="N", help="CPU threads (default: one per core)")


def positive_integer(text: str) -> int:
    """Return an option's value as an integer; argparse makes a sentence of the error.

    Raises:
        ArgumentTypeError: it is not an integer above 0.
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"got '{text}', allowed is an integer of at least 1")
    return value


def read_main(options: argparse.Namespace) -> Main:
    """Return the content of the configuration's ``config.yaml``.

    Raises:
        ConfigError: there is none, with what to do; or it is wrong.
    """
    from robustscape.config.base import read_model
    from robustscape.config.main import Main

    path = Path(options.config) / "config.yaml"
    if not path.is_file():
        inside = path.parent / "config"
        hint = f" Did you mean --config {inside}?" if (inside / "config.yaml").is_file() else ""
        raise ConfigError(
            f"{path}: there is no such configuration file. Run the command in the folder of a project, or name the project's "
            f"folder config/: robustscape --config FOLDER ...{hint}"
        )
    return read_model(Main, path)


def find_plugins(options: argparse.Namespace) -> None:
    """Add to the catalogue the functions in the folder that ``--plugins``, or else the project's ``config.yaml``, names."""
    folder = options.plugins
    if folder is None and (Path(options.config) / "suites.yaml").is_file():  # else this is no project
        folder = read_main(options).plugins
    if folder is not None or catalog.plugins():
        catalog.use_plugins(folder)


def downloads_folder(options: argparse.Namespace) -> Path:
    """Return the folder of full data sets."""
    return Path(options.downloads or read_main(options).downloads)


#: Commands that are called once for each of hundreds of jobs; Snakemake and `robustscape run` have checked the claims before.
WITHOUT_CLAIMS = ("prepare", "train", "evaluate", "landscape", "compare", "theory")


def make_plan(options: argparse.Namespace, works: Sequence[str] | None = None) -> Plan:
    """Return the plan that the global options ask for.

    Args:
        options: the parsed command line.
        works: the works to plan; without any, all: a job is named by what it makes, whatever `studies` of config.yaml says.
    """
    from robustscape.config.loading import load_experiment
    from robustscape.pipeline.plan import Plan

    main = read_main(options)
    experiment = load_experiment(Path(options.config), options.scale or main.scale)
    experiment = experiment.with_seeds(options.seeds or main.seeds)
    downloads = Path(options.downloads or main.downloads)
    results = Path(options.results or main.results)
    return Plan(experiment, results, works or None, downloads, claims=options.command not in WITHOUT_CLAIMS)


def works_to_do(options: argparse.Namespace) -> Sequence[str]:
    """Return the works that a command named as its targets, those of `studies` of config.yaml if it named none, or none: all."""
    return options.targets or read_main(options).studies


@contextlib.contextmanager
def job_device(options: argparse.Namespace, plan: Plan) -> Iterator[torch.device]:
    """Set up the process; the device is the job's own for the length of the block. A log on a GPU ends with the memory taken."""
    import torch

    from robustscape import devices

    scale = plan.experiment.scale
    stages = scale.resources.stages
    slots = stages[options.command].slots if options.command in stages else 1
    with devices.choose_device(options.device or scale.device, per_gpu=slots) as device:
        devices.configure_device(options.threads or os.cpu_count() or 1)
        yield device
        if device.type == "cuda":
            print(f"peak of GPU memory: {torch.cuda.max_memory_allocated(device) / 1e6:.0f} MB", file=sys.stderr)


def sentence_case(text: str) -> str:
    """Return ``text`` with a capital first letter and the rest as it is, unlike ``str.capitalize``."""
    return text[:1].upper() + text[1:]
