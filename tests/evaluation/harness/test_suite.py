"""Suites: bookkeeping, resuming after a kill, passes, flags, curves over eps."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape import catalog
from robustscape.attacks import square as square_module
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import frozen_copy, input_gradient, predict
from robustscape.attacks.base.losses import cross_entropy, margin
from robustscape.attacks.base.search import SearchModel
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.fab import fab
from robustscape.attacks.precision.bf16 import bf16
from robustscape.attacks.square import square
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.errors import AttackError, ConfigError, CorruptFile, UserError
from robustscape.evaluation.harness import craft as craft_module
from robustscape.evaluation.harness import flags
from robustscape.evaluation.harness import suite as suite_module
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.harness.curve import eps_curve
from robustscape.evaluation.harness.suite import SuiteResult, run_suite, to_robustbench
from robustscape.storage import checkpoints, provenance


def small_suite(*names: str) -> Suite:
    specs = {
        "pgd": {"attack": "pgd", "parameters": {"steps": 5, "early_stopping": True}},
        "apgd": {"attack": "apgd", "parameters": {"iterations": 8}},
        "apgd_t": {"attack": "apgd", "parameters": {"iterations": 5, "loss": "dlr_targeted", "n_target_classes": 3}},
        "fab": {"attack": "fab", "parameters": {"iterations": 4, "n_target_classes": 2}},
        "square": {"attack": "square", "parameters": {"queries": 40}},
    }
    return Suite(name="small", attacks=tuple((n, AttackSpec.model_validate(specs[n])) for n in names or specs))


def same(a: SuiteResult, b: SuiteResult) -> bool:
    return torch.equal(a.x_adv, b.x_adv) and all(
        torch.equal(o.attempted, p.attempted)
        and torch.equal(o.broken, p.broken)
        and (o.forwards, o.backwards) == (p.forwards, p.backwards)
        for o, p in zip(a.outcomes, b.outcomes, strict=True)
    )


class Stubborn(nn.Module):
    """Always right, by a logit gap that no attack here closes: every sample is robust to the end."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 6, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        gap = torch.zeros(6)
        gap[0] = 1e3
        return x.flatten(1) @ self.weight + gap


def test_worst_case_is_taken_per_sample(digits: Any) -> None:
    result = run_suite(digits.model, digits.x, digits.y, small_suite(), 0.12, seed=0, batch_size=100)
    clean, *attacks = result.outcomes
    assert clean.attempted.all()
    assert torch.equal(~clean.broken, correctly_classified(digits.model, digits.x, digits.y))
    robust = ~clean.broken
    for outcome in attacks:
        assert torch.equal(outcome.attempted, robust)
        assert not (outcome.broken & ~robust).any()
        robust = robust & ~outcome.broken
    assert torch.equal(result.robust, robust)
    # The kept inputs are the evidence: legal, and the model is wrong exactly on them.
    assert torch.equal(correctly_classified(digits.model, result.x_adv, digits.y), result.robust)
    assert (result.x_adv - digits.x).abs().max() <= 0.12 + 1e-6
    assert torch.equal(result.x_adv[result.robust], digits.x[result.robust])
    assert result.clean_accuracy > result.robust_accuracy + 10 > 20


def test_every_attack_added_can_only_lower_accuracy(digits: Any) -> None:
    names = ["pgd", "apgd", "apgd_t", "fab", "square"]
    robust = [
        run_suite(digits.model, digits.x, digits.y, small_suite(*names[: count + 1]), 0.12, seed=0).robust
        for count in range(len(names))
    ]
    for fewer, more in itertools.pairwise(robust):
        assert not (more & ~fewer).any()
    order = run_suite(digits.model, digits.x, digits.y, small_suite(*reversed(names)), 0.12, seed=0).robust
    # The order decides which samples are tried, not which are broken: the worst case over the same attacks is the same.
    assert (order == robust[-1]).float().mean() > 0.995


