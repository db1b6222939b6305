"""Measures of kim2023 chapters 2 and 3: closed forms, exact cases, identities, and what must not depend on anything."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from made_up import vouch_for
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec, Suite
from robustscape.data import Split
from robustscape.errors import ConfigError, UserError
from robustscape.evaluation import margins as margins_module
from robustscape.evaluation._method_columns import method_columns
from robustscape.evaluation.attack_accuracies import CLEAN_OF_ATTACKED, attack_accuracies
from robustscape.evaluation.best_robust_accuracies import best_robust_accuracies
from robustscape.evaluation.blackbox_accuracy import blackbox_accuracy
from robustscape.evaluation.bridges import bridges, log_probabilities_along_path
from robustscape.evaluation.collapse_rule import collapsed, training_state
from robustscape.evaluation.distortion import distortion
from robustscape.evaluation.errors_under_attacks import errors_under_attacks
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.harness.distorted import distorted, percent_of
from robustscape.evaluation.logs.collapse import collapse, rank_correlation, start_of_final_stretch
from robustscape.evaluation.logs.training_time import training_time
from robustscape.evaluation.loss_projections import margin_projections, term_gradients, weighted_projection
from robustscape.evaluation.margins import error_decomposition, margins, measure_examples, probabilistic_margin
from robustscape.evaluation.monitor import input_gradient_norms, overfitting_signs
from robustscape.evaluation.nonlinearity import loss_nonlinearity, nonlinearity
from robustscape.evaluation.robust_suite import robust_suite
from robustscape.evaluation.smoothness import divergence, log_ratios
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape.input_surface import input_surface
from robustscape.training.observers import ProbeContext
from robustscape.training.probes import distortion as distortion_probe
from robustscape.training.probes import margin as margin_probe
from robustscape.training.probes import margin_projection
from robustscape.training.probes import nonlinearity as nonlinearity_probe

EPS = 0.2
PGD = AttackSpec(attack="pgd", parameters={"steps": 5, "rel_step_size": 0.4})
FGSM = AttackSpec(attack="fgsm")


def linear(classes: int = 2, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, classes)).to(dtype).eval()


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sin()


def bent(seed: int = 0, dtype: torch.dtype = torch.float32, frequency: float = 0.7) -> nn.Module:
    """A net with many decision boundaries within eps."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 64), Sine(), nn.Linear(64, 3))
    nn.init.normal_(net[1].weight, std=frequency)
    return net.to(dtype).eval()


