"""Prices of jobs, what they ask a scheduler for, and what the command says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from robustscape.cli.main import main
from robustscape.config.loading import load_experiment
from robustscape.config.scales import Resources, StageResources
from robustscape.errors import ConfigError
from robustscape.pipeline.cost.estimates import Estimates, aligned, significant
from robustscape.pipeline.cost.needs import MEMORY_MARGIN, TIME_MARGIN, list_needs
from robustscape.pipeline.cost.prices import START, Rate, Work, price_jobs, read_rate
from robustscape.pipeline.cost.sizes import NetSize
from robustscape.pipeline.jobs import Job, list_jobs
from robustscape.pipeline.plan import Plan

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def yamada() -> tuple[Plan, list[Job]]:
    """The plan of one work at the scale small, and its jobs."""
    plan = Plan(load_experiment(ROOT / "config", "small"), Path("results"), ["yamada2021"])
    return plan, list_jobs(plan)


def with_resources(plan: Plan, **changes: object) -> Plan:
    """The plan with other resources of its scale."""
    scale = plan.experiment.scale
    resources = Resources.model_validate({**scale.resources.model_dump(), **changes})
    experiment = replace(plan.experiment, scale=scale.model_copy(update={"resources": resources}))
    return Plan(experiment, Path("results"), list(plan.studies))


def test_time_is_that_of_operations_or_of_starting_kernels() -> None:
    net = NetSize(flop=1e9, weights=10, activations=10, layers=40)
    work = Work(passes=1e6, batch=100, net=net)
    assert work.flop == 1e15
    assert work.seconds(Rate(30.0, 0.0)) == pytest.approx(1e15 / 30e12)
    slow = work.seconds(Rate(30.0, 1000.0))
    assert slow == pytest.approx(1e6 / 100 * 40 * 2.05 * 1e-3)
    assert Work(1e6, 1000, net).seconds(Rate(30.0, 1000.0)) < slow


def test_every_job_has_a_price_and_training_more_costs_more(yamada: tuple[Plan, list[Job]]) -> None:
    plan, jobs = yamada
    prices = price_jobs(plan, jobs)
    assert all(price.priced for price in prices)
    for job, price in zip(jobs, prices, strict=True):
        computes = job.stage in ("train", "evaluate", "landscape", "compare")
        assert price.flop > 0 if job.stage == "train" else computes or price.flop == 0, job
        assert price.disk > 0 and price.memory > 0
    scale = plan.experiment.scale
    longer = {
        name: recipe.model_copy(update={"epochs": 2 * recipe.epochs})
        for name, recipe in plan.experiment.recipes.items()
    }
    twice = price_jobs(
        Plan(replace(plan.experiment, recipes=longer, scale=scale), Path("results"), ["yamada2021"]), jobs
    )
    for job, price, other in zip(jobs, prices, twice, strict=True):
        if job.stage == "train":
            assert 1.5 < other.flop / price.flop <= 2


def test_jobs_ask_for_what_the_stage_says_where_no_speed_is_stated(yamada: tuple[Plan, list[Job]]) -> None:
    plan, jobs = yamada
    for job, needs in zip(jobs, list_needs(plan, jobs), strict=True):
        stage = plan.experiment.scale.resources.of_stage(job.stage)
        assert (needs.threads, needs.mem_mb, needs.runtime, needs.gpu) == (
            stage.threads,
            stage.mem_mb,
            stage.runtime,
            stage.gpu,
        )
        assert needs.resources == {"mem_mb": stage.mem_mb, "runtime": stage.runtime, "gpu": 0}


def test_jobs_ask_for_time_and_memory_by_their_passes(yamada: tuple[Plan, list[Job]]) -> None:
    plan, jobs = yamada
    gpu = {"gpu": 1, "mem_mb": 100, "runtime": 1, "partition": "big"}
    timed = with_resources(plan, tflops=1e-2, longest=10, train=gpu)
    rate = Rate(1e-2)
    found = {}
    for job, price, needs in zip(jobs, price_jobs(timed, jobs), list_needs(timed, jobs), strict=True):
        if job.stage == "train":
            minutes = TIME_MARGIN * price.seconds(rate) / 60
            assert min(minutes, 10) <= needs.runtime <= min(minutes + 1, 10)
            assert needs.mem_mb == pytest.approx(MEMORY_MARGIN * price.memory / 1e6, abs=1)
            assert needs.resources["slurm_partition"] == "big"
            found[job.name] = needs.runtime
        else:
            assert "slurm_partition" not in needs.resources
    assert max(found.values()) == 10, "the longest is cut, and goes on in the next attempt"
    assert min(found.values()) < 10
    strange = [replace_networks(timed)]
    assert {
        needs.runtime for job, needs in zip(jobs, list_needs(strange[0], jobs), strict=True) if job.stage == "train"
    } == {10}


def replace_networks(plan: Plan) -> Plan:
    """The plan with networks that nobody has counted."""
    strange = {
        name: entry.model_copy(update={"parameters": {**entry.parameters, "width": 17}})
        for name, entry in plan.experiment.architectures.items()
    }
    return Plan(replace(plan.experiment, architectures=strange), Path("results"), list(plan.studies))


def test_stages_that_are_not_named_are_as_others() -> None:
    resources = Resources(
        train=StageResources(threads=2), evaluate=StageResources(threads=3), theory=StageResources(threads=5)
    )
    threads = {stage: one.threads for stage, one in resources.stages.items()}
    assert threads == {
        "train": 2,
        "evaluate": 3,
        "landscape": 3,
        "compare": 3,
        "theory": 5,
        **dict.fromkeys(["item", "prepare", "claims", "report"], 1),
    }


def test_a_part_of_the_plan(yamada: tuple[Plan, list[Job]]) -> None:
    plan, _ = yamada
    estimates = Estimates(plan, Rate(0.03))
    whole = estimates.estimate(estimates.jobs)
    item = estimates.estimate(estimates.select(["yamada2021/table_1"]))
    mnist = estimates.estimate(estimates.select(["yamada2021_on_mnist2"]))
    assert 0 < item.hours < whole.hours and 0 < mnist.hours < whole.hours
    assert whole.runs == len(plan.runs) and mnist.runs < whole.runs
    assert {
        job.targets[0].split("/")[0] for job in estimates.select(["yamada2021_on_mnist2"]) if job.stage == "train"
    } == {"mnist2_5k"}
    assert whole.longest[0] <= estimates.chain_days(estimates.jobs) * 24 <= estimates.days(estimates.jobs, 1) * 24
    assert estimates.days(estimates.jobs, 8) <= estimates.days(estimates.jobs, 1)
    text = "\n".join(estimates.lines(["yamada2021_on_mnist2"], [1, 8]))
    assert "together" in text and "on 8 cores" in text
    for unknown in ("yamada", "yamada2021_on_cifar100", "yamada2021/table_99"):
        with pytest.raises(ConfigError, match="unknown"):
            estimates.select([unknown])


def test_fewer_seeds_train_fewer_runs_but_a_curve_keeps_its_ends() -> None:
    experiment = load_experiment(ROOT / "config", "small")
    assert experiment.with_seeds(None) is experiment
    one = experiment.with_seeds(1)
    assert one.scale.recipes == experiment.scale.recipes
    seeds = {name: {planned.run.seed for planned in one.runs("liu2020", name)} for name in one.studies["liu2020"].runs}
    assert seeds["mnist_pair"] == {0, 1} and seeds["mnist_pair_00"] == {0, 1}
    assert all(len(found) == 1 for name, found in seeds.items() if "pair" not in name)
    assert experiment.with_seeds(99).runs("yamada2021", "mnist2_pgd_l2") == experiment.runs(
        "yamada2021", "mnist2_pgd_l2"
    )


def test_a_rate_is_read_and_a_wrong_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "measured.json"
    path.write_text(json.dumps({"tflops": 41, "device": "a GPU"}))
    assert read_rate(path) == Rate(41.0, 10.0, "measured.json: a GPU")
    for text in ("[]", "{}", '{"tflops": "fast"}', "no JSON", '{"tflops": 0}', '{"tflops": 1, "microseconds": -1}'):
        path.write_text(text)
        with pytest.raises(ConfigError, match="allowed is an object with tflops"):
            read_rate(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_rate(tmp_path / "nowhere.json")


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert (
        main(["--scale", "small", "--seeds", "1", "cost", "yamada2021/table_1", "--tflops", "0.05", "--gpus", "2"]) == 0
    )
    out = capsys.readouterr().out
    assert "0.05 TFLOP/s" in out and "on 2 cores" in out and "yamada2021/table_1" in out
    assert main(["--scale", "small", "cost", "--tflops", "-1"]) == 2
    assert "allowed is a number above 0" in capsys.readouterr().err


def test_numbers_as_text() -> None:
    assert significant(0.0004567) == "0.00046" and significant(98765.0) == "99000" and significant(12.0) == "12"
    assert aligned([("a", "10"), ("bcd", "9")]) == ["a    10", "bcd   9"]


def test_the_start_of_a_process_counts(yamada: tuple[Plan, list[Job]]) -> None:
    plan, jobs = yamada
    (report,) = [price for job, price in zip(jobs, price_jobs(plan, jobs), strict=True) if job.stage == "report"]
    assert report.seconds(Rate(1.0)) == START


@pytest.mark.slow
def test_at_paper_every_job_is_counted_and_ends_within_the_attempts_of_the_profile() -> None:
    plan = Plan(load_experiment(ROOT / "config", "paper"), Path("results"))
    jobs = list_jobs(plan)
    resources = plan.experiment.scale.resources
    assert resources.longest is not None and resources.tflops is not None
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    attempts = 1 + profile["retries"]
    for job, price in zip(jobs, price_jobs(plan, jobs), strict=True):
        assert price.priced, job
        # No single GPU trains a large network on ImageNet; docs/explanation/cost.md says what to do instead.
        if not (job.stage == "train" and job.targets[0].startswith("imagenet/")):
            assert price.seconds(Rate(resources.tflops)) < attempts * resources.longest * 60, job
    minutes = {needs.runtime for job, needs in zip(jobs, list_needs(plan, jobs), strict=True) if job.stage == "train"}
    assert len(minutes) > 20 and min(minutes) == 30 and max(minutes) == resources.longest


@pytest.fixture(scope="module")
def paper() -> Plan:
    """The plan of ma2025 at the scale paper."""
    return Plan(load_experiment(ROOT / "config", "paper"), Path("results"), ["ma2025"])


def passes_of(plan: Plan, comparison: str) -> float:
    """Passes of a comparison."""
    (price,) = price_jobs(plan, [Job("compare", "one", (f"ma2025/{comparison}",), (), (), "")])
    assert price.priced
    return price.passes


def test_every_setting_is_compared_by_one_attack_and_the_best_ones_are_attacked(paper: Plan) -> None:
    """Of TRADES and MART seven settings, of MMA six, three seeds each."""
    steps = {"ma2025_pgd20": 40, "ma2025_pgd100": 200, "ma2025_pgd200": 400, "ma2025_pgd1000": 2000}
    suite = 2 + sum(steps.values()) + (40 + 1) * 50
    found = passes_of(paper, "ch3_chosen_white_box")
    assert found == 10_000 * (3 * 3 * (1 + suite + 6) + 3 * (7 + 7 + 6) * (40 + 1))


def test_transferred_examples_are_made_once_a_source_and_budget(paper: Plan) -> None:
    """PGD-10, three methods of which the best setting counts, FOAR and SOAR with three starts each; three seeds of all."""
    targets = 3 * (1 + 3 + 3 + 3)
    (source,) = {
        run for run in paper.runs if run.recipe == "ma2025_ch3-source" and run.architecture.startswith("resnet")
    }
    assert source.eps == 0
    assert passes_of(paper, "ch3_transfer_r20") == 10_000 * (40 + targets + 3 * (7 + 7 + 6) * (40 + 1))


def test_a_step_towards_a_target_passes_two_parts_and_an_untargeted_one_all_of_them(paper: Plan) -> None:
    """Two meta-classes of CIFAR-10: a flat net, and a network of three parts."""
    steps, classes, whole, some = (40 + 1) + (400 + 1), 10, 10_000, 1_000
    untargeted = whole * (1 + steps) + some * steps
    targeted = some * (1 + 0.5 * (classes - 1) * steps)
    groups = 2 * 3
    expected = groups * (untargeted + targeted + 3 * untargeted + 2 * targeted + whole * steps)
    assert passes_of(paper, "ch5_c10_linf") == expected
