"""Protocol of kim2023 chapter 3, part A, in the effective configuration: what sections 3.3.1 and 3.4.1 say in words."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.tim_1d import tim_1d
from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment

ROOT = Path(__file__).parents[2]
ATTACKS = ("cw", "pgd", "dim", "tim", "nia")
WORDS = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"}


@pytest.fixture(scope="module")
def paper() -> Experiment:
    return load_experiment(ROOT / "config", "paper")


def test_training(paper: Experiment) -> None:
    """ "70 epochs and the Adam optimizer ... learning rate of 0.005 ... cosine-annealing"."""
    for name in ("kim2023_audio", "kim2023_audio-vctk"):
        recipe = paper.recipes[name]
        assert (recipe.method, recipe.epochs, recipe.optimizer.name) == ("standard", 70, "adam")
        assert recipe.optimizer.parameters["lr"] == 0.005 and recipe.optimizer.parameters["weight_decay"] == 0
        assert (recipe.lr_schedule.kind, recipe.lr_schedule.end, recipe.select) == ("cosine", 0, "last")


def test_every_attack_goes_twice_as_far_as_its_budget_in_ten_steps_from_the_clip(paper: Experiment) -> None:
    for name in ATTACKS:
        spec = paper.attacks[f"kim2023_audio_{name}"]
        given = spec.parameters
        assert given["steps"] == 10 and spec.bounds == (-1, 1) and spec.norm == "Linf" and spec.model_mode == "eval"
        share = given.get("rel_step_size")
        assert given["step_size"] is None and share in (None, 0.2), "None: 2 / steps"
        assert not given.get("random_start")
    assert paper.attacks["kim2023_audio_dim"].parameters["resize_rate"] == 0.9
    assert paper.attacks["kim2023_audio_dim"].parameters["probability"] == 1, "at every step"
    assert paper.attacks["kim2023_audio_tim"].parameters["kernel"] == 3
    assert paper.attacks["kim2023_audio_nia"].parameters["noise"] == 1, "U[-eps, eps]"
    assert paper.attacks["kim2023_audio_cw"].parameters["kappa"] == 0


def test_the_second_reading_of_cw_is_equation_3_5(paper: Experiment) -> None:
    """One c, steps of Adam and a rate that the work does not give; the figures' own CW stays the loop of signs."""
    spec = paper.attacks["kim2023_audio_cw_l2"]
    assert (spec.attack, spec.bounds, spec.norm, spec.model_mode) == ("cw_l2", (-1, 1), "Linf", "eval")
    given = spec.parameters
    assert (given["c"], given["search_steps"], given["steps"], given["kappa"]) == (1, 1, 100, 0)
    assert (given["rel_step_size"], given["step_size"]) == (0.1, None)
    second, first = (paper.studies["kim2023"].comparisons[name] for name in ("ch3a_cw_l2", "ch3a_cw"))
    assert second.parameters | {"attack": "", "noise": []} == first.parameters | {"attack": "", "noise": []}
    assert second.parameters["noise"] == [0.2] and (second.runs, second.weights) == (first.runs, first.weights)
    printed = pd.read_csv(ROOT / "resources" / "paper" / "kim2023_cw_two_readings.csv")
    keys, table = ["source", "target"], pd.read_csv(ROOT / "resources" / "paper" / "kim2023_table_3_2.csv")
    cw = table[table["attack"] == "cw"].set_index(keys)["value"]
    own = printed[printed["metric"] == "transferability"].set_index(keys)["value"]
    assert own.to_dict() == cw.to_dict() and len(own) == 49
    assert sorted(printed[printed["metric"] != "transferability"]["value"]) == [18.43, 65.39]


def test_tim_is_evaluated_over_the_six_lengths_of_the_work(paper: Experiment) -> None:
    """ "diverse kernel lengths k in [3, 5, 7, 9, 11, 15]"."""
    study = paper.studies["kim2023"]
    given = study.comparisons["ch3a_tim_kernels"].parameters
    assert given["attack"] == "kim2023_audio_tim" and given["kernels"] == [3, 5, 7, 9, 11, 15]
    assert given["samples"] is None and given["decibels"] == -20