def inputs(count: int = 60, classes: int = 2, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.rand(count, 1, 4, 4, generator=draw).to(dtype), torch.randint(classes, (count,), generator=draw)


def make_run(model: nn.Module, path: Path = Path("/nowhere"), eps: float = EPS, **recipe: Any) -> TrainedRun:
    draw = torch.Generator().manual_seed(2)
    x = torch.randint(0, 256, (60, 1, 4, 4), generator=draw, dtype=torch.uint8)
    y = model(x / 255).argmax(1)
    y[::5] = (y[::5] + 1) % 2
    names = {"dataset": {"name": "d"}, "architecture": {"name": "a"}}
    config = {**names, "recipe": {"name": "r", "batch_size": 16, **recipe}}
    return TrainedRun(
        model, Split(x, y, 255.0), Split(x, y, 255.0), eps, 0, torch.device("cpu"), 3, path, config, "checkpoint"
    )


def value(rows: list[dict[str, Any]], metric: str, **where: Any) -> float:
    found = [r for r in rows if r["metric"] == metric and all(r.get(k) == v for k, v in where.items())]
    assert len(found) == 1, f"{len(found)} rows of {metric}"
    number: float = found[0]["value"]
    return number


# -- distortion --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_linear_classifier_of_two_classes_has_no_distortion(seed: int) -> None:
    """A half-space meets a segment in a segment: exactly 0, and there are samples to count."""
    model, (x, y) = linear(seed=seed), inputs()
    inside, counted = distorted(model, x, y, 0.05, 100)
    assert counted.sum() > 0 and inside.sum() == 0 and percent_of(inside, counted) == 0.0


class Band(nn.Module):
    """Wrong in a band of the first pixel, with a loss that always rises along it: distortion known in advance."""

    def forward(self, x: Tensor) -> Tensor:
        value = x.flatten(1)[:, 0]
        wrong = (value > 0.52) & (value < 0.58)
        return torch.stack([(~wrong).float() - 1e-3 * value, wrong.float() + 1e-3 * value], 1)


def test_distortion_is_the_share_of_what_is_right_at_both_ends() -> None:
    x = torch.full((4, 1, 4, 4), 0.5)
    x[1], x[2], x[3] = 0.55, 0.45, 0.7  # wrong at 0; wrong at the end (0.45 + 0.1); never near the band
    y = torch.zeros(4, dtype=torch.int64)
    inside, counted = distorted(Band(), x, y, 0.1, 100)
    assert counted.tolist() == [True, False, False, True]
    assert inside.tolist() == [True, False, False, False]
    assert percent_of(inside, counted) == 50.0
    assert math.isnan(percent_of(inside, torch.zeros(4, dtype=torch.bool)))


def test_distortion_against_the_definition_and_on_finer_grids() -> None:
    model, (x, _) = bent(frequency=6.0), inputs(200)
    y = model(x).argmax(1)
    full = craft(model, x, y, FGSM, EPS, seed=0)
    right = [model(torch.lerp(x, full, i / 10)).argmax(1) == y for i in range(11)]
    counted = right[0] & right[10]
    expected = counted & ~torch.stack(right[1:10]).all(0)
    inside, ours = distorted(model, x, y, EPS, 9)
    assert torch.equal(ours, counted) and torch.equal(inside, expected) and inside.sum() > 0
    finer, _ = distorted(model, x, y, EPS, 99)  # i/100 contains i/10
    assert (finer | ~inside).all() and finer.sum() >= inside.sum()


def test_distortion_measured_and_probed_agree() -> None:
    run = make_run(bent(frequency=6.0))
    measured = value(distortion(run, points=9, split="train", samples=50), "distortion")
    context = ProbeContext(run.model, run.train, run.test, run.eps, 0, 1)
    assert distortion_probe.distortion(context, points=9, samples=50) == measured > 0


# -- nonlinearity ------------------------------------------------------------------------------------------------------


def test_gamma_is_zero_for_a_linear_loss() -> None:
    model, (x, y) = linear(3, dtype=torch.float64), inputs(classes=3, dtype=torch.float64)
    values = loss_nonlinearity(model, x, y, EPS, lambda logits, y: -logits.gather(1, y[:, None]).squeeze(1))
    assert values.abs().max() < 1e-12


def test_gamma_of_a_linear_loss_is_zero_because_the_rise_is_eps_times_the_gradients_l1_norm() -> None:
    """Equation 2.6, by hand."""
    model, (x, y) = linear(dtype=torch.float64), inputs(dtype=torch.float64)

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return logits[:, 0] - 2 * logits[:, 1]

    gradient = model[1].weight[0] - 2 * model[1].weight[1]
    rise = loss(model(x + EPS * gradient.sign().view(1, 1, 4, 4)), y) - loss(model(x), y)
    torch.testing.assert_close(rise, (EPS * gradient.abs().sum()).expand_as(rise), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("classes", [2, 4])
def test_gamma_is_never_negative_for_a_linear_classifier(classes: int) -> None:
    model, (x, y) = linear(classes, dtype=torch.float64), inputs(classes=classes, dtype=torch.float64)
    values = loss_nonlinearity(model, x, y, 1.0)
    assert values.min() >= -1e-12 and values.max() > 1e-3


def test_gamma_can_be_negative_and_is_not_clipped() -> None:
    run = make_run(bent())
    rows = nonlinearity(run, samples=40)
    each = torch.tensor([r["value"] for r in rows if r["metric"] == "gamma"])
    assert len(each) == 40 and (each < 0).any()
    assert value(rows, "gamma_mean") == pytest.approx(each.mean().item(), rel=1e-5)
    assert value(rows, "gamma_negative") == pytest.approx(100 * (each < 0).float().mean().item())
    context = ProbeContext(run.model, run.train, run.test, run.eps, 0, 1)
    assert nonlinearity_probe.nonlinearity(context, samples=40) == pytest.approx(value(rows, "gamma_mean"))
    x = torch.ones(2, 1, 4, 4, dtype=torch.float64)
    y = torch.tensor([0, 1])
    values = loss_nonlinearity(linear(dtype=torch.float64), x, y, EPS)
    assert values.min() >= 0, "cut at 1, the loss could not rise as the gradient promises"


# -- margins, smoothness, errors ---------------------------------------------------------------------------------------


def test_margin_by_hand() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(probabilistic_margin(p, torch.tensor([0, 2, 2])), torch.tensor([0.5, -0.2, 1.0]))


def test_smoothness_is_pytorchs_divergence_and_log_ratios_are_its_parts() -> None:
    torch.manual_seed(0)
    log_p, log_q = torch.randn(2, 10, 4).log_softmax(2)
    y = torch.randint(4, (10,))
    expected = F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
    torch.testing.assert_close(divergence(log_p, log_q), expected)
    true, target = log_ratios(log_p, log_q, y)
    for i in range(10):
        others = [(log_q[i, k].item(), k) for k in range(4) if k != y[i]]
        assert true[i].item() == pytest.approx((log_p - log_q)[i, y[i]].item())
        assert target[i].item() == pytest.approx((log_p - log_q)[i, max(others)[1]].item())


def test_the_errors_of_the_quadrants_add_up() -> None:
    """R_nat + R_bdy = R_rob exactly; quadrant II counts as not robust."""
    clean, attacked = torch.tensor([0.5, 0.5, -0.5, -0.5, 0.1]), torch.tensor([0.2, -0.2, 0.3, -0.3, 0.1])
    zero = torch.zeros(5)
    found = error_decomposition(margins_module.Examples(clean, attacked, zero, torch.tensor([1.0, 0, 5, 5, -1]), zero))
    assert found["natural_error"] == 40 and found["boundary_error"] == 20 and found["robust_error"] == 60
    assert found["quadrant_2"] == 20 and found["accuracy"] == 40
    assert found["log_alpha_signs_as_expected"] == pytest.approx(200 / 3), "of those classified correctly"


def test_signs_of_the_log_ratios_are_counted_over_all_images() -> None:
    """Wrong images count too, and so does either ratio."""
    clean, zero = torch.tensor([0.5, 0.5, -0.5, -0.5, 0.1]), torch.zeros(5)

    def percent(true: list[float], target: list[float]) -> float:
        found = margins_module.Examples(clean, clean, zero, torch.tensor(true), torch.tensor(target))
        return error_decomposition(found)["log_alpha_signs_of_all_images"]

    assert percent([1, 0, 5, 5, -1], [0, -1, 0, 0, 0]) == 80
    assert percent([1, 0, -5, 5, -1], [0, 0, 0, 0, 0]) == 60, "a wrong image with the wrong sign"
    assert percent([1, 0, 5, 5, 1], [0, 0, 0, 2, -1]) == 80


@pytest.mark.parametrize("rel_eps", [1.0, 2.0])
def test_signs_of_the_log_ratios_of_a_run(rel_eps: float) -> None:
    """Those of the rows by image, wrong ones included."""
    rows = margins(make_run(bent()), attack=PGD, samples=50, rel_eps=rel_eps)
    true, target = ([r["value"] for r in rows if r["metric"] == f"log_alpha_{what}"] for what in ("true", "target"))
    expected = [a >= 0 and b <= 0 for a, b in zip(true, target, strict=True)]
    assert len(expected) == 50
    assert value(rows, "log_alpha_signs_of_all_images") == pytest.approx(100 * sum(expected) / 50)


def test_margins_of_a_run() -> None:
    run = make_run(bent())
    rows = margins(run, attack=PGD, samples=50)
    means = {m: value(rows, f"mean_{m}") for m in ("margin", "margin_attacked", "kl_smoothness")}
    assert means["margin"] > means["margin_attacked"] and means["kl_smoothness"] > 0
    errors = [value(rows, name) for name in ("natural_error", "boundary_error", "robust_error")]
    assert errors[0] + errors[1] == pytest.approx(errors[2]) and errors[1] > 0
    x, y = run.test.inputs(slice(50)), run.test.y[:50]
    assert value(rows, "natural_error") == pytest.approx(100 * (run.model(x).argmax(1) != y).float().mean().item())
    drawn = [
        [r["value"] for r in rows if r["metric"] == name] for name in ("log_alpha_target", "minus_log_alpha_target")
    ]
    assert drawn[0] == [-v for v in drawn[1]] and min(drawn[0]) < 0
    each = [r["value"] for r in rows if r["metric"] == "margin"]
    assert len(each) == 50 and sum(each) / 50 == pytest.approx(means["margin"])
    assert value(rows, "inverse_mean_kl") == pytest.approx(1 / means["kl_smoothness"])
    larger = margins(run, attack=PGD, samples=50, rel_eps=2.0, examples=False)
    assert value(larger, "mean_kl_smoothness") > means["kl_smoothness"] and not any("index" in r for r in larger)
    context = ProbeContext(run.model, run.train, run.test, run.eps, 0, 1)
    assert margin_probe.margin(context, samples=50) == pytest.approx(means["margin"], rel=1e-5)
    assert margin_probe.margin(context, samples=50, attack=PGD) == pytest.approx(means["margin_attacked"], rel=1e-5)


def test_the_divergence_of_equal_points_is_zero() -> None:
    model, (x, y) = bent(), inputs()
    found = measure_examples(model, x, x, y)
    assert found.kl.abs().max() == 0 and torch.equal(found.clean, found.attacked)


# -- gradients of loss terms -------------------------------------------------------------------------------------------


def test_projections_are_rates_of_change_of_the_margin() -> None:
    """A small step against a term's gradient changes the mean margin by the step times the projection."""
    model, (x, y) = bent(dtype=torch.float64), inputs(30, dtype=torch.float64)
    found = margin_projections(model, x, y, PGD, EPS, seed=0)
    gradients = term_gradients(model, x, craft(model, x, y, PGD, EPS, seed=0), y, 2)
    weights = list(model.parameters())

    def mean_margin() -> float:
        with torch.no_grad():
            return probabilistic_margin(model(x).softmax(1), y).mean().item()

    for term in ("natural", "adversarial", "smoothness", "bridged"):
        before, step, offset = mean_margin(), 1e-7, 0
        for weight in weights:
            with torch.no_grad():
                weight.sub_(step * gradients[term][offset : offset + weight.numel()].view_as(weight))
            offset += weight.numel()
        assert (mean_margin() - before) / step == pytest.approx(found[term][0], rel=1e-3, abs=1e-6)
        offset = 0
        for weight in weights:
            with torch.no_grad():
                weight.add_(step * gradients[term][offset : offset + weight.numel()].view_as(weight))
            offset += weight.numel()
        assert abs(found[term][1]) <= 1 + 1e-9


def test_terms_agree_with_autograd_of_the_written_losses() -> None:
    model, (x, y) = bent(dtype=torch.float64), inputs(20, dtype=torch.float64)
    x_adv = (x + EPS).clamp(0, 1)
    found = term_gradients(model, x, x_adv, y, 1)
    p, q = model(x), model(x_adv)
    losses = {
        "natural": F.cross_entropy(p, y),
        "adversarial": F.cross_entropy(q, y),
        "smoothness": F.kl_div(q.log_softmax(1), p.softmax(1), reduction="batchmean"),
    }
    losses["bridged"] = losses["smoothness"]  # one segment
    for term, loss in losses.items():
        expected = torch.cat(
            [g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)]
        )
        torch.testing.assert_close(found[term], expected)


def test_projections_of_a_run_and_probed() -> None:
    run = make_run(bent())
    found = margin_projections(run.model, *run.subset("test", 40), PGD, run.eps, 0)
    natural, smooth = (found[term][0] for term in ("natural", "smoothness"))
    assert natural > 0 > smooth, "the cross-entropy raises the margin, smoothness lowers it"
    context = ProbeContext(run.model, run.train, run.test, run.eps, 0, 1)
    probed = margin_projection.margin_projection(
        context, attack=PGD, samples=40, weights={"natural": 1.0, "smoothness": 5.0}
    )
    assert probed == pytest.approx(natural + 5 * smooth, rel=1e-5)
    assert weighted_projection({"natural": (2.0, 0.1), "bridged": (3.0, 0.1)}, {"natural": 1, "bridged": 2}) == 8


# -- bridges -----------------------------------------------------------------------------------------------------------


def test_a_linear_classifier_of_two_classes_loses_its_class_monotonously() -> None:
    """And then the bridges cost no more than the whole (theorem 3.4)."""
    rows = bridges(make_run(linear()), attack=PGD, segments=[1, 2, 5])
    for count in (2, 5):
        assert value(rows, "monotone_paths", segments=count) == 100.0
        assert value(rows, "bridged_kl_ratio", segments=count) < 1
    assert value(rows, "bridged_kl_ratio", segments=1) == pytest.approx(1.0)
    ends = log_probabilities_along_path(linear(), *[inputs()[0]] * 2, 3)
    torch.testing.assert_close(ends[0], ends[-1])


def test_a_path_that_rises_anywhere_is_not_monotone() -> None:
    """Counted sample by sample, on a net with many boundaries within eps."""
    run = make_run(bent(frequency=6.0))
    x, y = run.test.inputs(), run.test.y
    x_adv = craft(run.model, x, y, PGD, EPS, seed=run.seed)
    monotone = 0
    with torch.no_grad():
        for start, end, label in zip(x, x_adv, y, strict=True):
            points = torch.stack([start + k / 5 * (end - start) for k in range(6)])
            true = run.model(points).softmax(1)[:, label].tolist()
            monotone += all(after <= before for before, after in itertools.pairwise(true))
    assert 0 < monotone < len(y)
    rows = bridges(run, attack=PGD, segments=[5])
    assert value(rows, "monotone_paths", segments=5) == pytest.approx(100 * monotone / len(y))


# -- the monitor and the detector --------------------------------------------------------------------------------------


def test_the_monitor_against_its_parts() -> None:
    run = make_run(bent(frequency=6.0))
    x, y = run.subset("train", 40)
    seen = overfitting_signs(run.model, x, y, PGD, EPS, 9, run.seed)
    pgd = craft(run.model, x, y, PGD, EPS, seed=0)
    assert seen["pgd_accuracy"] == pytest.approx(100 * (run.model(pgd).argmax(1) == y).float().mean().item())
    assert seen["clean_accuracy"] == pytest.approx(80.0)
    assert seen["distortion"] == value(distortion(run, points=9, samples=40, split="train"), "distortion")
    assert 0 < seen["mean_abs_delta_pgd"] <= EPS
    point = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(run.model(point), y, reduction="sum"), point)
    norms = gradient.flatten(1).norm(dim=1)
    torch.testing.assert_close(input_gradient_norms(run.model, x, y), norms)
    assert seen["input_grad_norm_l2"] == pytest.approx(norms.mean().item(), rel=1e-5)
    assert seen["input_grad_norm_l2_squared"] == pytest.approx(norms.square().mean().item(), rel=1e-5)


