"""The epoch of a collapse, trained again: bit for bit, watched after every batch; a radius read from another run."""

from __future__ import annotations

import copy
import itertools
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_up import vouch_for
from torch import nn

from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.errors import UserError
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape.input_surface import input_directions, surface_rows
from robustscape.storage import checkpoints
from robustscape.storage.run_files import COLLAPSE_FILES, VANISHED_FILE
from robustscape.training import loop
from robustscape.training import replay_surfaces as replay_surfaces_module
from robustscape.training.collapse_surfaces import collapse_surfaces
from robustscape.training.replay import (
    collapse_start,
    end_of_epoch,
    mean_of_defined,
    peak_over_before,
    replay,
    replay_epoch,
    running_means,
)
from robustscape.training.replay_surfaces import MOMENTS, replay_surfaces

EPS = 0.3
ATTACKS = {
    "fgsm": AttackSpec(attack="fgsm"),
    "fast": AttackSpec(attack="fgsm", parameters={"random_start": True, "rel_step_size": 1.25}),
    "pgd7": AttackSpec(attack="pgd", parameters={"steps": 7, "rel_step_size": 0.25}),
}
CONTENT: dict[str, Any] = {
    "method": "adversarial",
    "attack": "fast",
    "optimizer": {"name": "sgd", "parameters": {"lr": 0.05, "momentum": 0.9}},
    "epochs": 4,
    "batch_size": 16,
    "augmentation": {"crop": 1},
    "probes": {
        "train_pgd7": {"name": "accuracy", "parameters": {"split": "train", "attack": "pgd7"}},
        "train_fgsm": {"name": "accuracy", "parameters": {"split": "train", "attack": "fgsm"}},
        "train_distortion": {"name": "distortion", "parameters": {"split": "train"}},
    },
    "keep_collapse": {"probe": "train_pgd7", "single": "train_fgsm", "distortion": "train_distortion"},
}


def make_model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 2)
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    folder = tmp_path_factory.mktemp("run")
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (64, 1, 6, 6), generator=draw, dtype=torch.uint8)
    split = Split(x, (x.float().mean((1, 2, 3)) > 127).long(), 255.0)
    recipe, state, model = Recipe.model_validate(CONTENT), folder / "state.safetensors", make_model()
    result = loop.train(model, split, split, recipe, ATTACKS, EPS, 3, state=state, fingerprint="f", progress=False)
    for file in COLLAPSE_FILES:
        kept = state.with_suffix(f".{file.removesuffix('.safetensors')}")
        (folder / file).write_bytes(kept.read_bytes())
    config = {
        "recipe": {"name": "r", **recipe.model_dump(mode="json", exclude={"about", "extends"})},
        "attacks": {name: spec.model_dump(mode="json", exclude={"about"}) for name, spec in ATTACKS.items()},
    }
    assert len(result.history) == 4
    return TrainedRun(model.eval(), split, split, EPS, 3, torch.device("cpu"), 2, folder, config, "checkpoint")


def test_the_replayed_epoch_is_the_trained_one_bit_for_bit(run: TrainedRun) -> None:
    seen: list[int] = []
    models: list[dict[str, torch.Tensor]] = []

    images: list[torch.Tensor] = []

    def look(batch: int, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        assert not model.training and len(x) == len(y) == 16
        seen.append(batch)
        images.append(x)
        models.append({name: tensor.clone() for name, tensor in model.state_dict().items()})

    epoch, identical = replay_epoch(run, look)
    assert identical and 2 <= epoch <= 4 and seen == [1, 2, 3, 4]
    assert len({x.sum().item() for x in images}) == 4, "each batch itself"
    start = checkpoints.load_checkpoint(run.path / COLLAPSE_FILES[0], "cpu")[0]
    end = checkpoints.load_checkpoint(run.path / COLLAPSE_FILES[1], "cpu")[0]
    assert all(torch.equal(models[0][name], start[f"model/{name}"]) for name in models[0]), "before its update"
    assert all(torch.equal(end_of_epoch(run).state_dict()[name], tensor) for name, tensor in end.items())
    weights = [*(weights["0.weight"] for weights in models), end["0.weight"]]
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(weights))


