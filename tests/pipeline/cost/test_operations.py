"""Prices against operations that torch counts while runs are trained and measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from robustscape.config.attacks import AttackSpec
from robustscape.config.loading import load_experiment
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.data.prepared import prepare_dataset
from robustscape.models import build_classifier
from robustscape.pipeline.cost.passes import Task, update_passes
from robustscape.pipeline.cost.prices import price_jobs
from robustscape.pipeline.jobs import Job
from robustscape.pipeline.plan import Plan, measurement_stage
from robustscape.pipeline.steps.evaluate import evaluate_runs
from robustscape.pipeline.steps.train import train_runs
from robustscape.training import loop

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
SMOKE = load_experiment(ROOT / "config", "smoke")


class Operations(TorchDispatchMode):
    """Sums the operations of what torch computes, backward passes and passes through them included.

    As ``FlopCounterMode``, which attributes them to modules and fails where weights are exchanged.
    """

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        formula = flop_registry.get(func._overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            return func(*args, **(kwargs or {})) if parts is NotImplemented else parts
        out = func(*args, **(kwargs or {}))
        self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def operations(call: Callable[[], object]) -> int:
    """The operations of a call."""
    with Operations() as counted:
        call()
    return counted.total


# -- updates -----------------------------------------------------------------------------------------------------------

PGD = AttackSpec(attack="pgd", parameters={"steps": 4, "step_size": 0.01})
KL = AttackSpec(attack="kl_pgd", parameters={"steps": 4, "step_size": 0.01})


@pytest.mark.parametrize(
    ("method", "optimizer", "attack", "parameters"),
    [
        ("standard", "sgd", None, {}),
        ("standard_filtered", "sgd", None, {"kind": "low_pass", "percent": 50}),
        ("standard", "sam", None, {}),
        ("adversarial", "sgd", PGD, {}),
        ("trades", "sgd", KL, {}),
        ("bat", "sgd", PGD, {"bridges": 2}),
        ("gradalign", "sgd", PGD, {}),
        ("foar", "sgd", None, {}),
        ("soar", "sgd", None, {}),
        ("soar", "sgd", None, {"draws": 2}),
        ("soar", "sgd", None, {"product": "exact", "draws": 2}),
    ],
)
def test_updates(method: str, optimizer: str, attack: AttackSpec | None, parameters: dict[str, Any]) -> None:
    shape, samples = (1, 8, 8), 32
    net = build_classifier("cnn6", {"width": 16}, shape, 5, None, None)
    x = torch.randint(0, 256, (samples, *shape), dtype=torch.uint8)
    split = Split(x, torch.arange(samples) % 5, 255.0)
    recipe = Recipe.model_validate(
        {
            "method": method,
            "parameters": parameters,
            "attack": "own" if attack else None,
            "optimizer": {"name": optimizer, "parameters": {"lr": 0.01}},
            "epochs": 1,
            "batch_size": 16,
        }
    )
    attacks = {"own": attack} if attack else {}
    forward = operations(lambda: net(split.inputs(slice(0, samples))))
    counted = operations(lambda: loop.train(net, split, split, recipe, attacks, 0.05, 0, progress=False))
    assert counted / forward == pytest.approx(update_passes(recipe.in_force(0), attack, Task(5, 64), 0.05), rel=0.03)


# -- jobs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("liu2020/errors_mnist", id="adversarial training of LeNet; attacks one by one"),
        pytest.param(
            "kanai2022/landscape_train",
            id="Entropy-SGD; a curve that is attacked at every point",
            marks=pytest.mark.slow,
        ),
        pytest.param("kim2023/ch5_decrease", id="SAM; gradients at points between two ascents"),
        pytest.param("kim2023/ch3b_margins", id="TRADES with probes; an attack and two passes", marks=pytest.mark.slow),
    ],
)
def test_runs_and_their_measurements(target: str, tmp_path: Path) -> None:
    plan = Plan(SMOKE, tmp_path)
    work, name = target.split("/")
    entry = plan.studies[work].measurements[name]
    run = max((planned.run for planned in plan.planned_runs(work, entry)), key=lambda run: run.eps)
    prepare_dataset(run.dataset, plan.experiment.datasets[run.dataset], plan.data_folder(run.dataset), tmp_path)
    stage = measurement_stage(entry)
    jobs = [
        Job("train", "one", (run.key,), (), (), ""),
        Job(stage, "one", (target, run.key), (), (), ""),
    ]
    counted = [
        operations(lambda: train_runs(plan, [run.key], CPU)),
        operations(lambda: evaluate_runs(plan, stage, jobs[1].targets, CPU)),
    ]
    assert [price.flop for price in price_jobs(plan, jobs)] == pytest.approx(counted, rel=0.12)