def test_an_epoch_is_collapsed_where_robustness_is_lost_and_the_single_step_gains() -> None:
    robust = [10.0, 40.0, 50.0, 14.0, 20.0, 3.0, 0.0]
    assert collapsed(robust, [20, 50, 55, 60, 50, 70, 80]) == [False, False, False, True, False, True, True]
    assert collapsed(robust, [20, 50, 55, 20, 50, 20, 30]) == [False] * 7, "both are lost: a bad epoch"
    assert collapsed([4.0, 8.0, 0.0], [10, 12, 14]) == [False] * 3, "nothing to lose"
    assert collapsed([4.0, 8.0, 9.0], [34, 38.5, 39]) == [False, True, False], (
        "below 10 % and 30 points below the single step"
    )
    assert collapsed([0.0, 0.0], [0, 0]) == [False, False]


@pytest.mark.parametrize(
    ("robust", "single", "state"),
    [
        ([10, 40, 50, 14, 40], [20, 50, 55, 60, 50], "collapsed"),
        ([2, 3, 0], [20, 60, 66], "collapsed"),  # it learnt the single step and nothing else
        ([10, 40, 38, 45], [20, 50, 50, 55], "robust throughout"),
        ([10, 40, 2], [20, 50, 20], "faded"),
        ([1, 19, 18], [20, 30, 30], "never robust"),
        ([0, 0, 0], [10, 10, 10], "never robust"),
    ],
)
def test_what_became_of_a_training(robust: list[float], single: list[float], state: str) -> None:
    assert training_state(robust, single) == state