def test_a_replay_that_differs_is_told(run: TrainedRun, tmp_path: Path) -> None:
    for file in COLLAPSE_FILES:
        (tmp_path / file).write_bytes((run.path / file).read_bytes())
    other = TrainedRun(**{**run.__dict__, "path": tmp_path, "seed": 4})  # another batch order
    assert replay_epoch(other, lambda batch, model, x, y: None)[1] is False


def test_rows_of_a_replay(run: TrainedRun) -> None:
    rows = replay(run, attack=ATTACKS["pgd7"], points=5, smooth=2)
    told = {row["metric"]: row["value"] for row in rows if "batch" not in row}
    series = {
        name: [row["value"] for row in rows if row["metric"] == name and "batch" in row]
        for name in (
            "pgd_accuracy",
            "fgsm_accuracy",
            "input_grad_norm_l2",
            "input_grad_norm_l2_squared",
            "mean_abs_delta_pgd",
            "distortion",
        )
    }
    assert told["replay_identical"] == 1.0
    assert {row["batch"] for row in rows if "batch" in row} == {1, 2, 3, 4}
    start, inside = collapse_start(*(running_means(series[name], 2) for name in ("pgd_accuracy", "fgsm_accuracy")))
    assert (told["catastrophic_overfitting_batch_in_epoch"], told["collapsed_inside"]) == (start, float(inside))
    ratios = [
        ("gradient_norm_peak_over_before_ratio", "input_grad_norm_l2"),
        ("gradient_norm_squared_peak_over_before_ratio", "input_grad_norm_l2_squared"),
    ]
    for ratio, name in ratios:
        before = statistics.median(series[name][:start])
        assert told[ratio] == pytest.approx(max(series[name][start:]) / before)
    assert told[ratios[0][0]] != told[ratios[1][0]]
    for name in ("pgd_accuracy", "fgsm_accuracy", "mean_abs_delta_pgd"):
        assert told[f"{name}_before"] == pytest.approx(statistics.fmean(series[name][:start]))
        assert told[f"{name}_after"] == pytest.approx(statistics.fmean(series[name][start:]))
    for place, part in (("before", slice(start)), ("after", slice(start, None))):
        expected = mean_of_defined(series["distortion"][part])
        assert told[f"distortion_{place}"] == pytest.approx(expected, nan_ok=True)
    assert replay(run, attack=ATTACKS["pgd7"], points=5, smooth=2) == rows


def test_a_peak_before_the_collapse_is_none_of_the_collapse() -> None:
    assert peak_over_before([1.0, 30.0, 1.0, 1.0, 1.0, 1.0, 1.0], 4) == 1.0
    assert peak_over_before([1.0, 3.0, 2.0, 1.0, 20.0, 4.0], 4) == 20 / 1.5
    assert math.isnan(peak_over_before([0.0, 0.0, 2.0], 2))


def test_the_mean_distortion_is_of_the_batches_that_have_one() -> None:
    """A batch of which no image is right at both ends of its single step has none."""
    nan = math.nan
    assert (
        mean_of_defined([nan, 2.0, nan, 4.0]) == 3.0
        and math.isnan(mean_of_defined([nan]))
        and mean_of_defined([0.0]) == 0
    )
    assert math.isnan(mean_of_defined([]))


def test_the_batch_after_which_a_collapse_begins() -> None:
    single = [60.0, 65.0, 70.0, 80.0, 50.0, 90.0]
    assert collapse_start([50.0, 60.0, 40.0, 17.0, 60.0, 0.0], single) == (5, True), "the last time"
    assert collapse_start([50.0, 60.0, 58.0, 50.0, 15.0, 0.0], [60.0, 65.0, 70.0, 80.0, 80.0, 90.0]) == (3, True)
    assert collapse_start([50.0, 60.0, 40.0, 45.0], single[:4]) == (2, False), "none: the fall to the lowest accuracy"


@pytest.mark.parametrize("length", [1, 20, 60, 100])
def test_however_slowly_robustness_falls_the_net_before_is_still_robust(length: int) -> None:
    """Where training counts as collapsed, most of the fall is over: it is not where the fall starts."""
    fall = [45.0 * max(0.0, 1 - step / length) for step in range(1, 161)]
    robust, single = [45.0] * 240 + fall, [60.0] * 240 + [60.0 + 40 * (1 - r / 45) for r in fall]
    start, is_collapse = collapse_start(robust, single)
    assert is_collapse and robust[start - 1] >= 0.9 * 45 and 240 <= start <= 240 + 0.1 * length


