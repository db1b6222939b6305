"""Meta-class accuracies: identities, the order of the three readings, whole networks of parts, and independence of batches."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.hierarchical_pgd import Trial, for_each_target, hierarchical_pgd
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.data import Split
from robustscape.errors import ConfigError
from robustscape.evaluation import hierarchical_robustness as module
from robustscape.evaluation._meta_classes import (
    accuracy_rows,
    fixed_places,
    leaf_superclasses,
    logits_of,
    meta_right,
    summed_meta_right,
)
from robustscape.evaluation.chosen_hierarchical_robustness import chosen_hierarchical_robustness
from robustscape.evaluation.hierarchical_robustness import (
    Samples,
    hierarchical_robustness,
    hierarchical_survivors,
    variant_of,
)
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.models.hierarchical import HierarchicalNetwork

CLASSES = {"left": ["a", "b", "c"], "right": ["d", "e"]}
SUPERCLASS = [0, 0, 0, 1, 1]
SIZES = (3, 2)
FEATURES, COUNT, EPS = 12, 120, 0.12


def spec(steps: int = 5, norm: str = "Linf") -> AttackSpec:
    return AttackSpec.model_validate({"attack": "pgd", "norm": norm, "parameters": {"steps": steps}})


def suite(*specs: AttackSpec) -> Suite:
    return Suite(name="s", attacks=tuple((f"a{number}", one) for number, one in enumerate(specs)))


def data(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Noisy points around a centre a class."""
    centres = torch.rand(5, FEATURES, generator=torch.Generator().manual_seed(0))
    y = torch.arange(COUNT) % 5
    noise = 0.3 * torch.randn(COUNT, FEATURES, generator=torch.Generator().manual_seed(seed))
    return (centres[y] + noise).clamp(0, 1), y