@pytest.mark.parametrize("dead", [[0.0] * 5, [5.0, 8.0, 6.0, 3.0, 1.0], [10.0] * 5])
def test_a_net_that_never_was_robust_neither_collapses_nor_stays_robust(dead: list[float], tmp_path: Path) -> None:
    table = {"epoch": range(1, 6), "train_pgd7": dead, "train_fgsm": [12.0] * 5, "train_distortion": [0.0] * 5}
    pd.DataFrame(table).to_csv(tmp_path / "history.csv", index=False)
    vouch_for(tmp_path / "history.csv")
    rows = collapse(make_run(bent(), tmp_path))
    states = {name: value(rows, name) for name in ("collapsed", "robust_throughout", "never_robust")}
    assert states == {"collapsed": 0, "robust_throughout": 0, "never_robust": 1}


def test_the_stretch_to_the_end() -> None:
    assert start_of_final_stretch([1, 2, 3, 4], [True, False, True, True]) == 3
    assert start_of_final_stretch([1, 2], [True, False]) is None


def test_collapse_reads_the_history(tmp_path: Path) -> None:
    history = pd.DataFrame(
        {
            "epoch": range(1, 8),
            "train_pgd7": [10.0, 40.0, 50.0, 14.0, 20.0, 3.0, 0.0],
            "train_fgsm": [20.0, 50.0, 55.0, 60.0, 50.0, 70.0, 80.0],
            "train_distortion": [0.0, 0.0, 2.0, 40.0, 0.0, 60.0, None],
        }
    )
    history.to_csv(tmp_path / "history.csv", index=False)
    vouch_for(tmp_path / "history.csv")
    rows = collapse(make_run(bent(), tmp_path))
    expected = {
        "collapsed": 1,
        "robust_throughout": 0,
        "never_robust": 0,
        "catastrophic_overfitting_epoch": 4,
        "final_collapse_epoch": 6,
        "first_distortion_epoch": 3,
        "distortion_vanishes_epoch": 5,
        "distortion_back_to_zero_epoch": math.nan,  # since the last of the two collapses, in epoch 6: undefined in 7
        "distortion_max_over_training": 60,
        "distortion_at_collapse": 40,
        "distortion_at_end": math.nan,
        "distortion_defined_at_end": 0,
        "highest_robust_accuracy": 50,
        "pgd7_accuracy_train_at_end": 0,
    }
    assert {name: value(rows, name) for name in expected} == pytest.approx(expected, nan_ok=True)
    with pytest.raises(UserError, match="no column"):
        collapse(make_run(bent(), tmp_path), robust="nothing")