def test_batch_size_changes_nothing(digits: Any) -> None:
    model, x = digits.model.double(), digits.x[:90].double()
    try:
        results = [run_suite(model, x, digits.y[:90], small_suite(), 0.12, seed=0, batch_size=b) for b in (90, 7)]
    finally:
        digits.model.float()
    assert torch.equal(results[0].robust, results[1].robust)
    torch.testing.assert_close(results[0].x_adv, results[1].x_adv, rtol=0, atol=1e-8)
    assert [(o.forwards, o.backwards) for o in results[0].outcomes] == [
        (o.forwards, o.backwards) for o in results[1].outcomes
    ]


def test_a_sample_keeps_its_random_numbers_in_every_batch(digits: Any) -> None:
    noise, x, y = AttackSpec(attack="random_noise"), digits.x[:20], digits.y[:20]
    whole = craft(digits.model, x, y, noise, 0.1, seed=3)
    assert torch.equal(craft(digits.model, x, y, noise, 0.1, seed=3, batch_size=7), whole)
    last = torch.arange(15, 20)
    assert torch.equal(craft(digits.model, x[last], y[last], noise, 0.1, seed=3, index=last), whole[last])
    assert (whole - x).flatten(1).unique(dim=0).size(0) == 20


def test_passes_are_what_the_docstrings_say() -> None:
    x, y = torch.rand(10, 8), torch.zeros(10, dtype=torch.int64)
    result = run_suite(Stubborn(), x, y, small_suite(), 0.1, seed=0, batch_size=4)
    assert result.robust_accuracy == 100.0
    verdict = 1  # every finished input is passed once more
    expected = {
        "clean": (1, 0),
        "pgd": (2 + verdict, 2),  # the second step at rest is the last
        "apgd": (1 + 8 + 1 + verdict, 8),
        "apgd_t": (1 + 3 * (5 + 1) + verdict, 3 * 5),
        "fab": (1 + 2 * 4 * 2 + verdict, 2 * 4),
    }
    passes = {o.name: (o.forwards / 10, o.backwards / 10) for o in result.outcomes}
    forwards, backwards = passes.pop("square")  # queries that propose nothing new cost nothing
    assert passes == expected
    assert 0.5 * 40 < forwards < 2 + 40 + verdict and backwards == 0
    expected["square"] = (forwards, backwards)
    rows = result.rows()
    table = {(row["attack"], row["metric"]): row["value"] for row in rows if "passes" in row["metric"]}
    for name, (forwards, backwards) in expected.items():
        assert table[name, "forward_passes"] == pytest.approx(forwards)
        assert table[name, "backward_passes"] == backwards
    assert table["small", "forward_passes"] == pytest.approx(sum(f for f, _ in expected.values()))


def test_untargeted_fab_counts_a_backward_pass_for_each_class() -> None:
    x, y = torch.rand(4, 8), torch.zeros(4, dtype=torch.int64)
    spec = AttackSpec(attack="fab", parameters={"each_class": False, "iterations": 3})
    result = run_suite(Stubborn(), x, y, Suite(name="f", attacks=(("f", spec),)), 0.1, seed=0)
    assert result.outcomes[1].backwards == 4 * 3 * 6


