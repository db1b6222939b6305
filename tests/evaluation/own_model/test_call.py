"""``robustscape.evaluate`` and ``robustscape.attack``: the same numbers as the harness, all that a report needs, from a wheel."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from torch import nn

import robustscape
from robustscape.catalog import catalog_entries
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.config.shipped import FILES, find_attack, find_suite, shipped_attacks, shipped_suites
from robustscape.errors import ConfigError, UserError
from robustscape.evaluation.harness.craft import correctly_classified
from robustscape.evaluation.harness.suite import run_suite
from robustscape.evaluation.own_model.result import Evaluation

ROOT = Path(__file__).parents[3]
LITE = ["apgd_ce_lite", "square500"]


def test_the_call_gives_the_numbers_of_the_harness(digits: Any) -> None:
    some = digits.first(120)
    found = robustscape.evaluate(some.model, some.x, some.y, suite="autoattack-lite", eps=0.1)
    result = run_suite(some.model, some.x, some.y, find_suite("autoattack-lite"), 0.1, seed=0)
    assert torch.equal(found.x_adv, result.x_adv) and torch.equal(found.robust, result.robust)
    assert found.clean_accuracy == pytest.approx(result.clean_accuracy)
    assert found.robust_accuracy == pytest.approx(result.robust_accuracy)
    assert (found.x_adv - some.x).abs().max() <= 0.1 + 1e-6


def test_the_result_says_all_that_a_report_needs(digits: Any, tmp_path: Path) -> None:
    some = digits.first(60)
    found = robustscape.evaluate(some.model, some.x, some.y, suite=LITE, eps="0.1", seed=3)
    content = json.loads(found.to_json(tmp_path / "result.json", dataset="digits", name="mine"))
    assert content == json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (
        content["robust_accuracy"] == found.robust_accuracy == pytest.approx(100 * found.robust.double().mean().item())
    )
    rows = content["attacks"]
    assert [row["attack"] for row in rows] == ["clean", *LITE]
    assert rows[0]["attempted"] == 60 and rows[1]["attempted"] == 60 - rows[0]["broken"]
    assert sum(row["broken"] for row in rows) == int((~found.robust).sum())
    assert all(row["seconds"] >= 0 and row["forward_passes"] >= 0 for row in rows) and rows[1]["backward_passes"] > 1
    protocol = content["protocol"]
    assert (protocol["norm"], protocol["eps"], protocol["samples"], protocol["seed"]) == ("Linf", 0.1, 60, 3)
    assert protocol["precision"] == "fp32" and len(protocol["model_sha256"]) == len(protocol["data_sha256"]) == 64
    assert protocol["attacks"][0]["parameters"]["iterations"] == 20
    assert protocol["environment"]["torch"] and protocol["environment"]["robustscape"] == robustscape.__version__
    assert content["robustbench"]["name"] == "mine" and content["robustbench"]["dataset"] == "digits"
    assert float(content["robustbench"]["clean_acc"]) == pytest.approx(found.clean_accuracy, abs=0.01)
    # Whether 500 queries break one sample more than 20 steps do, which is a flag, hangs on the machine that trained the net.
    assert content["unreliable"] == bool(content["reasons"]) and set(content["reasons"]) <= {"flag_black_box_wins"}
    assert found.table()["accuracy"].iloc[-1] == found.robust_accuracy
    assert "robust accuracy" in str(found)
    found.save_adversarial(tmp_path / "adversarial.safetensors")
    saved = safetensors.torch.load_file(tmp_path / "adversarial.safetensors")
    assert torch.equal(saved["broken"], ~found.robust) and torch.equal(saved["y"], some.y)
    assert torch.equal(correctly_classified(some.model, saved["x_adv"], saved["y"]), ~saved["broken"])
    assert torch.equal(saved["broken_by"] < 0, found.robust)


def test_robustbench_fields_are_of_a_leaderboard_that_there_is() -> None:
    model, x = nn.Linear(12, 10), torch.rand(5, 12)
    wrong = (model(x).argmax(1) + 1) % 10  # nothing is right, so nothing is attacked
    published = find_suite("autoattack")
    shorter = Suite(name="autoattack", attacks=(("apgd_ce", find_attack("apgd_ce_lite")),))
    fields = {}
    asked: list[tuple[Any, Any, float]] = [
        ("autoattack", "Linf", 0.01),
        ("autoattack", "L2", 0.1),
        ("autoattack_l2", None, 0.1),
        (published, "L2", 0.1),
        (shorter, "Linf", 0.01),
        ("autoattack-lite_l1", "L1", 0.5),
        (["fgsm", "pgd50_restarts10_l2"], None, 0.1),
    ]
    for number, (suite, norm, eps) in enumerate(asked):
        found = robustscape.evaluate(model, x, wrong, suite=suite, norm=norm, eps=eps)
        assert found.to_dict()["robustbench"] == found.robustbench()
        json.loads(found.to_json())
        fields[number] = [name for name in found.robustbench() or {} if name.endswith("_acc")]
    # RobustBench has no leaderboard in L1, nor one of several norms.
    accuracy = ["clean_acc", "autoattack_acc"]
    assert fields == {
        0: accuracy,
        1: accuracy,
        2: accuracy,
        3: accuracy,
        4: ["clean_acc", "own_autoattack_acc"],
        5: [],
        6: [],
    }


def test_a_raised_flag_has_its_reason() -> None:
    class Probabilities(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :4].softmax(1)

    x, y = torch.rand(20, 6), torch.arange(20) % 4
    found = robustscape.evaluate(Probabilities(), x, y, suite="pgd", eps=0.1)
    assert "give its logits" in found.reasons["flag_softmax_outputs"]
    assert found.to_dict()["unreliable"] and "flag_softmax_outputs" in str(found)
    known = robustscape.evaluation.harness.flags.REASONS  # type: ignore[attr-defined]
    assert {*known, "flag_chance_accuracy"} == set(found.flags)


@pytest.mark.parametrize(
    ("shift", "classes", "samples", "raised"),
    [(0, 4, 40, False), (1, 4, 40, True), (1, 4, 7, False), (1, 1, 40, False), (0, 2, 8, False)],
    ids=["right", "shifted", "too few", "one label", "few"],
)
def test_labels_of_another_model_are_doubted(shift: int, classes: int, samples: int, raised: bool) -> None:
    """Labels from 1 on, or in another order, give a robust accuracy of next to nothing, of which no attack is the cause."""
    x = torch.rand(samples, 6)
    y = torch.arange(samples) % classes
    x[torch.arange(samples), y] = 1.0
    found = robustscape.evaluate(nn.Identity(), x, (y + shift) % 4, suite="fgsm", eps=0.01)
    assert found.flags["flag_chance_accuracy"] == raised == ("flag_chance_accuracy" in found.reasons)
    content = found.to_dict()
    assert content["unreliable"] == content["robustbench"]["unreliable"] == raised
    assert raised == ("are the labels those" in str(found))


@pytest.mark.parametrize(("rare_right", "raised"), [(False, True), (True, False)])
def test_a_frequent_label_is_no_skill(rare_right: bool, raised: bool) -> None:
    """A constant answer is right in 90 % of these samples."""
    y = (torch.arange(40) >= 36).long()
    logits = nn.functional.one_hot(y if rare_right else 0 * y, 3) * 0.5 + 0.25
    assert (
        robustscape.evaluate(nn.Identity(), logits, y, suite="fgsm", eps=0.01).flags["flag_chance_accuracy"] == raised
    )


def test_several_budgets_reuse_what_is_broken(digits: Any, tmp_path: Path) -> None:
    some, budgets = digits.first(120), [0.15, 0.05, 0.1]
    series = robustscape.evaluate(some.model, some.x, some.y, suite=LITE, eps=budgets, state=tmp_path)
    assert series.eps == budgets  # as they were given: results are zipped with the caller's own list
    rising = sorted(series, key=lambda evaluation: float(evaluation.eps))
    for smaller, larger in itertools.pairwise(rising):
        assert not (larger.robust & ~smaller.robust).any()  # robust accuracy never rises
        first = larger.result.outcomes[2]
        assert torch.equal(first.attempted, smaller.robust)  # what was broken is not attacked again
    for evaluation in series:
        alone = robustscape.evaluate(some.model, some.x, some.y, suite=LITE, eps=evaluation.eps)
        assert evaluation.robust_accuracy <= alone.robust_accuracy
        assert torch.equal(correctly_classified(some.model, evaluation.x_adv, some.y), evaluation.robust)
        assert (evaluation.x_adv - some.x).abs().max() <= evaluation.eps + 1e-6
        assert alone.clean_accuracy == evaluation.clean_accuracy
    again = robustscape.evaluate(some.model, some.x, some.y, suite=LITE, eps=budgets, state=tmp_path)
    assert again.robust_accuracy == series.robust_accuracy
    assert list(series.table()["eps"].unique()) == series.eps
    assert len(json.loads(series.to_json())["evaluations"]) == 3


@pytest.mark.parametrize(
    ("eps", "sentence"),
    [
        ([0.1, "8/255", 8 / 255], "eps got a list in which 8/255 stands twice"),
        ([0.1, torch.full((4,), 0.1)], "eps got a list with a tensor of one budget per sample"),
        (True, "eps got True, allowed is a number"),
    ],
)
def test_budgets_that_are_no_list_of_budgets_are_refused(digits: Any, eps: Any, sentence: str) -> None:
    some = digits.first(4)
    with pytest.raises(ConfigError) as refused:
        robustscape.evaluate(some.model, some.x, some.y, suite="fgsm", eps=eps)
    assert sentence in str(refused.value)


def test_budgets_whose_states_would_share_a_folder_are_refused_at_once(digits: Any, tmp_path: Path) -> None:
    some = digits.first(4)
    with pytest.raises(ConfigError, match="would both be in"):
        robustscape.evaluate(some.model, some.x, some.y, suite="fgsm", eps=[0.1, 0.1 + 1e-9], state=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_state_after_other_smaller_budgets_says_so(digits: Any, tmp_path: Path) -> None:
    some = digits.first(120)
    robustscape.evaluate(some.model, some.x, some.y, suite="fgsm", eps=[0.05, 0.1], state=tmp_path)
    with pytest.raises(UserError, match="made with other smaller budgets before it"):
        robustscape.evaluate(some.model, some.x, some.y, suite="fgsm", eps=[0.05, 0.07, 0.1], state=tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_logits_of_another_precision_are_attacked_in_that_of_the_inputs(digits: Any, dtype: torch.dtype) -> None:
    """A model with autocast inside: gains that bf16 rounds to none made it look robust to SimBA, and APGD stopped."""
    some = digits.first(24)

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = some.model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x).to(dtype)

    class AndBack(Other):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).float()

    for suite in ("simba", "apgd_ce_lite", "apgd_dlr", "fab", "square500"):
        found, expected = (
            robustscape.evaluate(net().eval(), some.x, some.y, suite=suite, eps=0.1) for net in (Other, AndBack)
        )
        assert abs(found.robust_accuracy - expected.robust_accuracy) <= 100 / 24 + 1e-6, suite


@pytest.mark.parametrize("suite", [5, [print], {"pgd"}, None])
def test_a_suite_that_is_none_is_a_sentence(digits: Any, suite: Any) -> None:
    some = digits.first(4)
    with pytest.raises(ConfigError, match=r"suite got .*allowed"):
        robustscape.evaluate(some.model, some.x, some.y, suite=suite)


def test_every_attack_can_be_called_by_its_name(digits: Any) -> None:
    """With the parameters that have no default given as keywords; the catalogue says which they are."""
    some, classes = digits.first(6), 10
    given = {"superclass": [label % 2 for label in range(classes)], "variance": 0.01, "band": 1}
    needing = set()
    for name, entry in catalog_entries("attack").items():
        needed = {key for key, field in entry.parameters.model_fields.items() if field.is_required()}
        if not needed:
            continue
        needing.add(name)
        with pytest.raises(ConfigError, match=f"attack '{name}': .*{min(needed)}"):
            robustscape.attack(some.model, some.x, some.y, name, eps=0.1)
        spec = find_attack(name, parameters={key: given[key] for key in needed})
        assert spec.attack == name and needed <= set(spec.parameters)
        arguments = {key: given[key] for key in needed} | ({"meta": "6"} if name == "pgd_meta" else {})
        x_adv = robustscape.attack(some.model, some.x, some.y, name, eps=0.1, **arguments)
        assert x_adv.shape == some.x.shape and (x_adv - some.x).abs().max() <= 0.1 + 1e-6
    assert len(needing) >= 5


def test_samples_broken_early_make_further_budgets_cheap() -> None:
    """Of a net without robustness all is broken at the smallest budget, and the others cost a pass per sample."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 5))
    x = torch.rand(200, 30)
    y = model(x).argmax(1)

    def cost(evaluation: Evaluation) -> int:
        return sum(outcome.forwards + outcome.backwards for outcome in evaluation.result.outcomes)

    budgets = [0.3, 0.4, 0.5, 0.6]
    series = robustscape.evaluate(model, x, y, suite="autoattack-lite", eps=budgets)
    alone = robustscape.evaluate(model, x, y, suite="autoattack-lite", eps=budgets[-1])
    assert series.robust_accuracy[0] < 5
    assert sum(map(cost, series)) <= 2 * cost(alone) + 8 * len(x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_arrays_are_taken(digits: Any, dtype: Any) -> None:
    some = digits.first(20)
    x, y = some.x.numpy().astype(dtype), some.y.numpy().astype(np.uint8)
    assert robustscape.evaluate(some.model, x, y, suite="pgd10", eps=0.1).x_adv.dtype == torch.float32
    ours = robustscape.attack(some.model, x, y, "pgd10", eps=0.1)
    assert torch.equal(ours, robustscape.attack(some.model, some.x, some.y, "pgd", steps=10, eps=0.1))


def test_the_norm_is_that_of_all_attacks(digits: Any) -> None:
    some = digits.first(30)
    found = robustscape.evaluate(some.model, some.x, some.y, suite="autoattack-lite", eps=0.5, norm="L2")
    assert found.protocol["norm"] == "L2"
    assert (found.x_adv - some.x).flatten(1).norm(dim=1).max() <= 0.5 + 1e-5
    own = robustscape.evaluate(some.model, some.x, some.y, suite="apgd_ce_l2", eps=0.5)
    assert own.protocol["norm"] == "L2"


def test_l1_has_suites_and_attacks_of_its_own(digits: Any) -> None:
    some = digits.first(24)
    found = robustscape.evaluate(some.model, some.x, some.y, suite="autoattack-lite", eps=[0.5, 2, 12], norm="L1")
    assert found.robust_accuracy[0] > found.robust_accuracy[1] >= found.robust_accuracy[2] == 0
    for one, eps in zip(found, (0.5, 2.0, 12.0), strict=True):
        assert one.protocol["norm"] == "L1"
        assert (one.x_adv - some.x).flatten(1).abs().sum(1).max() <= eps + 1e-4
    assert [o.name for o in found[0].result.outcomes][1:] == list(shipped_suites()["autoattack-lite_l1"].attacks)
    same = robustscape.evaluate(some.model, some.x, some.y, suite="autoattack-lite_l1", eps=0.5)
    assert torch.equal(same.x_adv, found[0].x_adv)
    eps = torch.linspace(0, 2, 24)
    x_adv = robustscape.attack(some.model, some.x, some.y, "square", eps=eps, norm="L1", queries=20)
    assert ((x_adv - some.x).flatten(1).abs().sum(1) <= eps + 1e-4).all() and torch.equal(x_adv[0], some.x[0])


@pytest.mark.parametrize(
    ("suite", "norm", "sentence"),
    [
        ("pgd", "L1", "attack 'pgd' is not defined in L1; attacks in L1 are apgd_l1, fab, square_l1"),
        ("white-box", "L1", "attack 'fgsm' is not defined in L1"),
        (["apgd_ce", "simba"], "L1", "attack 'simba' is not defined in L1"),
        ("apgd_ce_l1", "L2", "'apgd_ce_l1' is in L1, but the norm asked for is L2; leave out one of the two"),
        ("autoattac", "L1", "Did you mean 'autoattack'"),
    ],
)
def test_an_attack_is_refused_in_a_norm_that_it_is_not_for(digits: Any, suite: Any, norm: Any, sentence: str) -> None:
    some = digits.first(4)
    with pytest.raises(ConfigError) as refused:
        robustscape.evaluate(some.model, some.x, some.y, suite=suite, norm=norm, eps=1)
    assert sentence in str(refused.value) and "top level" not in str(refused.value)


def test_a_budget_has_a_default_in_linf_alone(digits: Any) -> None:
    some = digits.first(4)
    assert robustscape.evaluate(some.model, some.x, some.y, suite="fgsm").protocol["eps"] == 8 / 255
    for call in (
        lambda: robustscape.evaluate(some.model, some.x, some.y, norm="L1"),
        lambda: robustscape.attack(some.model, some.x, some.y, "apgd", norm="L1"),
    ):
        with pytest.raises(ConfigError, match="eps has no default in L1: give one, such as 12"):
            call()
    with pytest.raises(ConfigError, match="eps got 65, which in L1 is more than the whole range"):
        robustscape.attack(some.model, some.x, some.y, "apgd", norm="L1", eps=65)


def test_a_wrong_name_or_setting_is_a_sentence(digits: Any) -> None:
    some = digits.first(4)
    with pytest.raises(ConfigError, match=r"unknown suite or attack 'autoatack'\. Did you mean 'autoattack'"):
        robustscape.evaluate(some.model, some.x, some.y, suite="autoatack")
    with pytest.raises(ConfigError, match=r"unknown key 'step'\. Did you mean 'steps'"):
        robustscape.attack(some.model, some.x, some.y, "pgd", step=3)
    with pytest.raises(ConfigError, match="Did you mean 8/255"):
        robustscape.attack(some.model, some.x, some.y, "pgd", eps=8)
    with pytest.raises(UserError, match="divide by 255"):
        robustscape.evaluate(some.model, (some.x * 255).to(torch.uint8), some.y)


def test_what_is_shipped_is_what_is_configured() -> None:
    """Links, so that there is one source, and no file is forgotten."""
    config = ROOT / "config"
    assert {p.name for p in (FILES / "attacks").iterdir()} == {p.name for p in (config / "attacks").glob("*.yaml")}
    for path in (FILES / "suites.yaml", FILES / "datasets.yaml", *(FILES / "attacks").iterdir()):
        assert path.resolve() == (config / path.relative_to(FILES)).resolve()
    known = shipped_attacks()
    for name, suite in shipped_suites().items():
        assert set(suite.attacks) <= set(known), name
    assert set(yaml.safe_load((config / "suites.yaml").read_text(encoding="utf-8"))) == set(shipped_suites())


def test_the_package_is_imported_quickly() -> None:
    """Without torch, and no name is taken from a module before it is asked for."""
    code = "import sys, robustscape; print([m for m in ('torch', 'numpy', 'pandas', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "src")
    assert done.stdout.strip() == "[]"
    assert set(robustscape.__all__) <= set(dir(robustscape))
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        robustscape.evalute  # noqa: B018


@pytest.mark.slow
def test_a_wheel_evaluates_outside_of_the_clone(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("src", "config", "requirements"):
        shutil.copytree(
            ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {"robustscape/py.typed", "robustscape/config/files/suites.yaml"} <= set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    shutil.rmtree(source)
    code = """
        import torch, robustscape
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 5))
        x, y = torch.rand(12, 1, 4, 4), torch.arange(12) % 5
        result = robustscape.evaluate(model, x, y, suite="autoattack-lite", eps=8 / 255)
        print(robustscape.__file__, result.clean_accuracy >= result.robust_accuracy, len(result.table()))
    """
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=empty,
        env={"PYTHONPATH": str(tmp_path / "installed"), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    file, truth, length = done.stdout.split()
    assert Path(file).is_relative_to(tmp_path / "installed") and truth == "True" and length == "5"


def test_an_attack_of_ones_own_is_taken(digits: Any) -> None:
    some = digits.first(20)
    spec = AttackSpec(attack="pgd", parameters={"steps": 4}, norm="L2")
    assert robustscape.evaluate(some.model, some.x, some.y, suite=spec, eps=0.5).protocol["suite"] == "pgd"


def test_a_notebook_shows_the_summary_and_no_tensors() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    x, y = torch.rand(6, 1, 4, 4), torch.arange(6) % 4
    for result in (
        robustscape.evaluate(model, x, y, suite="fgsm", eps=0.1),
        robustscape.evaluate(model, x, y, suite="fgsm", eps=[0.1, 0.2]),
    ):
        assert repr(result) == str(result) and "tensor" not in repr(result) and "robust accuracy" in repr(result)