def test_rank_correlation_is_scipys() -> None:
    from scipy.stats import spearmanr

    a, b = [1.0, 2, 2, 5, 3, 0], [3.0, 1, 1, 0, 2, 9]
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation([1.0, 1.0], [1.0, 2.0]) is None


# -- tables ------------------------------------------------------------------------------------------------------------


def test_accuracies_of_a_table_row() -> None:
    run = make_run(bent())
    attacks = Suite(name="s", attacks=(("fgsm", FGSM), ("pgd50", PGD)))
    worst = Suite(name="lite", attacks=(("fgsm", FGSM), ("pgd", PGD)))
    rows = attack_accuracies(run, attacks=attacks, suite=worst)
    clean, fgsm, pgd = (value(rows, "accuracy", attack=name) for name in ("clean", "fgsm", "pgd50"))
    whole = value(rows, "accuracy", attack="autoattack")
    assert clean == pytest.approx(80.0) and whole <= min(fgsm, pgd) < clean
    assert value(rows, "accuracy_on_correctly_classified_attack_only_if_correct", attack="fgsm") <= fgsm
    assert next(r for r in rows if r["attack"] == "autoattack")["suite"] == "lite"
    without = attack_accuracies(run, attacks=Suite(name="s", attacks=(("pgd50", PGD),)))
    assert {r["metric"] for r in without} == {"accuracy"}, "no single step, no row of what it leaves right"


