"""Measures of liu2020: dead layers, errors under single attacks, ensembles; and the probe of the loss."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec, Suite
from robustscape.data import Split
from robustscape.evaluation.errors_under_attacks import errors_under_attacks
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.softmax_ensemble import Ensemble, softmax_ensemble
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape.dead_layers import dead_layers, largest_preactivations
from robustscape.models import build_classifier
from robustscape.storage import checkpoints
from robustscape.training.observers import ProbeContext
from robustscape.training.probes.loss import loss as loss_probe

PGD = AttackSpec(attack="pgd", parameters={"steps": 5, "rel_step_size": 0.3})
FGSM = AttackSpec(attack="fgsm")


def data(samples: int = 40, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(samples, 1, 8, 8, generator=generator), torch.arange(samples) % classes


def run_of(model: nn.Module, eps: float = 0.1, path: Path = Path("nowhere")) -> TrainedRun:
    x, y = data()
    split = Split(x, y, 1.0)
    config = {"recipe": {}}
    return TrainedRun(
        model.eval(), split, split, eps, 0, torch.device("cpu"), 4, path=path, config=config, checkpoint=""
    )


def lenet(width: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return build_classifier("lenet", {"width": width}, (1, 8, 8), 4).eval()


def kill(model: nn.Module, layer: str) -> nn.Module:
    module = dict(model.named_modules())[f"net.{layer}"]
    with torch.no_grad():
        module.bias.fill_(-1e3)  # type: ignore[union-attr, operator]
    return model


def values(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {row["metric"]: row["value"] for row in rows}


# -- dead layers -----------------------------------------------------------------------------------------------------------


def test_largest_preactivations_are_those_of_hooks() -> None:
    model, (x, _) = lenet(2), data()
    seen: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        for module in model.modules()
        if isinstance(module, nn.ReLU)
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    found = largest_preactivations(model, x, batch_size=7)
    assert len(found) == 3
    for ours, hooked in zip(found, seen, strict=True):
        expected = hooked.amax((0, 2, 3)) if hooked.dim() == 4 else hooked.amax(0)
        torch.testing.assert_close(ours, expected)


def test_functional_relus_are_seen() -> None:
    model = build_classifier("resnet18", {"width": 1}, (1, 8, 8), 4).eval()
    assert len(largest_preactivations(model, data()[0])) == 17


@pytest.mark.parametrize(("layer", "dead_gradients"), [("conv1", True), ("conv2", True), ("fc1", True)])
def test_a_dead_layer_makes_a_constant_classifier(layer: str, dead_gradients: bool) -> None:
    run = run_of(kill(lenet(), layer))
    found = values(dead_layers(run, attack=PGD))
    assert found["dead_layers"] >= 1 and found["has_dead_layer"] == 1
    assert found["constant_classifier"] == 1
    assert found["logit_spread"] == 0
    assert found["zero_gradients"] == 100
    assert found["gradient_before_dead"] == 0
    assert found["one_answer"] == 100
    assert found["constant_error"] == 75  # four classes of one size
    clean = 100 * (run.model(run.test.inputs()).argmax(1) != run.test.y).float().mean().item()
    assert found["constant_error"] == pytest.approx(clean)


def test_a_live_net_has_no_dead_layer() -> None:
    found = values(dead_layers(run_of(lenet(4)), attack=PGD))
    assert found["dead_layers"] == found["has_dead_layer"] == found["constant_classifier"] == 0
    assert found["zero_gradients"] == 0
    assert found["logit_spread"] > 1e-3
    assert "gradient_before_dead" not in found


def test_dead_units_are_counted() -> None:
    model = lenet()
    with torch.no_grad():
        model.net.fc1.bias[:16] = -1e3  # type: ignore[union-attr, operator, index]
    before, after = (values(dead_layers(run_of(m), attack=PGD))["dead_units"] for m in (lenet(), model))
    assert after > before
    assert after < 100


# -- errors ---------------------------------------------------------------------------------------------------------------------


def test_every_attack_has_all_samples() -> None:
    run = run_of(lenet(2))
    suite = Suite(name="two", attacks=(("mine_pgd", PGD), ("fgsm", FGSM)))
    rows = errors_under_attacks(run, suite=suite, names={"mine_pgd": "pgd"}, samples=30)
    assert [row["attack"] for row in rows] == ["none", "pgd", "fgsm"]
    assert [row["metric"] for row in rows] == ["clean_test_error", *["robust_test_error"] * 2]
    x, y = run.test.inputs(slice(30)), run.test.y[:30]
    for row, spec in zip(rows, (None, PGD, FGSM), strict=True):
        points = x if spec is None else craft(run.model, x, y, spec, 0.1, seed=0)
        assert row["value"] == pytest.approx(100 * (run.model(points).argmax(1) != y).float().mean().item())
        assert row["samples"] == 30
    assert rows[1]["steps"] == 5
    fewer = errors_under_attacks(run, suite=suite, samples=30, attacked_samples=10)
    alone = errors_under_attacks(run, suite=suite, samples=10)
    assert (fewer[0]["value"], fewer[0]["samples"]) == (rows[0]["value"], 30)
    assert [(r["value"], r["samples"]) for r in fewer[1:]] == [(r["value"], 10) for r in alone[1:]]


# -- the probe of the loss --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", [None, PGD])
def test_probe_of_the_loss(attack: AttackSpec | None) -> None:
    run = run_of(lenet(2))
    context = ProbeContext(run.model, run.train, run.test, 0.1, 5, 1)
    x, y = run.test.inputs(slice(16)), run.test.y[:16]
    points = x if attack is None else craft(run.model, x, y, attack, 0.1, seed=5)
    expected = F.cross_entropy(run.model(points), y).item()
    assert loss_probe(context, attack=attack, samples=16) == pytest.approx(expected, abs=1e-5)


# -- ensembles --------------------------------------------------------------------------------------------


def test_an_ensemble_is_the_mean_probability() -> None:
    members, (x, y) = [lenet(1), lenet(2)], data()
    logits = Ensemble(members)(x)
    mean = torch.stack([member(x).softmax(1) for member in members]).mean(0)
    torch.testing.assert_close(logits.exp(), mean)
    torch.testing.assert_close(F.cross_entropy(logits, y), -mean.gather(1, y[:, None]).log().mean())


def test_ensembles_of_runs_and_of_the_ends_of_periods(tmp_path: Path) -> None:
    runs = []
    for seed in range(2):
        torch.manual_seed(seed)
        model = build_classifier("lenet", {"width": 1}, (1, 8, 8), 4)
        folder = tmp_path / str(seed)
        folder.mkdir()
        checkpoints.save_checkpoint(folder / "epoch4.safetensors", lenet(1).state_dict(), {})
        recipe = {"name": "mine", "keep": [0.5], "epochs": 8}
        run = run_of(model, path=folder)
        runs.append(dataclasses.replace(run, seed=seed, config={"recipe": recipe}))
    rows = softmax_ensemble(runs, attack=PGD, kept=[0.5], samples=20)
    kinds = [(row["ensemble"], row["seed"], row["members"]) for row in rows if row["metric"] == "clean_test_error"]
    assert kinds == [
        ("one net", 0, 1),
        ("period ends", 0, 2),
        ("one net", 1, 1),
        ("period ends", 1, 2),
        ("runs", None, 2),
    ]
    x, y = runs[0].test.inputs(slice(20)), runs[0].test.y[:20]
    net = Ensemble([run.model for run in runs]).eval()
    attacked = craft(net, x, y, PGD, 0.1, seed=0)
    wrong = 100 * (net(attacked).argmax(1) != y).float().mean().item()
    assert rows[-1]["value"] == pytest.approx(wrong)
