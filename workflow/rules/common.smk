# The plan of the experiment and its jobs, and what every rule passes on to the command line.
import os
import shlex
import sys
from pathlib import Path

SOURCE = str(Path(workflow.basedir) / "src")
sys.path.insert(0, SOURCE)

from robustscape.catalog import use_plugins
from robustscape.config.base import validate_model
from robustscape.config.loading import load_experiment
from robustscape.config.main import Main
from robustscape.errors import UserError
from robustscape.pipeline.cost.needs import list_needs
from robustscape.pipeline.jobs import list_jobs
from robustscape.pipeline.plan import Plan

try:
    MAIN = validate_model(Main, config, "config/config.yaml")
    use_plugins(MAIN.plugins)
    # Relative, so that a project that moves is not made again.
    EXPERIMENT = load_experiment(
        Path(os.path.relpath(workflow.basedir)) / "config", MAIN.scale
    ).with_seeds(MAIN.seeds)
    PLAN = Plan(
        EXPERIMENT,
        Path(MAIN.results),
        MAIN.studies or None,
        Path(MAIN.downloads),
    )
    JOBS = list_jobs(PLAN)
except UserError as error:
    raise WorkflowError(str(error)) from None
if {"{", "}"} & set(MAIN.results):
    raise WorkflowError(
        f"results got '{MAIN.results}': Snakemake takes braces in a path for wildcards."
    )

# Jobs run the code beside this file, whatever else is installed, also inside a conda environment or on another node; without
# conda with the Python that runs Snakemake, whether or not its environment is activated.
CONDA = "conda" in {str(m) for m in workflow.deployment_settings.deployment_method}
shell.prefix(
    f"export PYTHONPATH={shlex.quote(SOURCE)}; "
    + (
        ""
        if CONDA
        else f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH; "
    )
)

COMMAND = " ".join(
    [
        "python -m robustscape",
        f"--config {shlex.quote(str(EXPERIMENT.folder))}",
        f"--scale {MAIN.scale}",
        *([f"--seeds {MAIN.seeds}"] if MAIN.seeds else []),
        f"--results {shlex.quote(MAIN.results)}",
        f"--downloads {shlex.quote(MAIN.downloads)}",
        *([f"--plugins {shlex.quote(MAIN.plugins)}"] if MAIN.plugins else []),
    ]
)
# Snakemake formats commands, so braces of a folder's name are doubled.
COMMAND = COMMAND.replace("{", "{{").replace("}", "}}")
ENVIRONMENT = "../envs/robustscape.yaml"
NEEDS = list(zip(JOBS, list_needs(PLAN, JOBS), strict=True))
LOGS = f"{PLAN.root}/logs"
BENCHMARKS = f"{PLAN.root}/benchmarks"