def test_attacks_may_see_fewer_samples_than_clean_accuracy_is_of() -> None:
    """Each row says of how many samples it is; the worst case is of the attacked ones."""
    run = make_run(bent())
    attacks = Suite(name="lite", attacks=(("fgsm", FGSM), ("pgd", PGD)))
    everything, few = robust_suite(run, suite=attacks), robust_suite(run, suite=attacks, attacked_samples=6)
    first = robust_suite(run, suite=attacks, samples=6)
    clean = {"metric": "robust_accuracy", "attack": "clean"}
    assert value(few, **clean) == value(everything, **clean) == pytest.approx(80.0) != value(first, **clean)
    for name in ("fgsm", "pgd", "worst case"):
        assert value(few, "robust_accuracy", attack=name) == value(first, "robust_accuracy", attack=name)
    samples = {row["attack"]: row["samples"] for row in few if row["metric"] == "robust_accuracy"}
    assert samples == {"clean": 60, "fgsm": 6, "pgd": 6, "worst case": 6}
    rows = attack_accuracies(run, attacks=attacks, suite=attacks, attacked_samples=6)
    alone = attack_accuracies(run, attacks=attacks, suite=attacks, samples=6)
    assert value(rows, "accuracy", attack="clean") == pytest.approx(80.0)
    for row, other in zip(rows[1:], alone[1:], strict=True):
        assert (row["attack"], row["value"], row["samples"]) == (other["attack"], other["value"], 6)
    assert rows[0]["samples"] == 60
    # What the accuracies under attack are compared with: clean accuracy on the same samples.
    assert value(rows, "accuracy", attack=CLEAN_OF_ATTACKED) == value(alone, "accuracy", attack="clean") != 80.0
    errors = errors_under_attacks(run, suite=attacks, attacked_samples=6)
    assert [row["attack"] for row in errors] == ["none", "fgsm", "pgd"], (
        "an error of clean samples is none under attack"
    )