def fitted(classes: int, x: Tensor, y: Tensor, seed: int) -> nn.Module:
    """A small net after some steps."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(FEATURES, 24), nn.ReLU(), nn.Linear(24, classes))
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


def run(part: Any, model: nn.Module, classes: int, architecture: str = "small") -> TrainedRun:
    """A run whose test samples have leaf labels, which only those of the flat net are read of."""
    config = {
        "dataset": {"name": f"d_{part}", "parameters": {"classes": CLASSES, "part": part}},
        "architecture": {"name": architecture},
        "recipe": {"name": "r"},
    }
    split = Split(*data(), 1.0)
    return TrainedRun(model, split, split, EPS, 4, torch.device("cpu"), classes, Path(), config, checkpoint="")


@functools.cache
def runs() -> list[TrainedRun]:
    x, y = data(seed=2)
    members = torch.tensor(SUPERCLASS)[y]
    found = [run("leaves", fitted(5, x, y, 0), 5, "large"), run("meta", fitted(2, x, members, 1), 2)]
    start = 0
    for number, size in enumerate(SIZES):
        own = members == number
        found.append(run(number, fitted(size, x[own], y[own] - start, 2 + number), size))
        start += size
    return found


@functools.cache
def rows(norm: str = "Linf", size: int | None = 60) -> list[dict[str, Any]]:
    eps = EPS if norm == "Linf" else 0.3
    return hierarchical_robustness(runs(), attacks=suite(spec(3, norm), spec(8, norm)), eps=eps, attacked_samples=size)


def value(found: list[dict[str, Any]], metric: str = "meta_accuracy", **where: Any) -> float:
    (row,) = [
        row for row in found if row["metric"] == metric and all(row.get(key) == level for key, level in where.items())
    ]
    return float(row["value"])


# -- the metrics -------------------------------------------------------------------------------------------------------


def test_accuracies_of_known_predictions() -> None:
    logits = 5.0 * F.one_hot(torch.tensor([0, 1, 3, 4, 0]), 5).float()
    y = torch.tensor([0, 0, 0, 3, 3])  # right; within; outside; within; outside
    found = accuracy_rows(logits, y, SUPERCLASS)
    assert value(found, "leaf_accuracy") == pytest.approx(20)
    assert value(found, "meta_accuracy") == pytest.approx(60)
    assert value(found, "p_meta_correct_given_leaf_wrong") == pytest.approx(50)
    leaf, p = value(found, "leaf_accuracy") / 100, value(found, "p_meta_correct_given_leaf_wrong") / 100
    assert value(found, "meta_accuracy") / 100 == pytest.approx(leaf + (1 - leaf) * p)


def test_the_highest_leaf_and_the_highest_sum_may_disagree() -> None:
    logits = torch.tensor([[0.3, 0.3, 0.0, 0.4, 0.0]]).clamp_min(1e-9).log()
    y = torch.tensor([0])
    assert not meta_right(logits, y, SUPERCLASS).any() and summed_meta_right(logits, y, SUPERCLASS).all()


def test_table_5_2_of_a_flat_net() -> None:
    """Of all samples, clean and under untargeted PGD: the three shares of the identity, and the chance of the second."""
    found = [row for row in rows() if row["network"] == "flat"]
    for family, attack in (("clean", "clean"), ("untargeted", "pgd8")):
        at = {"attack_family": family, "attack": attack}
        leaf, meta, p = (
            value(found, metric, **at)
            for metric in ("leaf_accuracy", "meta_accuracy", "p_meta_correct_given_leaf_wrong")
        )
        assert leaf < meta == pytest.approx(leaf + (100 - leaf) * p / 100)
    attacked = value(found, "leaf_accuracy", attack_family="untargeted", attack="pgd8")
    assert attacked < value(found, "leaf_accuracy", attack="clean")
    expected = 100 * (3 * 2 / 4 + 2 * 1 / 4) / 5  # classes of equal size
    assert value(found, "chance_given_leaf_wrong") == pytest.approx(expected)
    with pytest.raises(ConfigError, match="has the part 'meta', not all leaf classes"):
        leaf_superclasses(runs()[1])


# -- attacks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("network", ["flat", "har"])
def test_attacks_are_in_their_order(network: str, norm: str) -> None:
    found = rows(norm)
    clean = value(found, network=network, attack="clean_of_attacked")
    for attack in ("pgd3", "pgd8"):
        at = {"network": network, "attack": attack}
        meta, group, strict = (
            value(found, metric, **at, attack_family="hierarchical")
            for metric in ("meta_accuracy", "meta_accuracy_target_meta", "meta_accuracy_strict")
        )
        assert meta <= group <= strict <= clean and strict < clean
        families = {r["attack_family"] for r in found if r["network"] == network and r["attack"] == attack}
        of_all = {"untargeted", *(["meta"] if network == "har" else [])}
        of_attacked = {f"{family}_of_attacked" for family in of_all} | {"hierarchical", "group_loss", "worst_case"}
        assert families == of_all | of_attacked
        counts = {r["attack_family"]: r["samples"] for r in found if r["network"] == network and r["attack"] == attack}
        assert counts == dict.fromkeys(of_all, COUNT) | dict.fromkeys(of_attacked, 60)
        worst = value(found, **at, attack_family="worst_case")
        assert all(worst <= value(found, **at, attack_family=family) for family in of_attacked)
        untargeted = value(found, **at, attack_family="untargeted_of_attacked")
        (row,) = [
            r
            for r in found
            if r["metric"] == "meta_accuracy"
            and r["attack_family"] == "hierarchical"
            and r["attack"] == attack
            and r["network"] == network
        ]
        assert row["flag_weaker_than_untargeted"] == int(meta > untargeted)
        assert (row["samples"], row["norm"], row["steps"]) == (60, norm, int(attack[3:]))
    assert value(found, network=network, attack="pgd8", attack_family="hierarchical") < untargeted


def test_clean_rows_are_of_all_samples_and_the_networks_see_the_same() -> None:
    found = rows()
    x, y = data()
    flat, meta, *leaves = (one.model for one in runs())
    har = HierarchicalNetwork(meta, leaves, SIZES)
    for network, model in (("flat", flat), ("har", har)):
        expected = 100 * meta_right(model(x), y, SUPERCLASS).double().mean().item()
        assert value(found, network=network, attack="clean") == pytest.approx(expected)
        places = fixed_places(COUNT, 60)
        expected = 100 * meta_right(model(x[places]), y[places], SUPERCLASS).double().mean().item()
        assert value(found, network=network, attack="clean_of_attacked") == pytest.approx(expected)
    har_rows = [row for row in found if row["network"] == "har"]
    assert {row["dataset"] for row in har_rows} == {None} and {row["architecture"] for row in har_rows} == {"small"}
    assert {row["dataset"] for row in found if row["network"] == "flat"} == {"d_leaves"}


def test_untargeted_attacks_of_all_samples_are_those_of_the_attacked_ones() -> None:
    """The same adversarial examples: attacking the part alone, from the same places, gives the same rows."""
    x, y = data()
    places = fixed_places(COUNT, 60)
    whole, part = rows(), Samples(x, y, torch.arange(COUNT), SUPERCLASS, EPS, 4).select(places)
    for name, model in networks().items():
        points = module.craft(model, part.x, part.y, spec(8), EPS, seed=4, index=part.places)
        expected = 100 * meta_right(model(points), part.y, SUPERCLASS).double().mean().item()
        at = {"network": name, "attack": "pgd8"}
        assert value(whole, **at, attack_family="untargeted_of_attacked") == pytest.approx(expected)
        assert value(whole, **at, attack_family="untargeted") != pytest.approx(expected)


def test_clean_samples_are_passed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = data()
    clean: list[int] = []

    def counted(model: nn.Module, points: Tensor, y: Tensor) -> Tensor:
        clean.append(sum(any(torch.equal(point, one) for one in x) for point in points))
        return logits_of(model, points, y)

    monkeypatch.setattr(module, "logits_of", counted)
    hierarchical_robustness(runs(), attacks=suite(spec(2), spec(3)), eps=EPS, attacked_samples=20)
    assert [count for count in clean if count] == [COUNT, COUNT]  # once a network


def test_paired_counts_are_those_of_the_samples() -> None:
    found = rows()
    for attack in ("pgd3", "pgd8"):
        har, flat = (value(found, network=n, attack=attack, attack_family="hierarchical") for n in ("har", "flat"))
        only_har, only_flat = (
            value(found, metric, network="paired", attack=attack) for metric in ("only_har_right", "only_flat_right")
        )
        assert 100 * (only_har - only_flat) / 60 == pytest.approx(har - flat, abs=1e-9)


def networks() -> dict[str, nn.Module]:
    flat, meta, *leaves = (one.model for one in runs())
    return {"flat": flat, "har": HierarchicalNetwork(meta, leaves, SIZES).eval()}


@pytest.mark.parametrize("network", ["flat", "har"])
def test_survivors_depend_on_the_sample_alone(network: str) -> None:
    x, y = data()
    model, whole = networks()[network], Samples(x, y, torch.arange(COUNT), SUPERCLASS, EPS, 4)
    clean = meta_right(model(x), y, SUPERCLASS)
    expected = hierarchical_survivors(model, whole, spec(6), clean)
    small = hierarchical_survivors(model, whole, spec(6), clean, batch_size=7)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    shuffled = hierarchical_survivors(model, whole.select(order), spec(6), clean[order])
    for criterion, mask in expected.items():
        assert torch.equal(small[criterion], mask) and torch.equal(shuffled[criterion], mask[order])
        points = hierarchical_pgd(
            model,
            x,
            y,
            ThreatModel("Linf", EPS),
            SampleGenerator.seeded(4, COUNT),
            superclass=SUPERCLASS,
            steps=6,
            success=criterion,  # type: ignore[arg-type]
        )
        assert torch.equal(meta_right(model(points), y, SUPERCLASS), mask)  # what the attack of that criterion leaves
    assert 0 < expected["superclass"].sum() <= expected["target"].sum() < meta_right(model(x), y, SUPERCLASS).sum()


@pytest.mark.parametrize("network", ["flat", "har"])
def test_no_single_target_breaks_what_all_of_them_leave(network: str) -> None:
    x, y = data()
    model = networks()[network]
    for criterion in ("superclass", "target"):
        left = {
            targets: meta_right(
                model(
                    hierarchical_pgd(
                        model,
                        x,
                        y,
                        ThreatModel("Linf", EPS),
                        SampleGenerator.seeded(4, COUNT),
                        superclass=SUPERCLASS,
                        case=targets,  # type: ignore[arg-type]
                        success=criterion,  # type: ignore[arg-type]
                    )
                ),
                y,
                SUPERCLASS,
            )
            for targets in ("worst", "average")
        }
        assert not (left["worst"] & ~left["average"]).any() and left["worst"].sum() < left["average"].sum()


def test_a_network_of_parts_is_attacked_as_the_whole_is() -> None:
    """The cheap step of a hierarchical network, against the same attack on a function that gives all its log-probabilities."""
    x, y = data()
    x = x.double()
    har = networks()["har"].double()
    found: dict[str, list[Trial]] = {"parts": [], "whole": []}
    for name, model in (("parts", har), ("whole", lambda points: har(points))):

        def visit(trial: Trial, name: str = name) -> Tensor:
            found[name].append(trial)
            return trial.logits.argmax(1) == trial.goal

        for_each_target(
            model,
            x,
            y,
            ThreatModel("L2", 0.3),
            SampleGenerator.seeded(1, COUNT),
            visit,
            superclass=SUPERCLASS,
            steps=6,
            step_size=None,
            rel_step_size=0.25,
        )
    networks()["har"].float()
    assert len(found["parts"]) == len(found["whole"]) == 3
    for one, other in zip(found["parts"], found["whole"], strict=True):
        assert torch.equal(one.rows, other.rows) and torch.equal(one.goal, other.goal)
        torch.testing.assert_close(one.point, other.point)
        members = torch.tensor(SUPERCLASS)
        assert (members[one.goal] != members[y[one.rows]]).all()


def test_the_attacked_samples_are_drawn_once() -> None:
    places = fixed_places(1000, 100)
    assert torch.equal(places, fixed_places(1000, 100)) and len(set(places.tolist())) == 100
    assert torch.equal(places.sort().values, places) and 400 < places.double().mean() < 600
    assert places[-1] > 900 and fixed_places(50, None).tolist() == list(range(50)) == fixed_places(50, 60).tolist()


def test_attacks_at_no_budget_leave_what_is_right() -> None:
    found = hierarchical_robustness(runs(), attacks=suite(spec(2)), eps=0.0)
    for network in ("flat", "har"):
        clean = value(found, network=network, attack="clean")
        assert all(
            row["value"] == pytest.approx(clean)
            for row in found
            if row["network"] == network and row["metric"].startswith("meta_accuracy") and "sum" not in row["metric"]
        )


def test_variants_have_the_steps_of_their_pgd() -> None:
    given = AttackSpec.model_validate(
        {"attack": "pgd", "norm": "L2", "parameters": {"steps": 50, "step_size": 0.025, "random_start": False}}
    )
    for attack in ("group_loss_pgd", "pgd_meta"):
        made = variant_of(given, attack, SUPERCLASS)
        assert (made.norm, made.bounds, made.model_mode) == ("L2", given.bounds, "eval")
        assert {key: made.parameters[key] for key in ("steps", "step_size", "rel_step_size", "random_start")} == {
            key: given.parameters[key] for key in ("steps", "step_size", "rel_step_size", "random_start")
        }


# -- a setting that is chosen ------------------------------------------------------------------------------------------


class Guess(nn.Module):
    """Always answers one class, whatever the attack: its accuracy is that of the class."""

    def __init__(self, classes: int, answer: int) -> None:
        super().__init__()
        self.answer = nn.Parameter(8.0 * F.one_hot(torch.tensor(answer), classes).float())

    def forward(self, x: Tensor) -> Tensor:
        return self.answer + 0 * x[:, :1]


def swept(part: Any, model: nn.Module, beta: float, seed: int = 4) -> TrainedRun:
    found = run(part, model, 5)
    found.config["recipe"] = {"name": f"trades-beta{beta:g}", "method": "trades", "parameters": {"beta": beta}}
    return dataclasses.replace(found, seed=seed)


def choose(*members: TrainedRun, size: int = 60) -> list[dict[str, Any]]:
    return chosen_hierarchical_robustness(
        list(members), attacks=suite(spec(2)), by=spec(2), eps=EPS, attacked_samples=size
    )


def test_each_part_has_the_setting_that_is_best_for_it() -> None:
    """Good nets have beta 1 as the flat net and as leaf classifiers, beta 6 as the meta-classifier; the others guess."""
    flat, meta, *leaves = (one.model for one in runs())
    good = {"leaves": (flat, 1.0), "meta": (meta, 6.0), 0: (leaves[0], 1.0), 1: (leaves[1], 1.0)}
    classes = {"leaves": 5, "meta": 2, 0: 3, 1: 2}
    members = [swept(part, model, beta) for part, (model, beta) in good.items()]
    members += [swept(part, Guess(classes[part], 0), 7.0 - beta) for part, (_, beta) in good.items()]
    found = choose(*members)
    betas = {row["network"]: row["value"] for row in found if row["metric"] == "chosen_beta"}
    assert betas == {"flat": 1.0, "meta_classifier": 6.0, "leaf_classifiers": 1.0}
    expected = hierarchical_robustness(runs(), attacks=suite(spec(2)), eps=EPS, attacked_samples=60)
    measured = [row for row in found if row["metric"] != "chosen_beta"]
    assert [row["value"] for row in measured] == [row["value"] for row in expected]
    assert {row["method"] for row in found} == {"trades"} and {row["seed"] for row in measured} == {4}
    recipes = {row["network"]: row["recipe"] for row in measured}
    assert recipes == {"flat": "trades-beta1", "har": None, "paired": None}


def test_the_attacked_images_do_not_choose() -> None:
    """Of two guesses one is right on many attacked images, the other on many of those that are left."""
    _, y = data()
    attacked = torch.zeros(COUNT, dtype=torch.bool)
    attacked[fixed_places(COUNT, 60)] = True
    more = (y[attacked].bincount(minlength=5) - y[~attacked].bincount(minlength=5)).argsort()
    for_left, for_attacked = int(more[0]), int(more[-1])
    assert (y[~attacked] == for_left).sum() > (y[~attacked] == for_attacked).sum()
    assert (y[attacked] == for_left).sum() < (y[attacked] == for_attacked).sum()
    found = choose(swept("leaves", Guess(5, for_attacked), 6.0), swept("leaves", Guess(5, for_left), 1.0))
    assert value(found, "chosen_beta", network="flat") == 1.0


def test_one_setting_is_chosen_for_all_seeds() -> None:
    flat = runs()[0].model
    members = [swept("leaves", flat, 1.0, 0), swept("leaves", flat, 1.0, 1)]
    members += [swept("leaves", flat, 6.0, 0), swept("leaves", Guess(5, 0), 6.0, 1)]
    found = choose(*members)
    assert value(found, "chosen_beta", network="flat") == 1.0
    assert {row["seed"] for row in found if row["metric"] != "chosen_beta"} == {0, 1}


def test_settings_that_cannot_be_chosen_are_refused() -> None:
    flat, meta = runs()[0].model, runs()[1].model
    with pytest.raises(ConfigError, match="attacked_samples' got 120, which leaves no test image"):
        choose(swept("leaves", flat, 1.0), swept("leaves", flat, 6.0), size=COUNT)
    with pytest.raises(ConfigError, match="no run is trained on all leaf classes"):
        choose(swept("meta", meta, 1.0))
    standard = swept("leaves", flat, 1.0)
    standard.config["recipe"] |= {"method": "standard", "parameters": {}}
    with pytest.raises(ConfigError, match="the runs are of standard, trades"):
        choose(swept("leaves", flat, 1.0), standard)
    with pytest.raises(ConfigError, match="standard has no parameter beta"):
        choose(standard)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_runs_of_no_whole_network_are_refused() -> None:
    flat, meta, *leaves = runs()
    some = {"attacks": suite(spec(1)), "eps": EPS}
    assert {row["network"] for row in hierarchical_robustness([flat], **some)} == {"flat"}
    with pytest.raises(ConfigError, match="the runs are of meta, 0"):
        hierarchical_robustness([flat, meta, leaves[0]], **some)
    with pytest.raises(ConfigError, match="the runs are of meta, 0, 1, 1"):
        hierarchical_robustness([flat, meta, *leaves, leaves[1]], **some)
    with pytest.raises(ConfigError, match="0 of the runs are trained on all leaf classes"):
        hierarchical_robustness([meta, *leaves], **some)
    other = run("leaves", flat.model, 5)
    other.config["dataset"] = {"name": "plain", "parameters": {}}
    with pytest.raises(ConfigError, match="data set 'plain' has no meta-classes"):
        hierarchical_robustness([other], **some)


def test_only_pgd_gives_the_steps() -> None:
    with pytest.raises(ConfigError, match="attack 'a0' is fgsm; allowed is pgd"):
        hierarchical_robustness(runs(), attacks=suite(AttackSpec(attack="fgsm")), eps=EPS)
    assert module.METRIC_OF_CRITERION["superclass"] == "meta_accuracy"
