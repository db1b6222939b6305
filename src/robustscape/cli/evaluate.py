"""``robustscape evaluate`` and ``robustscape landscape``: measurements of trained runs, one by one."""

from __future__ import annotations

import argparse
from typing import Any

from robustscape.cli.options import job_device, make_plan, sentence_case

_TEXTS = {
    "evaluate": "evaluate trained runs: accuracies, attacks, what their training recorded",
    "landscape": "measure the loss landscapes of trained runs: surfaces, curvature, sharpness",
}


def add_evaluate_commands(commands: Any) -> None:
    """Add both commands to the parser; which one makes a measurement depends on the package its function is in."""
    for name, text in _TEXTS.items():
        command = commands.add_parser(
            name,
            help=text.partition(":")[0],
            description=f"{sentence_case(text)}. Measurements that are already right are kept.",
        )
        command.add_argument(
            "targets",
            nargs="+",
            metavar="TARGET",
            help="a measurement of a study (WORK/MEASUREMENT) and then its runs, as often as needed",
        )
        command.set_defaults(execute=evaluate_command)


def evaluate_command(options: argparse.Namespace) -> None:
    """Measure the runs named in ``options.targets``."""
    from robustscape.pipeline.steps.evaluate import evaluate_runs

    plan = make_plan(options)
    with job_device(options, plan) as device:
        evaluate_runs(plan, options.command, options.targets, device)