def test_an_epoch_that_was_collapsed_from_its_first_batch_does_not_collapse() -> None:
    assert collapse_start([2.0, 1.0, 0.0, 1.0], [90.0] * 4) == (1, False)


def test_the_start_is_found_among_the_noise_of_single_batches() -> None:
    """128 images a batch, 45 % of them right up to the 240th, none from the 250th on; smoothed as in the study."""
    found = []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        true = [0.45] * 240 + [0.45 * (1 - step / 10) for step in range(1, 11)] + [0.0] * 141
        robust = [100 * draw.binomial(128, share) / 128 for share in true]
        single = [60.0 if share > 0.4 else 95.0 for share in true]
        found.append(collapse_start(running_means(robust, 9), running_means(single, 9))[0])
    assert sum(abs(start - 240) <= 15 for start in found) >= 17


def test_surfaces_of_one_image_at_three_moments(run: TrainedRun) -> None:
    rows = replay_surfaces(run, attack=ATTACKS["pgd7"], points=3)
    assert len({(row["image"], row["batch"]) for row in rows}) == 1
    assert tuple(dict.fromkeys(row["moment"] for row in rows)) == MOMENTS
    at = {m: [r["value"] for r in rows if r["moment"] == m and r["metric"] == "loss"] for m in MOMENTS}
    assert all(len(values) == 9 for values in at.values())
    # The model before is the one that the batch is trained with, not that at the start of the epoch.
    seen: dict[int, tuple[nn.Module, torch.Tensor, torch.Tensor]] = {}
    replay_epoch(run, lambda batch, model, x, y: seen.update({batch: (copy.deepcopy(model), x, y)}))
    model, x, y = seen[rows[0]["batch"]]
    image = rows[0]["image"]
    loss = torch.nn.functional.cross_entropy(model(x[image : image + 1]), y[image : image + 1]).item()
    corner = [r["value"] for r in rows if r["moment"] == MOMENTS[0] and r["metric"] == "loss" and r["a"] == r["b"] == 0]
    assert corner == [pytest.approx(loss, rel=1e-4)]
    last = torch.nn.functional.cross_entropy(end_of_epoch(run)(x[image : image + 1]), y[image : image + 1]).item()
    corner = [r["value"] for r in rows if r["moment"] == MOMENTS[2] and r["metric"] == "loss" and r["a"] == r["b"] == 0]
    assert corner == [pytest.approx(last, rel=1e-4)]


class Bump(nn.Module):
    """Wrong where the first pixel is within ``width`` of a place that the second pixel chooses; right everywhere if 0."""

    def __init__(self, places: tuple[float, float], width: float) -> None:
        super().__init__()
        self.places, self.width = places, width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.flatten(1).unbind(1)
        place = torch.where(second > 0.5, self.places[1], self.places[0])
        rising = self.width**2 - (first - place).square() if self.width else first - 10
        return torch.stack([torch.zeros_like(rising), rising], 1)


@pytest.mark.parametrize(("points", "chosen"), [(11, 1), (22, 0)])
def test_the_image_is_chosen_on_the_grid_of_its_surface(points: int, chosen: int) -> None:
    """One image is wrong at 10/21 of the way, where a surface of 11 points does not look, the other at 5/10."""
    nets = [Bump((0, 0), 0.0), *(Bump((EPS * 10 / 21, EPS * 5 / 10), EPS / 1000) for _ in range(2))]
    x, y = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), torch.zeros(2, dtype=torch.long)
    x = torch.cat([torch.zeros_like(x), x], 3)
    models: list[nn.Module] = [net.eval() for net in nets]
    index = replay_surfaces_module._choose_image(models, x, y, EPS, points - 2)
    assert index.tolist() == [chosen]
    first, second = input_directions(models[0], x[index], y[index], index, ATTACKS["fgsm"], EPS, 0)
    rows = surface_rows(models[1], x[index], y[index], first, second, points, index, {})
    assert [row["value"] for row in rows if row["metric"] == "distorted_interval"] == [1.0]


