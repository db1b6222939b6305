"""Chapter 3, part A: the layers of table 3.1 and the toy of figure 3.4, on the right and on wrong things."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd
import pytest
import torch
from theory_checks import Rows, replace_in_check, run_check, single_value

from robustscape.attacks.nia import nia
from robustscape.config.architectures import ArchitectureEntry
from robustscape.config.base import read_mapping, read_yaml
from robustscape.models import wav2vec_lstm
from robustscape.theory.kim2023.sharp_and_flat_maxima import HillyLoss

ROOT = Path(__file__).parents[3]
NETS = {"lstm": {"ls_large": 512, "ls_small": 64}, "linear": {"fc_large": [1000, 500], "fc_small": []}}


def test_the_layers_are_the_printed_ones() -> None:
    keys = ["architecture", "layer", "layer_type", "metric", "value", "unit"]
    printed = pd.read_csv(ROOT / "resources" / "paper" / "kim2023_table_3_1.csv")[keys]
    found = pd.DataFrame(run_check("kim2023/wav2vec_classifiers", **NETS))[keys]
    assert sorted(map(tuple, found.to_numpy().tolist())) == sorted(map(tuple, printed.to_numpy().tolist()))


def test_the_layers_are_read_off_the_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_in_check(
        monkeypatch,
        "kim2023/wav2vec_classifiers",
        "wav2vec_lstm",
        functools.partial(wav2vec_lstm.wav2vec_lstm, channels=256),
    )
    rows = run_check("kim2023/wav2vec_classifiers", **NETS)
    assert single_value(rows, "in_features", architecture="ls_large", layer=1) == 256


def test_the_check_has_the_sizes_of_the_configuration() -> None:
    entries = read_mapping(ArchitectureEntry, ROOT / "config" / "architectures.yaml")
    study = read_yaml(ROOT / "config" / "studies" / "kim2023" / "chapter_3a.yaml")
    given = study["theory"]["ch3a_classifiers"]["parameters"]
    assert given == NETS
    for name, hidden in {**given["lstm"], **given["linear"]}.items():
        assert entries[name].parameters["hidden"] == hidden and entries[name].parameters["outputs"] == 12
        sizes = {key: entries[name].parameters[key] for key in ("channels", "kernels", "strides")}
        assert sizes == {"channels": 512, "kernels": [10, 8, 4, 4, 4, 1, 1], "strides": [5, 4, 2, 2, 2, 1, 1]}


def by_method(rows: Rows, metric: str) -> tuple[float, float]:
    pgd, noisy = (single_value(rows, metric, method=method) for method in ("PGD", "NIA"))
    return pgd, noisy


def test_noise_leaves_the_sharp_maximum() -> None:
    rows = run_check("kim2023/sharp_and_flat_maxima")
    at_peak, variance = by_method(rows, "share_at_the_sharp_maximum"), by_method(rows, "sample_variance")
    assert at_peak[0] > 0.9 and at_peak[1] < 0.5 and variance[0] > 1.5 * variance[1]
    assert by_method(rows, "loss_on_target")[0] < by_method(rows, "loss_on_target")[1]


def test_without_its_noise_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_in_check(monkeypatch, "kim2023/sharp_and_flat_maxima", "nia", functools.partial(nia, noise=0.0))
    rows = run_check("kim2023/sharp_and_flat_maxima")
    for metric in ("share_at_the_sharp_maximum", "sample_variance", "loss_on_target"):
        pgd, noisy = by_method(rows, metric)
        assert pgd == pytest.approx(noisy)


def test_the_loss_of_the_toy_is_its_cross_entropy() -> None:
    one = torch.ones(7, dtype=torch.float64)
    net = HillyLoss(one, 0.3 * one, 0.05 * one)
    x = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]
    losses = torch.nn.functional.cross_entropy(net(x), torch.zeros(7, dtype=torch.int64), reduction="none")
    torch.testing.assert_close(losses, net.loss(x))
