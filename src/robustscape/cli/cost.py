"""``robustscape cost``: what a plan takes before anything has run. Imports no torch unless it is asked to count."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustscape.cli.options import make_plan, positive_integer, sentence_case, works_to_do
from robustscape.errors import UserError

if TYPE_CHECKING:
    from robustscape.pipeline.cost.prices import Rate
    from robustscape.pipeline.plan import Plan

#: Numbers of GPUs for which the time to the last job is worked out.
GPUS = (1, 8, 64)


def add_cost_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "estimate what a scale takes: passes, operations, hours, disk, and days on some GPUs"
    command = commands.add_parser(
        "cost", help=text, description=f"{sentence_case(text)}. Nothing is run; docs/explanation/cost.md says how."
    )
    command.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="WORK, WORK/ITEM, WORK_FILE: the items of one file of its study, or WORK_on_DATASET: those that need this data "
        "set alone (default: all)",
    )
    speed = command.add_mutually_exclusive_group()
    speed.add_argument(
        "--tflops", type=float, help="10^12 operations a second that a device sustains (default: the scale's)"
    )
    speed.add_argument("--measured", metavar="JSON", help="file of a measured tflops and microseconds (default: none)")
    command.add_argument(
        "--gpus", type=positive_integer, nargs="+", default=list(GPUS), metavar="N", help="(default: 1 8 64)"
    )
    command.add_argument("--items", action="store_true", help="a line for each item alone, with what it needs")
    task = command.add_mutually_exclusive_group()
    task.add_argument(
        "--page", metavar="FILE", help="bring the tables of docs/explanation/cost.md up to date (default: print)"
    )
    task.add_argument(
        "--count", action="store_true", help="count the operations of the networks of all scales anew, with torch"
    )
    command.set_defaults(execute=cost_command)


def cost_command(options: argparse.Namespace) -> None:
    """Print the estimate, or write what is made from it.

    Raises:
        UserError: an option is no speed, or a target is unknown.
    """
    if options.count:
        _count(options)
        return
    plan = make_plan(options)
    rate = _rate(options, plan)
    if options.page:
        if plan.experiment.scale_name != "paper":
            raise UserError(
                f"cost --page writes a page about the scale paper, got --scale {plan.experiment.scale_name}: "
                f"`robustscape --scale paper cost --page {options.page}`."
            )
        from robustscape.pipeline.cost.page import write_page

        write_page(Path(options.page), plan, rate)
        return
    from robustscape.pipeline.cost.estimates import Estimates

    estimates = Estimates(plan, rate)
    print("\n".join(estimates.lines(works_to_do(options), options.gpus, items=options.items)))


def _rate(options: argparse.Namespace, plan: Plan) -> Rate:
    from robustscape.pipeline.cost.prices import CPU, GPU, Rate, read_rate

    if options.measured:
        return read_rate(Path(options.measured))
    resources = plan.experiment.scale.resources
    usual = GPU if resources.of_stage("train").gpu else CPU
    tflops = options.tflops if options.tflops is not None else resources.tflops or usual.tflops
    if not 0 < tflops < float("inf"):
        raise UserError(f"--tflops got {tflops}; allowed is a number above 0.")
    return Rate(tflops, usual.microseconds)


def _count(options: argparse.Namespace) -> None:
    """Write ``nets.csv`` anew, for the networks of all scales; those of a data set of unknown size are left out."""
    from robustscape.config.loading import load_experiment
    from robustscape.config.reading import scale_names
    from robustscape.pipeline.cost.count import count_nets
    from robustscape.pipeline.cost.sizes import NETS, nets_csv
    from robustscape.pipeline.plan import Plan
    from robustscape.storage import atomic

    config = Path(options.config)
    scales = scale_names(config / "scales")
    nets = count_nets(Plan(load_experiment(config, scale), Path("results")) for scale in scales)
    atomic.write_text(NETS, nets_csv(nets))
    print(f"{NETS}: {len(nets)} networks.")
