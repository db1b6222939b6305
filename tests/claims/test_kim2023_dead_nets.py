"""Claims of kim2023 about collapse and distortion do not hold for nets that never learnt anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from made_up import vouch_for
from torch import nn

from robustscape.claims.verdicts import claim_verdict
from robustscape.config.loading import load_experiment
from robustscape.data import Split
from robustscape.evaluation.logs.collapse import collapse
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.report import items
from robustscape.report.words import FAILS, HOLDS

ROOT = Path(__file__).parents[2]
STUDY = load_experiment(ROOT / "config", "paper").studies["kim2023"]

NAN = float("nan")

#: Accuracies under PGD-7 and FGSM and distortion by epoch; NaN: no image is right at both ends.
HISTORIES: dict[str, tuple[list[float], list[float], list[float]]] = {
    "constant": ([10.0] * 5, [10.0] * 5, [0.0] * 5),
    "zero": ([0.0] * 5, [0.0] * 5, [0.0] * 5),
    "noise": ([4.0, 8.0, 2.0, 5.0, 1.0], [12.0, 15.0, 13.0, 16.0, 14.0], [0.0, 1.5, 0.0, 2.0, 0.5]),
    "collapsed": ([20.0, 40.0, 45.0, 3.0, 1.0], [30.0, 50.0, 55.0, 90.0, 95.0], [0.0, 0.0, 0.0, 60.0, 80.0]),
    "of the work": (
        [20.0, 40.0, 45.0, 3.0, 30.0, 1.0],
        [30.0, 50.0, 55.0, 90.0, 50.0, 95.0],
        [0.0, 0.0, 0.0, 60.0, 0.0, 80.0],
    ),
    "smooth and robust again": (
        [20.0, 40.0, 45.0, 3.0, 30.0, 1.0],
        [30.0, 50.0, 55.0, 90.0, 50.0, 4.0],
        [0.0, 0.0, 0.0, 60.0, 0.0, 0.0],
    ),
    "distorted before": ([20.0, 40.0, 45.0, 3.0, 1.0], [30.0, 50.0, 55.0, 90.0, 95.0], [0.0, 5.0, 5.0, 60.0, 80.0]),
    "distorted the epoch before": (
        [20.0, 40.0, 45.0, 3.0, 1.0],
        [30.0, 50.0, 55.0, 90.0, 95.0],
        [0.0, 0.0, 5.0, 60.0, 80.0],
    ),
    "distorted in part": ([20.0, 40.0, 45.0, 3.0, 1.0], [30.0, 50.0, 55.0, 90.0, 95.0], [0.0, 0.0, 0.0, 60.0, 25.0]),
    "smooth again": ([20.0, 40.0, 45.0, 3.0, 1.0], [30.0, 50.0, 55.0, 90.0, 4.0], [0.0, 0.0, 0.0, 60.0, 0.0]),
    "undefined": ([20.0, 40.0, 45.0, 3.0, 0.0], [30.0, 50.0, 55.0, 90.0, 0.0], [0.0, 0.0, 0.0, 60.0, NAN]),
    "robust": ([40.0, 70.0, 85.0, 92.0, 95.0], [50.0, 75.0, 90.0, 95.0, 97.0], [0.0] * 5),
    "in the middle": ([40.0, 70.0, 85.0, 92.0, 95.0], [50.0, 75.0, 90.0, 95.0, 97.0], [0.0, 0.0, 1.5, 0.0, 0.0]),
}

METHODS = ("fast_at", "pgd2_at", "trades", "single_step_checkpoints", "gradalign", "fast_at_eps_schedule")


def collapse_rows(history: str, folder: Path, **factors: Any) -> list[dict[str, Any]]:
    robust, single, distortion = HISTORIES[history]
    table = pd.DataFrame(
        {"epoch": range(1, 1 + len(robust)), "train_pgd7": robust, "train_fgsm": single, "train_distortion": distortion}
    )
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / "history.csv", index=False)
    vouch_for(folder / "history.csv")
    split = Split(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), 1.0)
    config = {"recipe": {"name": "r", "method": "standard"}}
    run = TrainedRun(nn.Linear(2, 2).eval(), split, split, 0.1, 0, torch.device("cpu"), 10, folder, config, "c")
    rows = [{**row, **factors} for row in collapse(run)]
    for column, unit in (("train_pgd7", "percent"), ("train_fgsm", "percent"), ("train_distortion", "percent")):
        values = zip(table["epoch"], table[column], strict=True)
        rows += [{"metric": column, "epoch": e, "value": v, "unit": unit, **factors} for e, v in values]
    return rows


def verdicts(name: str, rows: list[dict[str, Any]], folder: Path, only: str | None = None) -> dict[str, str]:
    """Claim -> its verdict on the rows of an item, of all of its claims or of one."""
    item = STUDY.items[name]
    shared = {"dataset": "d", "architecture": "a", "eps": 8 / 255}
    frame = pd.DataFrame([{**dict.fromkeys(item.factors), **shared, **row} for row in rows])
    frame = frame[frame["metric"].isin(item.metrics)]
    items.aggregate_repetitions(frame, item.factors).to_csv(folder / "item.csv", index=False)
    read = items.read_rows(folder / "item.csv")
    claims = [claim for claim in item.claims if only in (None, claim.id)]
    return {claim.id: claim_verdict(claim, read, item.factors, "paper")[0] for claim in claims}


def figure_2_4(histories: dict[str, str], folder: Path) -> dict[str, str]:
    rows = [row for m in METHODS[:5] for row in collapse_rows(histories[m], folder, method=m)]
    return verdicts("figure_2_4", rows, folder)


def figure_2_10(histories: dict[str, str], folder: Path) -> dict[str, str]:
    rows = [
        row
        for m in METHODS[:5]
        for weight in ([0.02, 0.2, 2.0] if m == "gradalign" else [None])
        for row in collapse_rows(histories[m], folder, method=m, reg_weight=weight)
    ]
    for row in rows:
        if row["method"] == "gradalign" and row["metric"] in ("train_pgd7", "train_distortion"):
            row.update(method=f"gradalign β = {row['reg_weight']:g}", reg_weight=None)  # as the item labels the curves
    return verdicts("figure_2_10", rows, folder)


@pytest.mark.parametrize("figure", [figure_2_4, figure_2_10])
@pytest.mark.parametrize("dead", ["constant", "zero", "noise"])
def test_nothing_about_collapse_holds_for_dead_nets(figure: Any, dead: str, tmp_path: Path) -> None:
    found = figure(dict.fromkeys(METHODS, dead), tmp_path)
    # That a correlation of noise has a sign is not enough, either: the run must have collapsed.
    assert set(found.values()) == {FAILS}, found


def test_they_hold_for_the_nets_of_the_work(tmp_path: Path) -> None:
    """Fast AT collapses, all others are robust: then every claim of figure 2.4 holds."""
    histories = {**dict.fromkeys(METHODS, "robust"), "fast_at": "of the work"}
    assert set(figure_2_4(histories, tmp_path).values()) == {HOLDS}
    found = figure_2_10(histories, tmp_path)
    assert {found[name] for name in ("C2-12-fast", "C2-12-others", "C2-12-full")} == {HOLDS}


def test_they_fail_where_nothing_collapses_and_where_everything_does(tmp_path: Path) -> None:
    robust, gone = (figure_2_4(dict.fromkeys(METHODS, what), tmp_path) for what in ("robust", "collapsed"))
    fast = (*("C2-8", "C2-8-zero", "C2-7", "C2-7-begins", "C2-7-end", "C2-7-rank", "C2-7-recovery", "C2-7-ratio"),)
    assert {robust[name] for name in fast} == {FAILS}
    assert gone["C2-7-recovery"] == FAILS  # its distortion never disappears
    assert {gone[name] for name in ("C2-2", "C2-2-gradalign", "C2-7-others", "C2-7-full", "C2-7-ratio")} == {FAILS}


@pytest.mark.parametrize(
    ("history", "begins", "end"),
    [
        ("of the work", HOLDS, HOLDS),
        ("distorted the epoch before", HOLDS, HOLDS),
        ("distorted before", FAILS, HOLDS),  # two epochs before the collapse
        ("distorted in part", HOLDS, FAILS),  # 25 % are not high
        ("smooth again", HOLDS, FAILS),
        ("robust", FAILS, FAILS),
    ],
)
def test_distortion_begins_with_the_collapse_and_is_high_at_the_end(
    history: str, begins: str, end: str, tmp_path: Path
) -> None:
    found = figure_2_4({**dict.fromkeys(METHODS, "robust"), "fast_at": history}, tmp_path)
    assert (found["C2-7-begins"], found["C2-7-end"]) == (begins, end)


@pytest.mark.parametrize("method", ["pgd2_at", "trades", "single_step_checkpoints"])
def test_no_distortion_means_at_no_epoch(method: str, tmp_path: Path) -> None:
    """Not that 2 % are none, nor that what is there in the middle and gone at the end is."""
    histories = {**dict.fromkeys(METHODS, "robust"), "fast_at": "of the work", method: "in the middle"}
    found = figure_2_4(histories, tmp_path)
    assert found["C2-7-others"] == FAILS and found["C2-7-full"] == HOLDS


@pytest.mark.parametrize(("end", "verdict"), [("smooth again", HOLDS), ("undefined", FAILS)])
def test_a_distortion_that_no_image_could_have_has_not_gone(end: str, verdict: str, tmp_path: Path) -> None:
    """A net with no accuracy under the single step says nothing about distortion (C2-12, C2-12-weak)."""
    found = figure_2_10(dict.fromkeys(METHODS, end), tmp_path)
    assert {found["C2-12"], found["C2-12-weak"]} == {verdict}


@pytest.mark.parametrize("history", ["smooth and robust again", "collapsed", "robust"])
def test_a_net_that_is_robust_where_its_distortion_goes_is_not_the_works(history: str, tmp_path: Path) -> None:
    """C2-12: no distortion and no robustness in one epoch, not some later one; or the distortion never goes."""
    assert figure_2_10(dict.fromkeys(METHODS, history), tmp_path)["C2-12"] == FAILS


#: What ``replay`` tells of an epoch like the work's.
REPLAY = {
    "replay_identical": 1.0,
    "collapsed_inside": 1.0,
    "pgd_accuracy_before": 45.0,
    "pgd_accuracy_after": 5.0,
    "fgsm_accuracy_before": 60.0,
    "fgsm_accuracy_after": 90.0,
    "gradient_norm_peak_over_before_ratio": 12.0,
    "gradient_norm_squared_peak_over_before_ratio": 35.0,
    "mean_abs_delta_pgd_before": 0.03,
    "mean_abs_delta_pgd_after": 0.02,
    "distortion_before": 1.0,
    "distortion_after": 60.0,
}
EVERY = ("accuracy", "gradient", "gradient-squared", "perturbation", "distortion")


@pytest.mark.parametrize(
    ("changes", "fallen"),
    [
        ({}, ()),
        ({"collapsed_inside": 0.0}, EVERY),  # the peak of an epoch without a collapse is none of a collapse
        ({"gradient_norm_peak_over_before_ratio": 9.0}, ("gradient",)),
        ({"gradient_norm_squared_peak_over_before_ratio": 9.0}, ("gradient-squared",)),
        ({"distortion_after": 1.0}, ("distortion",)),
        ({"distortion_before": NAN}, ("distortion",)),
        ({"mean_abs_delta_pgd_after": 0.03}, ("perturbation",)),
        ({"fgsm_accuracy_after": 60.0}, ("accuracy",)),
    ],
)
def test_figure_2_2_is_about_a_collapse(changes: dict[str, float], fallen: tuple[str, ...], tmp_path: Path) -> None:
    rows = [{"metric": metric, "value": value, "unit": "1"} for metric, value in {**REPLAY, **changes}.items()]
    found = verdicts("figure_2_2", rows, tmp_path)
    assert {name for name, verdict in found.items() if verdict == FAILS} == {f"C2-9-{name}" for name in fallen}
    assert set(found) == {"C2-9-replay", *(f"C2-9-{name}" for name in EVERY)}


@pytest.mark.parametrize(
    ("near", "far", "verdict"), [(100.0, 100.0, HOLDS), (99.99, 100.0, FAILS), (100.0, 99.99, FAILS)]
)
def test_always_is_for_all_images(near: float, far: float, verdict: str, tmp_path: Path) -> None:
    rows = [
        {"metric": metric, "attack_eps": eps, "value": value, "unit": "percent"}
        for metric in ("log_alpha_signs_of_all_images", "log_alpha_signs_as_expected")
        for eps, value in ((8 / 255, near), (16 / 255, far))
    ]
    assert verdicts("figure_3_8", rows, tmp_path, "C3B-2-always")["C3B-2-always"] == verdict
    assert verdicts("figure_3_8", rows, tmp_path, "C3B-2")["C3B-2"] == HOLDS


@pytest.mark.parametrize(
    ("collapsed", "then", "verdict"),
    [
        (1.0, -1.0, HOLDS),
        (0.0, -1.0, FAILS),  # has not collapsed
        (1.0, 0.3, FAILS),  # below 0 in the last epoch only, not when training collapses
        (1.0, -0.01, FAILS),  # below 0, but not below the others
    ],
)
def test_gamma_is_negative_when_training_collapses(collapsed: float, then: float, verdict: str, tmp_path: Path) -> None:
    values = {"fast_at": then, "pgd2_at": -0.02, "single_step_checkpoints": 0.2}
    rows = [
        {
            "metric": "train_gamma",
            "method": method,
            "epoch": epoch,
            "value": value if epoch == 3 else -5.0,
            "unit": "nats",
        }
        for method, value in values.items()
        for epoch in (1, 2, 3, 4)
    ]
    epoch = 3.0 if collapsed else NAN
    for metric, value in (("collapsed", collapsed), ("catastrophic_overfitting_epoch", epoch)):
        rows.append({"metric": metric, "method": "fast_at", "value": value, "unit": "1"})
    assert verdicts("figure_2_16", rows, tmp_path, "C2-11")["C2-11"] == verdict


@pytest.mark.parametrize(("collapsed", "verdict"), [(1.0, HOLDS), (0.0, FAILS)])
def test_gamma_says_nothing_of_a_net_that_has_not_collapsed(collapsed: float, verdict: str, tmp_path: Path) -> None:
    """C2-11-last and C2-11-share are about collapsed fast AT."""
    values = {"fast_at": (-2.0, 90.0), "pgd2_at": (0.1, 40.0), "single_step_checkpoints": (0.2, 30.0)}
    rows = [
        {"metric": metric, "method": method, "value": value, "unit": "1"}
        for method, numbers in values.items()
        for metric, value in zip(("gamma_mean", "gamma_negative"), numbers, strict=True)
    ]
    rows += [{"metric": "train_gamma", "method": method, "epoch": 1, "value": 0.0, "unit": "nats"} for method in values]
    for metric, value in (("collapsed", collapsed), ("catastrophic_overfitting_epoch", 1.0)):
        rows.append({"metric": metric, "method": "fast_at", "value": value, "unit": "1"})
    found = verdicts("figure_2_16", rows, tmp_path)
    assert {found["C2-11-last"], found["C2-11-share"]} == {verdict}


@pytest.mark.parametrize(
    ("collapsed", "vanished", "right", "end", "verdict"),
    [
        (1, 1, 1, 0, HOLDS),
        (1, 1, 1, 1, FAILS),
        (1, 1, 0, 0, FAILS),
        (1, 0, None, None, FAILS),
        (0, 0, None, None, FAILS),
    ],
)
def test_figure_2_11_needs_both_of_its_moments(
    collapsed: float, vanished: float, right: float | None, end: float | None, verdict: str, tmp_path: Path
) -> None:
    """A run that never collapsed, or whose distortion stays, has no such moment; nor is an image smooth that is wrong."""
    first = "collapse" if collapsed else "largest fall, no collapse"
    told = {first: (1.0, 1.0), **({} if end is None else {"distortion gone": (right, end)})}
    rows = [
        {"metric": metric, "moment": moment, "value": value, "unit": "1"}
        for moment, values in told.items()
        for metric, value in zip(("right_at_both_ends", "distorted_interval"), values, strict=True)
    ]
    for metric, value in (("collapsed", collapsed), ("distortion_vanished", vanished)):
        rows.append({"metric": metric, "value": value, "unit": "1"})
    assert verdicts("figure_2_11", rows, tmp_path) == {"C2-12-surface": verdict}


@pytest.mark.parametrize(("claim", "eps"), [("C3B-8", 0.45), ("C3B-8-all", 0.3)])
@pytest.mark.parametrize(("dead", "verdict"), [(False, HOLDS), (True, FAILS)])
def test_a_net_that_did_not_train_refutes_that_its_method_trains(
    claim: str, eps: float, dead: bool, verdict: str, tmp_path: Path
) -> None:
    """One of three runs of BAT is constant: what the work says of BAT is then wrong, not untestable."""
    runs = [90.0, 90.0, 11.35 if dead else 90.0]
    rows = [
        {
            "metric": "accuracy",
            "method": method,
            "eps": eps,
            "attack": attack,
            "seed": seed,
            "value": value if method == "bat" else 90.0,
            "unit": "percent",
            "flag_under_trained": int(method == "bat" and value < 20),
            "health": f"seed{seed}: chance",
        }
        for method in ("at", "trades", "mart", "bat")
        for attack in ("clean", "pgd50", "autoattack")
        for seed, value in enumerate(runs)
    ]
    assert verdicts("table_3_7", rows, tmp_path, claim)[claim] == verdict


@pytest.mark.parametrize(
    ("clean", "pgd", "auto", "below", "verdict"),
    [
        (11.35, 11.35, 11.35, 98.0, HOLDS),
        (50.0, 50.0, 50.0, 98.0, FAILS),
        (11.35, 11.35, 11.35, 11.35, FAILS),  # AT trains at no eps
    ],
)
def test_one_class_is_no_more_than_the_share_of_one_class(
    clean: float, pgd: float, auto: float, below: float, verdict: str, tmp_path: Path
) -> None:
    """And no finding where AT gives one class at 0.3, too."""
    rows = [
        {"metric": "accuracy", "method": "at", "eps": eps, "attack": attack, "value": value, "unit": "percent"}
        for eps, values in ((0.3, (below, below, below)), (0.45, (clean, pgd, auto)))
        for attack, value in zip(("clean", "pgd50", "autoattack"), values, strict=True)
    ]
    assert verdicts("table_3_7", rows, tmp_path, "C3B-8-constant")["C3B-8-constant"] == verdict


@pytest.mark.parametrize(
    ("pgd", "verdict"),
    [
        ([55.8, 56.0, 54.3, 53.4, 51.2], HOLDS),
        ([50.0, 51.0, 52.0, 53.0, 54.0], FAILS),
        ([50.0, 51.0, 52.0, 54.0, 53.0], FAILS),  # rank correlation 0.9
        ([51.0, 50.0, 52.0, 54.0, 53.0], FAILS),
    ],
)
def test_robustness_that_rises_with_the_bridges_is_a_tendency(pgd: list[float], verdict: str, tmp_path: Path) -> None:
    rows = [
        {"metric": "accuracy", "beta": 5, "m": m, "attack": attack, "value": value, "unit": "percent"}
        for m, value in enumerate(pgd, 1)
        for attack in ("clean", "fgsm", "pgd50")
    ]
    assert verdicts("table_3_6", rows, tmp_path, "C3B-7-no-tendency")["C3B-7-no-tendency"] == verdict


def test_the_margin_of_bat_is_judged_by_all_epochs(tmp_path: Path) -> None:
    """Not by the last one of a single run."""
    margins = {"bat": [0.5, 0.6, 0.6, 0.2], "trades": [0.2, 0.3, 0.3, 0.3]}
    rows = [
        {"metric": metric, "method": method, "epoch": epoch, "value": value, "unit": "1"}
        for method, values in margins.items()
        for metric in ("margin", "expected_margin_increase")
        for epoch, value in enumerate(values, 1)
    ]
    assert verdicts("figure_3_12", rows, tmp_path, "C3B-5-larger")["C3B-5-larger"] == HOLDS


@pytest.mark.parametrize(
    ("before", "after", "end", "distorted", "verdict"),
    [(0, 0, 0, 0, FAILS), (0, 20, 60, 1, HOLDS), (30, 40, 60, 1, FAILS), (0, 20, 10, 1, FAILS), (0, 20, 60, 0, FAILS)],
)
def test_figure_2_3_needs_a_distortion_that_was_not_there(
    before: float, after: float, end: float, distorted: float, verdict: str, tmp_path: Path
) -> None:
    moments = ("before the batch", "after the batch", "end of the epoch")
    rows = [
        {"metric": "wrong_between", "moment": moment, "value": share, "unit": "percent"}
        for moment, share in zip(moments, (before, after, end), strict=True)
    ]
    rows += [{"metric": "distorted_interval", "moment": moment, "value": distorted, "unit": "1"} for moment in moments]
    assert verdicts("figure_2_3", rows, tmp_path) == {"C2-figure-2.3": verdict}


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ([0.02, 0.3, 0.6, 0.8, 0.9], HOLDS),
        ([0.02, 0.3, 0.4, 0.5, 0.6], FAILS),  # grows, but not to eps
        ([0.8, 0.9, 0.5, 0.3, 0.9], FAILS),  # ends near eps, having been there all along
    ],
)
def test_figure_2_5_needs_a_perturbation_that_grows_to_eps(shares: list[float], verdict: str, tmp_path: Path) -> None:
    shared = {"method": "single_step_checkpoints", "unit": "1"}
    rows = [
        {"metric": metric, "epoch": epoch, "value": value, **shared}
        for epoch, share in enumerate(shares, 1)
        for metric, value in (("mean_perturbation", share * 8 / 255), ("eps", 8 / 255))
    ]
    assert verdicts("figure_2_5", rows, tmp_path)["C2-10"] == verdict


@pytest.mark.parametrize(
    ("item", "needed"),
    [("figure_2_6", 4), ("figure_2_7", 3), ("figure_2_9", 3), ("figure_2_12", 2), ("figure_2_15", 2)],
)
def test_surfaces_need_as_many_distorted_images_as_the_work_says(item: str, needed: int, tmp_path: Path) -> None:
    """All four, most of them, and where the work says no number two."""
    for count in range(5):
        rows = [
            {"metric": "distorted_interval", "image": image, "value": float(image < count), "unit": "1"}
            for image in range(4)
        ]
        assert verdicts(item, rows, tmp_path)["C2-surfaces"] == (HOLDS if count >= needed else FAILS)