def test_broken_samples_cost_nothing_more() -> None:
    """A model that is wrong everywhere but on the clean inputs: one gradient, and every sample is released."""

    class Brittle(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            off = (x.flatten(1) - 0.5).abs().sum(1)
            return torch.stack([0.001 - off, off, off * 0, off * 0], 1)

    x, y = torch.full((6, 5), 0.5), torch.zeros(6, dtype=torch.int64)
    counted = SearchModel(Brittle())
    craft(counted.model, x, y, AttackSpec(attack="pgd"), 0.1, seed=0)
    result = run_suite(Brittle(), x, y, small_suite("pgd", "square"), 0.1, seed=0)
    assert [(o.forwards / 6, o.backwards / 6) for o in result.outcomes] == [(1, 0), (2, 1), (0, 0)]
    assert not result.outcomes[2].attempted.any()


def test_a_search_model_counts_samples_and_only_gradients_that_are_asked_for() -> None:
    counted = SearchModel(nn.Linear(4, 3))
    x, y = torch.rand(7, 4), torch.zeros(7, dtype=torch.int64)
    counted(x)
    input_gradient(counted, x, y, cross_entropy)
    assert (counted.forwards, counted.backwards) == (14, 7)
    counted.reset_counts()
    assert (counted.forwards, counted.backwards) == (0, 0)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import torch
    sys.path[:0] = {paths!r}
    import test_suite
    from robustscape.evaluation.harness.suite import run_suite

    torch.set_num_threads(1)
    model, x, y = test_suite.killable()
    done = 0
    def progress(*_):
        global done
        done += 1
        if done == {after}:
            os.kill(os.getpid(), signal.SIGKILL)
    suite = test_suite.small_suite()
    run_suite(model, x, y, suite, 0.08, seed=5, batch_size=8, state_dir=Path({state!r}), progress=progress)
"""


def killable() -> tuple[nn.Module, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 6))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    x = torch.rand(40, 12, generator=generator)
    return model, x, model(x).argmax(1)


@pytest.mark.fault
def test_a_killed_evaluation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model, x, y = killable()
    whole = run_suite(model, x, y, small_suite(), 0.08, seed=5, batch_size=8)
    assert 0 < whole.robust_accuracy < 100
    state = tmp_path / "state"
    script = KILLED.format(paths=[str(Path(__file__).parent), *sys.path], after=4, state=str(state))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    batches = 0
    for _ in range(2):  # killed, resumed, killed again
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        kept = len(list(state.glob("*/*.safetensors")))
        assert kept > batches
        batches = kept
    calls: list[str] = []
    result = run_suite(
        model, x, y, small_suite(), 0.08, seed=5, batch_size=8, state_dir=state, progress=lambda *a: calls.append(a[0])
    )
    assert same(result, whole)
    total = len(list(state.glob("*/*.safetensors")))
    opening = len(set(calls))  # one call at each attack's start, one after each batch
    assert len(calls) - opening == total - batches > 0  # nothing was done twice
    calls.clear()
    finished = run_suite(
        model, x, y, small_suite(), 0.08, seed=5, batch_size=3, state_dir=state, progress=lambda *a: calls.append(a[0])
    )
    assert same(finished, whole) and not calls
    torch.set_num_threads(threads)


def test_state_of_another_evaluation_is_refused(tmp_path: Path) -> None:
    model, x, y = killable()
    run_suite(model, x, y, small_suite("pgd"), 0.3, seed=5, state_dir=tmp_path)
    for change, key in (({"seed": 6}, "seed"), ({"eps": 0.2}, "eps")):
        arguments = {"eps": 0.3, "seed": 5} | change
        with pytest.raises(UserError, match=f"another evaluation: '{key}'"):
            run_suite(
                model, x, y, small_suite("pgd"), arguments["eps"], seed=int(arguments["seed"]), state_dir=tmp_path
            )
    with pytest.raises(UserError, match="'data'"):
        run_suite(model, x * 0.99, y, small_suite("pgd"), 0.3, seed=5, state_dir=tmp_path)
    with pytest.raises(UserError, match="'attacks'"):
        run_suite(model, x, y, small_suite("fab"), 0.3, seed=5, state_dir=tmp_path)
    with torch.no_grad():
        model[0].weight += 0.1  # type: ignore[operator]
    with pytest.raises(UserError, match="'model'"):
        run_suite(model, x, y, small_suite("pgd"), 0.3, seed=5, state_dir=tmp_path)


def test_state_of_a_model_that_differs_on_one_sample_is_refused(tmp_path: Path) -> None:
    """Also where it is the last one."""
    model, x, y = killable()

    def other(inputs: Tensor) -> Tensor:
        logits: Tensor = model(inputs)
        return torch.where((inputs == x[-1]).all(1, keepdim=True), -logits, logits)

    run_suite(lambda inputs: model(inputs), x, y, small_suite("pgd"), 0.3, seed=5, state_dir=tmp_path)
    with pytest.raises(UserError, match="is of another model: its logits differ"):
        run_suite(other, x, y, small_suite("pgd"), 0.3, seed=5, state_dir=tmp_path)


def test_state_made_with_other_code_of_an_attack_is_refused(tmp_path: Path) -> None:
    model, x, y = killable()
    plugin, file = tmp_path / "mine", tmp_path / "mine/attacks/corner.py"
    file.parent.mkdir(parents=True)
    code = "def corner(model, x, y, threat, generator):\n    return threat.project(x + 1, x)\n"
    suite = Suite(name="corner", attacks=(("corner", AttackSpec.model_construct(attack="corner")),))

    def evaluated(text: str) -> SuiteResult:
        file.write_text(text)
        for cached in (provenance._code_version, provenance._reached, provenance._read_module):
            cached.cache_clear()  # as a new process would begin
        catalog.use_plugins(plugin)
        return run_suite(model, x, y, suite, 0.3, seed=5, state_dir=tmp_path / "state")

    try:
        first = evaluated(code)
        assert same(evaluated(code + "# a remark\n"), first)
        with pytest.raises(UserError, match="of another evaluation: 'code' was"):
            evaluated(code.replace("x + 1", "x - 1"))
    finally:
        catalog.use_plugins(None)


def test_batches_of_another_evaluation_are_refused(tmp_path: Path) -> None:
    """A folder put together from two: each file bears the hash of its evaluation."""
    model, x, y = killable()
    for eps in (0.2, 0.3):
        run_suite(model, x, y, small_suite("pgd"), eps, seed=5, state_dir=tmp_path / str(eps))
    for stage in ("00-clean", "01-pgd"):
        own = next(tmp_path.glob(f"0.2/{stage}/*.safetensors"))
        kept = own.read_bytes()
        shutil.copy(next(tmp_path.glob(f"0.3/{stage}/*.safetensors")), own)
        with pytest.raises(CorruptFile, match=f"{own.name}' does not belong here: it is of another evaluation"):
            run_suite(model, x, y, small_suite("pgd"), 0.2, seed=5, state_dir=tmp_path / "0.2")
        own.write_bytes(kept)
    run_suite(model, x, y, small_suite("pgd"), 0.2, seed=5, state_dir=tmp_path / "0.2")


@pytest.mark.parametrize(
    ("stage", "said"), [("00-clean", "points are not the inputs of the stage"), ("01-pgd", "attack left the Linf ball")]
)
def test_points_of_a_state_are_checked_as_those_of_an_attack(tmp_path: Path, stage: str, said: str) -> None:
    model, x, y = killable()
    y[0] = (y[0] + 1) % 6  # a sample that is broken when clean
    run_suite(model, x, y, small_suite("pgd"), 0.3, seed=5, state_dir=tmp_path)
    path = next(tmp_path.glob(f"{stage}/*.safetensors"))
    tensors, metadata = checkpoints.load_checkpoint(path)
    assert len(tensors["x_adv"])
    tensors["x_adv"] = 1 - tensors["x_adv"]
    checkpoints.save_checkpoint(path, tensors, metadata)
    with pytest.raises(CorruptFile, match=f"{path.name}' does not belong here: .*{said}"):
        run_suite(model, x, y, small_suite("pgd"), 0.3, seed=5, state_dir=tmp_path)


@pytest.mark.fault
@pytest.mark.parametrize("content", ["[]", "5", "null", "{}"])
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_a_description_that_is_none_is_named(tmp_path: Path, content: str, precision: str) -> None:
    model, x, y = killable()
    (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(UserError, match=r"evaluation\.json' (describes no|names no)|of another evaluation"):
        run_suite(model, x, y, small_suite("pgd"), 0.3, seed=5, precision=precision, state_dir=tmp_path)


@pytest.mark.fault
def test_damaged_state_is_named_and_refused(tmp_path: Path) -> None:
    model, x, y = killable()
    run_suite(model, x, y, small_suite("pgd"), 0.3, seed=5, state_dir=tmp_path)
    batch = next(tmp_path.glob("01-pgd/*.safetensors"))
    content = batch.read_bytes()
    batch.write_bytes(content[:-5])
    with pytest.raises(CorruptFile, match=batch.name):
        run_suite(model, x, y, small_suite("pgd"), 0.3, seed=5, state_dir=tmp_path)
    batch.write_bytes(content)
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(CorruptFile, match=r"evaluation\.json"):
        run_suite(model, x, y, small_suite("pgd"), 0.3, seed=5, state_dir=tmp_path)


def test_bf16_is_as_strong_and_never_overstates(digits: Any) -> None:
    """Verdicts are fp32's, and near a boundary so are the losses: the robust accuracy is that of fp32 attacks."""
    suite = small_suite()
    exact, mixed = (
        run_suite(digits.model, digits.x, digits.y, suite, 0.12, seed=0, precision=p) for p in ("fp32", "bf16")
    )
    assert torch.equal(correctly_classified(digits.model, mixed.x_adv, digits.y), mixed.robust)
    assert mixed.robust_accuracy == pytest.approx(exact.robust_accuracy, abs=0.8)
    assert {row["precision"] for row in mixed.rows()} == {"bf16"}
    assert mixed.outcomes[0].broken.equal(exact.outcomes[0].broken)


def test_bf16_search_is_deterministic_and_independent_of_batch_size(digits: Any) -> None:
    runs = [
        run_suite(
            digits.model, digits.x[:90], digits.y[:90], small_suite(), 0.12, seed=0, batch_size=b, precision="bf16"
        )
        for b in (90, 90, 7)
    ]
    assert same(runs[0], runs[1])
    for first, other in zip(runs[0].outcomes, runs[2].outcomes, strict=True):
        assert torch.equal(first.broken, other.broken), first.name
    assert 0 < runs[0].robust_accuracy < runs[0].clean_accuracy


def test_auto_takes_the_quickest_precision_and_says_so(
    digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"seed": 0, "precision": "auto", "state_dir": tmp_path}
    x, y = digits.x[:40], digits.y[:40]
    result = run_suite(digits.model, x, y, small_suite("pgd", "apgd"), 0.12, **arguments)
    assert result.precision in ("fp32", *catalog.catalog_entries("precision"))
    assert {row["precision"] for row in result.rows()} == {result.precision}
    # What goes on goes on in the same precision, whatever the machine would choose by now.
    other = "bf16" if result.precision == "fp32" else "fp32"
    monkeypatch.setattr(suite_module, "quickest_precision", lambda *_: other)
    assert same(run_suite(digits.model, x, y, small_suite("pgd", "apgd"), 0.12, **arguments), result)
    afresh = run_suite(digits.model, x, y, small_suite("pgd"), 0.12, seed=0, precision="auto")
    assert afresh.precision == other


def test_the_quickest_precision_is_measured(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A form that is made slow is not taken, whichever it is."""
    original = craft_module.attacked_form

    for slow, quick in (("fp32", "bf16"), ("bf16", "fp32")):

        def attacked_form(model: Any, x: Tensor, y: Tensor, precision: str, slow: str = slow) -> SearchModel:
            form = original(model, x, y, precision)

            def slowly(x: Tensor) -> Tensor:
                time.sleep(0.02)
                return form.search(x)

            return SearchModel(form.model, slowly if precision == slow else form.low)

        monkeypatch.setattr(craft_module, "attacked_form", attacked_form)
        assert craft_module.quickest_precision(digits.model, digits.x, digits.y) == quick
    assert craft_module.quickest_precision(digits.model, digits.x[:0], digits.y[:0]) == "fp32"


def test_an_unknown_precision_is_refused_by_name(digits: Any) -> None:
    with pytest.raises(ConfigError, match="bf16"):
        craft(digits.model, digits.x, digits.y, AttackSpec(attack="pgd"), 0.1, seed=0, precision="fp8")


class Counted:
    """``function``, with the samples it has seen counted."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function, self.samples = function, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.samples += len(x)
        return self.function(x)


@pytest.mark.parametrize("name", ["apgd", "apgd_t", "fab", "square"])
def test_nobody_is_released_whom_fp32_does_not_misclassify(name: str) -> None:
    """The search calls every point but the clean one misclassified; each time fp32 is asked, and believed."""
    truth = Stubborn()
    x, y = torch.rand(6, 8), torch.zeros(6, dtype=torch.int64)

    def everything_is_wrong(points: Tensor) -> Tensor:
        moved = (points[:, None] != x).any(2).all(1)
        return torch.where(moved[:, None], truth(points).roll(1, dims=1), truth(points))

    spec = dict(small_suite().attacks)[name]
    exact, claim = Counted(truth), Counted(everything_is_wrong)
    model = SearchModel(exact, claim, closeness=2.0**-6)
    attack = catalog.load_function("attack", spec.attack)
    x_adv = attack(model, x, y, ThreatModel("Linf", 1.0), SampleGenerator.seeded(0, 6), **spec.parameters)
    assert claim.samples >= 6 * {"apgd": 8, "apgd_t": 15, "fab": 8, "square": 20}[name]  # nobody left early
    assert exact.samples >= 6 * 4
    assert (truth(x_adv).argmax(1) == y).all()
    assert (model.search(x + 0.01).argmax(1) != y).all()


def test_fab_in_bf16_finds_what_it_finds_in_fp32_and_asks_fp32_about_little_else(digits: Any) -> None:
    x, y, threat = digits.x[:150], digits.y[:150], ThreatModel("Linf", 0.12)
    exact = frozen_copy(digits.model, digits.x)
    asked, form = Counted(exact), bf16(exact)
    model = SearchModel(asked, form.low, closeness=form.closeness)
    budget = {"iterations": 20, "n_target_classes": 3}
    found = fab(model, x, y, threat, SampleGenerator.seeded(0, 150), **budget)
    alone = fab(exact, x, y, threat, SampleGenerator.seeded(0, 150), **budget)
    broken, broken_alone = (predict(exact, points).argmax(1) != y for points in (found, alone))
    assert torch.equal(broken, (found != x).flatten(1).any(1) | (predict(exact, x).argmax(1) != y))
    assert 30 < int(broken_alone.sum()) < 120
    assert int((broken != broken_alone).sum()) <= 3
    assert asked.samples < 0.25 * model.forwards, (asked.samples, model.forwards)


def test_square_keeps_only_what_fp32_finds_better(digits: Any) -> None:
    """The search adds noise to the logits, far larger than most gains, and still the true margin never falls."""
    x, y = digits.x[:40], digits.y[:40]

    def noisy(points: Tensor) -> Tensor:
        noise = torch.sin(1e4 * points.flatten(1).sum(1, keepdim=True) * torch.arange(1.0, 11.0))
        return digits.model(points) + noise

    reached = []
    for queries in (64, 128, 320, 640):  # the truth is asked every 64 queries
        with torch.no_grad():
            x_adv = square(
                SearchModel(digits.model, noisy), x, y, ThreatModel("Linf", 0.1), SampleGenerator.seeded(0, 40), queries=queries,
                rescale_schedule=False,
            )  # fmt: skip
            reached.append(margin(digits.model(x_adv), y))
    for fewer, more in itertools.pairwise(reached):
        assert ((more >= fewer - 1e-5) | (more > 0)).all()
    assert (reached[-1] > reached[0] + 0.5).float().mean() > 0.5


def test_square_asks_no_question_twice_and_misses_nothing(digits: Any) -> None:
    """The same points as the search that asks every query, for fewer passes."""
    x, y, threat = digits.x[:30].double(), digits.y[:30], ThreatModel("Linf", 0.08)
    model = copy.deepcopy(digits.model).double()
    counted, generator = SearchModel(model), SampleGenerator.seeded(3, 30)
    with torch.no_grad():
        found = square(counted, x, y, threat, generator, queries=150, rescale_schedule=False)
        wrong = model(x).argmax(1) != y
        images, labels, streams = x[~wrong], y[~wrong], SampleGenerator.seeded(3, 30).select(~wrong)
        best = square_module._stripes(images, threat, streams)
        highest = margin(model(best), labels)
        for query in range(150):
            share = square_module._window_share(query, 10_000, 0.8)
            candidate, _ = square_module._window(best, images, share, threat, streams)
            value = margin(model(candidate), labels)
            better = (value > highest) & (highest <= 0)  # a broken sample is finished
            highest = torch.where(better, value, highest)
            best[better] = candidate[better]
    torch.testing.assert_close(found[~wrong], best, rtol=0, atol=0)
    assert torch.equal(found[wrong], x[wrong])
    robust = int((highest <= 0).sum())
    assert 0 < robust < len(images)
    assert counted.forwards < 30 + len(images) * 151


def test_bf16_asks_fp32_about_what_is_near_a_boundary(digits: Any) -> None:
    model = bf16(frozen_copy(digits.model, digits.x))
    halfway = 0.5 * (digits.x[:200] + digits.x[1:201])
    exact, low = predict(model, halfway), predict(model.search, halfway)
    highest = exact.topk(2, dim=1)
    near = highest.values[:, 0] - highest.values[:, 1] < 2.0**-7 * exact.abs().amax(1)
    assert near.any() and not near.all()
    assert 1e-4 < (exact - low).abs().max() < 0.1 * exact.abs().max()
    y = torch.where(near, highest.indices[:, 1], highest.indices[:, 0])  # near ones are misclassified, by very little
    assert torch.equal(model.broken(halfway, y, low), near)


def test_rows_are_tidy_and_robustbench_fields_are_theirs(digits: Any) -> None:
    result = run_suite(digits.model, digits.x[:80], digits.y[:80], small_suite("pgd", "square"), 8 / 255, seed=0)
    rows = result.rows()
    columns = {frozenset(row) for row in rows}
    assert len(columns) == 1
    assert {"suite", "attack", "norm", "attack_eps", "samples", "metric", "value", "unit"} <= set(rows[0])
    final = [row for row in rows if row["attack"] == "small" and row["metric"] == "robust_accuracy"]
    assert [row["value"] for row in final] == [result.robust_accuracy]
    accuracies = [row["value"] for row in rows if row["metric"] in ("clean_accuracy", "robust_accuracy")]
    assert accuracies == sorted(accuracies, reverse=True)
    assert {"flag_randomised", "flag_zero_gradients", "flag_softmax_outputs", "flag_black_box_wins"} <= set(rows[0])
    record = to_robustbench(result, dataset="cifar10", architecture="PreActResNet-18", name="ours")
    assert json.loads(json.dumps(record)) == record
    assert record["eps"] == "8/255" and record["clean_acc"] == f"{result.clean_accuracy:.2f}"
    assert "autoattack_acc" not in record and record["small_acc"] == f"{result.robust_accuracy:.2f}"
    assert record["unreliable"] is False


class Noisy(Stubborn):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 10 * torch.randn(len(x), 6)


class Softmax(Stubborn):
    def forward(self, x: Tensor) -> Tensor:
        return (super().forward(x) / 1e3).softmax(1)


class Rounded(nn.Module):
    """Gradient masking: the input is rounded, so that its gradient is zero and only search finds the way."""

    def forward(self, x: Tensor) -> Tensor:
        level = (x.flatten(1).mean(1) * 40).round() / 40
        return torch.stack([0.52 - level + 0 * x.flatten(1).sum(1), level - 0.48], 1)


def test_flags_see_what_they_are_named_for() -> None:
    x, y = torch.rand(20, 8), torch.zeros(20, dtype=torch.int64)
    healthy = flags.of_model(Stubborn(), x * 10, torch.ones(20, dtype=torch.int64))
    assert healthy == {
        "flag_randomised": False,
        "flag_batch_dependent": False,
        "flag_zero_gradients": 0.0,
        "flag_nonfinite_gradients": 0.0,
        "flag_softmax_outputs": False,
    }
    assert not flags.unreliable(healthy)
    one_nan, one_zero = {**healthy, "flag_nonfinite_gradients": 0.5}, {**healthy, "flag_zero_gradients": 0.5}
    assert flags.unreliable(one_nan) and not flags.unreliable(one_zero)
    assert flags.of_model(Noisy(), x, y)["flag_randomised"]
    assert flags.of_model(Softmax(), x, y)["flag_softmax_outputs"]
    images = torch.rand(60, 1, 4, 4) * 0.1 + 0.42
    labels = torch.zeros(60, dtype=torch.int64)
    suite = small_suite("pgd", "square")
    result = run_suite(Rounded(), images, labels, suite, 0.1, seed=0)
    assert result.flags["flag_zero_gradients"] == 100.0
    assert result.flags["flag_black_box_wins"] is True
    assert flags.unreliable(result.flags)
    alone = run_suite(Rounded(), images, labels, small_suite("square"), 0.1, seed=0)
    assert alone.flags["flag_black_box_wins"] is False
    # An attack is gradient-free if it was seen to make no backward pass, whatever it is called.
    clean, gradients, search = result.outcomes
    renamed = dataclasses.replace(search, name="anything", spec=gradients.spec)
    assert flags.black_box_wins([clean, gradients, renamed])
    assert not flags.black_box_wins([clean, gradients, dataclasses.replace(search, backwards=1)])
    assert flags.non_monotone([90.0, 50.0, 50.3]) and not flags.non_monotone([90.0, 50.0, 50.1, 20.0])
    assert not flags.non_monotone([])


@pytest.mark.parametrize("count", [1, 2, 7, 128, 129, 500])
def test_flags_look_at_samples_of_the_whole_set(count: int) -> None:
    rows = flags.spread_rows(count).tolist()
    assert rows == sorted(set(rows)) and len(rows) == min(count, flags.FLAG_SAMPLES)
    assert rows[0] == 0 and rows[-1] == count - 1
    gaps = {after - row for row, after in itertools.pairwise(rows)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_suite_refuses_a_model_that_answers_nan() -> None:
    class Broken(Stubborn):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * torch.nan

    with pytest.raises(AttackError, match="NaN"):
        run_suite(Broken(), torch.rand(3, 8), torch.zeros(3, dtype=torch.int64), small_suite(), 0.1, seed=0)


def test_eps_curve_is_the_curve_of_one_eps_at_a_time_at_half_the_cost(digits: Any) -> None:
    spec = AttackSpec(attack="pgd", parameters={"steps": 20})
    eps_values = [0.0, 0.03, 0.06, 0.09, 0.12, 0.15, 0.2, 0.3]
    curve = eps_curve(digits.model, digits.x, digits.y, spec, eps_values, seed=0)
    shares = curve.robust_accuracy()
    assert shares == sorted(shares, reverse=True)
    assert curve.attacks <= 4
    for eps, share in zip(eps_values, shares, strict=True):
        x_adv = craft(digits.model, digits.x, digits.y, spec, eps, seed=0)
        alone = 100 * correctly_classified(digits.model, x_adv, digits.y).float().mean().item()
        # An eps that breaks a sample which a larger one missed, or the other way round, is worth a sample or two.
        assert share == pytest.approx(alone, abs=0.8), eps
    assert shares[0] > 90 > 30 > shares[-1]
    with pytest.raises(ConfigError, match="must rise"):
        eps_curve(digits.model, digits.x, digits.y, spec, [0.2, 0.1], seed=0)


def test_eps_curve_is_exact_for_a_linear_model() -> None:
    class Line(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([torch.zeros(len(x)), x.sum(1)], 1)

    x = torch.linspace(0.05, 1.0, 20)[:, None].expand(-1, 4) * 1.0
    y = torch.ones(20, dtype=torch.int64)
    spec = AttackSpec(attack="fgsm", bounds=None)
    radii = [0.11, 0.29, 0.51, 0.77, 1.2]
    curve = eps_curve(Line(), x, y, spec, radii, seed=0)
    expected = [100 * (x[:, 0] > eps).float().mean().item() for eps in radii]
    assert curve.robust_accuracy() == pytest.approx(expected)
