"""The ``robustscape`` command: every step of the workflow, with or without Snakemake.

Each subcommand is one stage of the plan (see ``steps``); ``run`` does them all in order, ``list``, ``explain`` and
``doctor`` only look. Heavy imports wait until a command needs them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from robustscape import __version__
from robustscape.config.base import read_model
from robustscape.config.loading import load_experiment
from robustscape.config.main import Main
from robustscape.errors import UserError
from robustscape.pipeline.plan import Plan


def _plan(options: argparse.Namespace, works: Sequence[str] | None = None) -> Plan:
    """The plan the global options ask for."""
    folder = Path(options.config)
    main = read_model(Main, folder / "config.yaml")
    experiment = load_experiment(folder, options.scale or main.scale)
    return Plan(experiment, Path(options.results or main.results), works or main.studies or None)


def _prepare(options: argparse.Namespace) -> None:
    from robustscape.pipeline import steps

    main = read_model(Main, Path(options.config) / "config.yaml")
    steps.prepare(_plan(options), options.dataset, Path(options.downloads or main.downloads))


def _train(options: argparse.Namespace) -> None:
    from robustscape import devices
    from robustscape.pipeline import steps

    plan = _plan(options)
    with devices.choose(options.device or plan.experiment.scale.device) as device:
        devices.configure(options.threads or os.cpu_count() or 1)
        steps.train(plan, options.runs, device)


def _measure(options: argparse.Namespace) -> None:
    from robustscape import devices
    from robustscape.pipeline import steps

    plan = _plan(options)
    with devices.choose(options.device or plan.experiment.scale.device) as device:
        devices.configure(options.threads or os.cpu_count() or 1)
        steps.measure(plan, options.words, device)


def _compare(options: argparse.Namespace) -> None:
    from robustscape import devices
    from robustscape.pipeline import steps

    plan = _plan(options)
    with devices.choose(options.device or plan.experiment.scale.device) as device:
        devices.configure(options.threads or os.cpu_count() or 1)
        steps.compare(plan, options.target, device)


def _theory(options: argparse.Namespace) -> None:
    from robustscape import devices
    from robustscape.pipeline import steps

    devices.configure(options.threads or os.cpu_count() or 1)
    steps.theory(_plan(options), options.targets)


def _item(options: argparse.Namespace) -> None:
    from robustscape.pipeline import steps

    steps.item(_plan(options), options.targets)


def _claims(options: argparse.Namespace) -> None:
    from robustscape.pipeline import steps

    steps.claims(_plan(options, options.works))


def _report(options: argparse.Namespace) -> None:
    from robustscape.pipeline import steps

    steps.report(_plan(options, options.works))


def _run(options: argparse.Namespace) -> None:
    """Every job in the plan's order, in this process: for machines without Snakemake."""
    plan = _plan(options, options.works)
    for number, job in enumerate(plan.jobs, 1):
        print(f"[{number}/{len(plan.jobs)}] robustscape {' '.join(job.arguments)}", file=sys.stderr)
        nested = build_parser().parse_args([*job.arguments])
        for key in ("config", "scale", "results", "downloads", "device", "threads"):
            setattr(nested, key, getattr(options, key))
        nested.run(nested)


def _check(options: argparse.Namespace) -> None:
    plan = _plan(options)
    print(f"{plan.experiment.folder}: {len(plan.studies)} studies, {len(plan.runs)} runs, {len(plan.jobs)} jobs.")


def _explain(options: argparse.Namespace) -> None:
    from robustscape.cli.explain import explain
    from robustscape.pipeline.steps import split_target

    plan = _plan(options)
    work, name = split_target(plan, options.target)
    print(explain(plan.item(work, name).parent, name))


def _list(options: argparse.Namespace) -> None:
    from robustscape.cli.listing import listing

    print("\n".join(listing(options.what, _plan(options))))


def _doctor(options: argparse.Namespace) -> None:
    from robustscape.cli.doctor import examine

    problems = examine(_plan(options), Path(options.downloads) if options.downloads else None)
    if problems:
        raise UserError(f"{problems} of the checks above failed.")


def _attack(options: argparse.Namespace) -> None:
    from robustscape.cli.attack import attack

    attack(options, _plan(options))


def _docs(options: argparse.Namespace) -> None:
    from robustscape.cli.documentation import write

    stale = write(Path(options.config).parent, check=options.check)
    if stale:
        raise UserError(f"generated files are out of date, run `robustscape docs`: {', '.join(stale)}.")


def _schemas(options: argparse.Namespace) -> None:
    from robustscape.cli.schemas import write_schemas

    for path in write_schemas(Path(options.config).parent / "workflow" / "schemas"):
        print(path)


def build_parser() -> argparse.ArgumentParser:
    """All subcommands and their options."""
    parser = argparse.ArgumentParser(prog="robustscape", description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--version", action="version", version=f"robustscape {__version__}")
    parser.add_argument("--config", default="config", help="configuration folder (default: config)")
    parser.add_argument("--scale", help="smoke, small or paper (default: config.yaml's)")
    parser.add_argument("--results", help="folder of the results (default: config.yaml's)")
    parser.add_argument("--downloads", help="folder of full data sets (default: config.yaml's)")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: the scale's)")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: all)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    add("prepare", _prepare, "write a data set's tensors and card").add_argument("dataset")
    add("train", _train, "train runs").add_argument("runs", nargs="+", metavar="RUN", help="folder below models/")
    command = add("measure", _measure, "measure trained runs")
    command.add_argument(
        "words", nargs="+", metavar="WORK/MEASUREMENT RUN", help="a measurement and its runs (folders below models/)"
    )
    add("compare", _compare, "measure trained runs together").add_argument("target", metavar="WORK/COMPARISON")
    add("theory", _theory, "check theorems numerically").add_argument("targets", nargs="+", metavar="WORK/CHECK")
    add("item", _item, "make tables and figures").add_argument("targets", nargs="+", metavar="WORK/ITEM")
    add("claims", _claims, "judge all claims").add_argument("works", nargs="*", metavar="WORK")
    add("report", _report, "write the report page").add_argument("works", nargs="*", metavar="WORK")
    add("run", _run, "do every step, without Snakemake").add_argument("works", nargs="*", metavar="WORK")
    add("check", _check, "validate the configuration")
    add("explain", _explain, "print the chain from data to a number").add_argument("target", metavar="WORK/ITEM")
    from robustscape.cli.listing import KINDS

    add("list", _list, "list what there is, one a line").add_argument("what", choices=KINDS)
    add("doctor", _doctor, "check this machine")
    add("schemas", _schemas, "write the JSON schemas of the configuration, for editors")
    add("docs", _docs, "write the generated documentation").add_argument("--check", action="store_true")
    from robustscape.cli.attack import add_options

    add_options(add("attack", _attack, "attack a checkpoint, or any model, with a suite"))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, and turn a ``UserError`` into its sentence and exit code 2."""
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except UserError as error:
        print(f"robustscape: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 141
    return 0