def test_the_best_of_a_grid_is_chosen_by_one_attack(tmp_path: Path) -> None:
    """kim2023 table 3.9: the beta with the highest accuracy under PGD-50, over seeds; the suite runs on it alone."""
    runs = []
    for beta, seeds in ((1, (0, 1)), (5, (2, 3)), (10, (4, 5))):
        for seed in seeds:
            run = make_run(bent(seed, frequency=0.05 * beta), method="trades", attack="kl", parameters={"beta": beta})
            run.config["recipe"]["name"] = f"trades-beta{beta}"
            runs.append(run)
    plain = make_run(linear(3), method="standard", attack=None)
    attacks = Suite(name="s", attacks=(("fgsm", FGSM), ("pgd50", PGD)))
    worst = Suite(name="lite", attacks=(("pgd", PGD),))
    told = {
        beta: [
            value(attack_accuracies(run, attacks=attacks), "accuracy", attack="pgd50")
            for run in runs[2 * i : 2 * i + 2]
        ]
        for i, beta in enumerate((1, 5, 10))
    }
    best = max(told, key=lambda beta: sum(told[beta]))
    assert len({sum(values) for values in told.values()}) == 3
    rows = best_robust_accuracies([*runs, plain], attacks=attacks, by="pgd50", suite=worst)
    kept = [replace(run, state=tmp_path, checkpoint=f"checkpoint{i}") for i, run in enumerate([*runs, plain])]
    resumable = best_robust_accuracies(kept, attacks=attacks, by="pgd50", suite=worst)
    assert [row["value"] for row in resumable] == [row["value"] for row in rows], "each run has a state of its own"
    chosen = [row for row in rows if row["method"] == "trades"]
    assert {row["recipe"] for row in chosen} == {f"trades-beta{best}"} and {row["settings"] for row in chosen} == {3}
    assert [r["value"] for r in chosen if (r["attack"], r["metric"]) == ("pgd50", "accuracy")] == told[best]
    assert [r["value"] for r in chosen if r["metric"] == "chosen_beta"] == [best, best]
    assert sum(row["attack"] == "autoattack" for row in rows) == 3
    assert not [row for row in rows if row["method"] == "standard" and row["metric"] == "chosen_beta"]
    with pytest.raises(ConfigError, match="pgd7"):
        best_robust_accuracies(runs, attacks=attacks, by="pgd7")


def test_blackbox_examples_are_made_on_the_source(tmp_path: Path) -> None:
    source, target = make_run(linear(3), eps=0.0), make_run(bent())
    source.config["recipe"]["name"] = "clean"
    target = TrainedRun(**{**target.__dict__, "test": source.test})
    (row,) = blackbox_accuracy([target, source], source="clean", attack=FGSM, name="black box")
    x, y = source.test.inputs(), source.test.y
    points = craft(source.model, x, y, FGSM, EPS, seed=0)
    assert row["value"] == pytest.approx(100 * (target.model(points).argmax(1) == y).float().mean().item())
    assert (row["recipe"], row["attack"]) == ("r", "black box")
    with pytest.raises(UserError, match="no run"):
        blackbox_accuracy([target], source="clean", attack=FGSM, name="black box")


def test_blackbox_examples_have_the_eps_of_their_target() -> None:
    source = make_run(linear(3), eps=0.0)
    source.config["recipe"]["name"] = "clean"
    targets = [
        TrainedRun(**{**make_run(bent(seed)).__dict__, "test": source.test, "eps": eps})
        for seed, eps in enumerate((0.05, 0.4))
    ]
    rows = blackbox_accuracy([*targets, source], source="clean", attack=FGSM, name="black box")
    x, y = source.test.inputs(), source.test.y
    for row, target in zip(rows, targets, strict=True):
        points = craft(source.model, x, y, FGSM, target.eps, seed=0)
        expected = 100 * (target.model(points).argmax(1) == y).float().mean().item()
        assert row["value"] == pytest.approx(expected) and row["attack_eps"] == target.eps