@pytest.mark.parametrize(
    ("robust", "distortion", "shown"),
    [
        ([40, 60, 5, 4], [0, 0, 40, 0.5], [("collapse", 3), ("distortion gone", 4)]),
        ([40, 60, 5, 4], [0, 0, 40, 30], [("collapse", 3)]),  # it stays distorted: the last weights are not "gone"
        ([40, 60, 55, 50], [0, 0, 0, 0], [("largest fall, no collapse", 3)]),  # nothing to be distorted and to vanish
    ],
)
def test_surfaces_at_the_collapse_and_without_distortion(
    run: TrainedRun, tmp_path: Path, robust: list[float], distortion: list[float], shown: list[tuple[str, int]]
) -> None:
    """One image, each model at its own epoch, which the row names; only of epochs that the history tells."""
    for number, file in enumerate((COLLAPSE_FILES[1], VANISHED_FILE)):
        model = make_model()
        with torch.no_grad():
            model[0].weight.mul_(number + 1)
        checkpoints.save_checkpoint(tmp_path / file, model.state_dict(), {"epoch": 3 + number})
    told = {"epoch": [1, 2, 3, 4], "train_pgd7": robust, "train_fgsm": [50, 65, 90, 95], "train_distortion": distortion}
    pd.DataFrame(told).to_csv(tmp_path / "history.csv", index=False)
    vouch_for(tmp_path / "history.csv")
    kept = TrainedRun(**{**run.__dict__, "path": tmp_path})
    rows = collapse_surfaces(kept, points=3)
    surfaces = [row for row in rows if "moment" in row]
    assert list(dict.fromkeys((row["moment"], row["epoch"]) for row in surfaces)) == shown
    said = {row["metric"]: row["value"] for row in rows if "moment" not in row}
    assert said == {"collapsed": float(shown[0][0] == "collapse"), "distortion_vanished": float(len(shown) == 2)}
    assert len({row["image"] for row in surfaces}) == 1
    losses = [[r["value"] for r in surfaces if r["moment"] == m and r["metric"] == "loss"] for m, _ in shown]
    assert all(a != b for a, b in itertools.pairwise(losses))
    with pytest.raises(UserError, match="distortion"):
        collapse_surfaces(TrainedRun(**{**run.__dict__, "path": tmp_path / "nothing"}), points=3)


def test_weights_of_another_epoch_than_the_history_tells_are_refused(run: TrainedRun, tmp_path: Path) -> None:
    for file in (COLLAPSE_FILES[1], VANISHED_FILE):
        checkpoints.save_checkpoint(tmp_path / file, make_model().state_dict(), {"epoch": 4})
    told = {"epoch": [1, 2, 3, 4], "train_pgd7": [40, 60, 5, 4], "train_fgsm": [50, 65, 90, 95], "train_distortion": 0}
    pd.DataFrame(told).to_csv(tmp_path / "history.csv", index=False)
    vouch_for(tmp_path / "history.csv")
    with pytest.raises(UserError, match="epoch 4; by the run's history it should be 3"):
        collapse_surfaces(TrainedRun(**{**run.__dict__, "path": tmp_path}), points=3)


def test_a_run_without_a_kept_epoch_says_so(run: TrainedRun, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="keep_collapse"):
        replay_epoch(TrainedRun(**{**run.__dict__, "path": tmp_path}), lambda batch, model, x, y: None)


def test_what_the_checkpoint_method_logs_is_in_the_history_and_another_run_can_follow_it() -> None:
    """Figure 2.5: fast AT whose radius in epoch e is the checkpoint method's mean perturbation there."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (48, 1, 6, 6), generator=draw, dtype=torch.uint8)
    split = Split(x, (x.float().mean((1, 2, 3)) > 127).long(), 255.0)
    plain = {**CONTENT, "probes": {}, "keep_collapse": None}
    source = Recipe.model_validate({**plain, "method": "single_step_checkpoints", "parameters": {"checkpoints": 3}})
    history = loop.train(make_model(), split, split, source, ATTACKS, EPS, 0, progress=False).history
    recorded = history["mean_perturbation"]
    assert recorded.between(0, EPS * (1 + 1e-6)).all() and recorded.nunique() > 1
    schedule = {"kind": "recorded", "recipe": "source", "column": "mean_perturbation"}
    schedule["values"] = [value / EPS for value in recorded]  # type: ignore[assignment]
    follower = Recipe.model_validate({**plain, "eps_schedule": schedule})
    followed = loop.train(make_model(), split, split, follower, ATTACKS, EPS, 0, progress=False).history
    assert followed["eps"].tolist() == pytest.approx(recorded.tolist())