def test_comparisons(paper: Experiment) -> None:
    study = paper.studies["kim2023"]
    nets = [planned.architecture for planned in paper.runs("kim2023", "ch3a_gsc")]
    printed = pd.read_csv(ROOT / "resources" / "paper" / "kim2023_table_3_2.csv")
    assert nets == list(dict.fromkeys(printed["source"])) == list(dict.fromkeys(printed["target"]))
    assert list(dict.fromkeys(printed["attack"])) == list(ATTACKS)
    for prefix, levels in (("ch3a", [0.1, 0.2, 0.5, 1]), ("ch3a_vctk", [0.2])):
        for name in ATTACKS:
            given = study.comparisons[f"{prefix}_{name}"].parameters
            assert given["attack"] == f"kim2023_audio_{name}" and given["decibels"] == -20
            assert given["noise"] == levels and given["draws"] == 3 and given["samples"] is None
    for name in ("cw", "pgd", "nia"):
        given = study.comparisons[f"ch3a_steps_{name}"].parameters
        assert given["noise"] == 0.2 and given["draws"] == 5 and 10 in given["steps"]
        assert (
            next(p.architecture for p in paper.runs("kim2023", study.comparisons[f"ch3a_steps_{name}"].runs[0]))
            == "densenet"
        )


def test_nets_and_data(paper: Experiment) -> None:
    nets = {planned.architecture for runs in ("ch3a_gsc", "ch3a_vctk") for planned in paper.runs("kim2023", runs)}
    for name in nets:
        entry = paper.architectures[name]
        assert entry.normalisation == "none", "inputs are bytes"
        if entry.architecture.startswith("mel_"):
            assert (entry.parameters["rate"], entry.parameters["fft"], entry.parameters["hop"]) == (16_000, 2048, 512)
            assert entry.parameters["scale"] == "raw"
            assert entry.parameters["mels"] == (30 if name == "model_f" else 32)
        else:
            assert entry.parameters["encoder"] == "pretrained" and entry.parameters["channels"] == 512
        assert entry.parameters["outputs"] == (None if name.startswith("model_") else 12)
    words = paper.datasets["speech_commands10"].parameters
    assert words["version"] == "v0.01" and set(words["words"]) == WORDS and len(words["words"]) == 10
    assert paper.datasets["vctk10"].parameters["speakers"] == 10


def test_printed_ratios_are_one_minus_a_quotient() -> None:
    """All but that of PGD from Model-W to Model-F, whose transferability is misprinted: 82.73 for 82.37 = 612/743."""
    folder = ROOT / "resources" / "paper"
    keys = ["source", "target", "attack"]
    clean = pd.read_csv(folder / "kim2023_table_3_3.csv").set_index(keys)["value"]
    rows = pd.read_csv(folder / "kim2023_table_3_4.csv")
    noisy, ratio = (
        rows[rows["metric"] == m].set_index(keys)["value"] for m in ("transferability_noisy", "nullified_ratio")
    )
    gap = (100 * (1 - noisy / clean) - ratio).abs()
    assert list(gap[gap > 0.02].index) == [("model_w", "model_f", "pgd")] and len(gap) == 20
    assert round(100 * 612 / 743, 2) == 82.37 and abs(100 * (1 - 72.01 / 82.37) - 12.58) < 0.01


def test_tim_of_the_work_is_not_pgd() -> None:
    """The default kernel is of length 3 and not of length 1: seen in the answer to a single 1."""
    seen = []

    def net(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return torch.stack([x[:, 5], -x[:, 5]], dim=1)

    x = torch.zeros(1, 11)
    moved = tim_1d(net, x, torch.tensor([0]), ThreatModel("Linf", 0.1, (-1, 1)), None, steps=1)  # type: ignore[arg-type]
    assert moved.nonzero()[:, 1].tolist() == [4, 5, 6]