def test_training_time_is_relative_to_the_reference(tmp_path: Path) -> None:
    runs = []
    for name, seconds in (("fast", [3.0, 1.0, 1.0]), ("slow", [2.5, 2.5, 9.0])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps({"epoch_seconds": seconds}))
        run = make_run(bent(), folder)
        run.config["recipe"]["name"] = name
        runs.append(run)
    rows = training_time(runs, reference=["fast"])
    assert value(rows, "time_ratio", recipe="fast") == 1 and value(rows, "time_ratio", recipe="slow") == 2.5
    assert value(rows, "train_time", recipe="slow") == pytest.approx(14 / 3600)
    assert value(rows, "time_per_iteration", recipe="slow") == pytest.approx(2.5 / 4)
    with pytest.raises(UserError, match="no run of the comparison has the recipe 'other'"):
        training_time(runs, reference=["fast", "other"])
    both = training_time(runs, reference=["fast", "slow"])
    assert value(both, "time_ratio", recipe="fast") == pytest.approx(1 / 1.75), "their mean is 1.75 s"
    assert value(both, "time_ratio", recipe="slow") == pytest.approx(2.5 / 1.75)


# -- surfaces over inputs ----------------------------------------------------------------------------------------------


def test_an_input_surface_is_the_loss_on_the_plane() -> None:
    run = make_run(bent())
    rows = input_surface(run, attack=FGSM, images=2, points=5)
    x, y = run.train.inputs(slice(2)), run.train.y[:2]
    full = craft(run.model, x, y, FGSM, EPS, seed=0)
    for image in range(2):
        ends = run.model(torch.stack([x[image], full[image]]))
        losses = F.cross_entropy(ends, y[image].expand(2), reduction="none")
        for a, loss in zip((0.0, 1.0), losses.tolist(), strict=True):
            assert value(rows, "loss", image=image, a=a, b=0.0) == pytest.approx(loss, abs=1e-5)
        assert value(rows, "prediction", image=image, a=0.0, b=0.0) == ends[0].argmax().item()
        wrong = value(rows, "misclassified", image=image, a=0.0, b=0.0)
        assert wrong == float(ends[0].argmax() != y[image])
    assert len([r for r in rows if r["metric"] == "loss"]) == 2 * 25
    again = input_surface(run, attack=FGSM, images=1, points=5)
    assert again == [r for r in rows if r["image"] == 0]


def test_images_with_a_distorted_interval_come_first_if_wanted() -> None:
    run = make_run(bent(frequency=6.0))
    rows = input_surface(run, attack=FGSM, images=2, points=11, choose="distorted")
    flags = [r["value"] for r in rows if r["metric"] == "distorted_interval"]
    assert flags == [1.0, 1.0]
    inside, _ = distorted(run.model, run.train.inputs(), run.train.y, EPS, 9)
    assert sorted({r["image"] for r in rows}) == inside.nonzero().squeeze(1)[:2].tolist()


@pytest.mark.parametrize(
    "measure",
    [
        lambda run: distortion(run, points=3),
        lambda run: nonlinearity(run),
        lambda run: margins(run, attack=PGD, examples=False),
        lambda run: input_surface(run, attack=FGSM, points=3, images=1),
    ],
)
def test_a_measurement_gives_the_same_rows_again_and_leaves_the_model_alone(
    measure: Callable[[TrainedRun], list[dict[str, Any]]],
) -> None:
    run = make_run(bent())
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    assert measure(run) == measure(run)
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in run.model.parameters())


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"method": "adversarial", "attack": "fast"}, {"method": "fast_at"}),
        ({"method": "adversarial", "attack": "fgsm"}, {"method": "fgsm_at"}),
        ({"method": "adversarial", "attack": "pgd"}, {"method": "pgd7_at"}),
        (
            {"method": "bat", "attack": "pgd", "parameters": {"beta": 5.0, "bridges": 2}},
            {"method": "bat", "beta": 5, "m": 2},
        ),
        ({"method": "trades", "attack": "pgd", "parameters": {"beta": 6.0}}, {"method": "trades", "beta": 6}),
        (
            {"method": "single_step_checkpoints", "attack": "fast", "parameters": {"checkpoints": 3}},
            {"method": "single_step_checkpoints", "checkpoints": 3},
        ),
        (
            {"method": "gradalign", "attack": "fgsm", "parameters": {"beta": 0.2}},
            {"method": "gradalign", "reg_weight": 0.2},
        ),
    ],
)
def test_methods_are_called_as_the_work_calls_them(recipe: dict[str, Any], expected: dict[str, Any]) -> None:
    run = make_run(bent(), **recipe)
    run.config["attacks"] = {
        "fast": {"attack": "fgsm", "parameters": {"random_start": True}},
        "fgsm": {"attack": "fgsm", "parameters": {"random_start": False}},
        "pgd": {"attack": "pgd", "parameters": {"steps": 7}},
    }
    found = method_columns(run)
    assert {key: value for key, value in found.items() if value is not None} == expected
