"""Hierarchies, sizes and parts of hierarchical networks: what is counted, and that wrong ones are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from robustscape.config.loading import load_experiment
from robustscape.models import build_classifier
from robustscape.models.hierarchical import HierarchicalNetwork
from robustscape.theory.ma2025 import network_parts as parts_module
from robustscape.theory.ma2025.class_hierarchies import WHOLE, class_hierarchies
from robustscape.theory.ma2025.network_parts import network_parts
from robustscape.theory.ma2025.network_sizes import count_parameters, network_sizes

ROOT = Path(__file__).parents[3]

TREE = {
    "animals": ["bird", "cat", "deer", "dog", "frog", "horse"],
    "vehicles": ["airplane", "automobile", "ship", "truck"],
}


def number(rows: list[dict[str, Any]], metric: str, **where: Any) -> float:
    (row,) = [row for row in rows if row["metric"] == metric and all(row[key] == value for key, value in where.items())]
    return float(row["value"])


def test_members_and_chances() -> None:
    rows = class_hierarchies(
        hierarchies={"cifar10": TREE, "hundred": {str(i): [f"{i}{j}" for j in range(5)] for i in range(20)}}
    )
    members = [
        (row["meta_class"], row["leaf_class"])
        for row in rows
        if row["metric"] == "member" and row["dataset"] == "cifar10"
    ]
    assert members == [(meta, leaf) for meta, leaves in TREE.items() for leaf in leaves]
    whole = {"meta_class": WHOLE, "leaf_class": WHOLE}
    assert number(rows, "leaf_classes", dataset="cifar10", **whole) == 10
    assert number(rows, "random_meta_class_chance", dataset="cifar10", **whole) == 50
    assert number(rows, "random_meta_class_chance", dataset="hundred", **whole) == 5
    expected = 100 * (0.6 * 5 / 9 + 0.4 * 3 / 9)
    assert number(rows, "chance_given_leaf_wrong", dataset="cifar10", **whole) == pytest.approx(expected)
    assert number(rows, "chance_given_leaf_wrong", dataset="hundred", **whole) == pytest.approx(100 * 4 / 99)


def test_a_class_in_two_meta_classes_is_counted() -> None:
    rows = class_hierarchies(hierarchies={"d": {"a": ["x", "y"], "b": ["y", "z"]}})
    assert number(rows, "shared_classes", dataset="d") == 1 and number(rows, "leaf_classes", dataset="d") == 3


def test_sizes_are_those_of_the_nets() -> None:
    """ResNet-50, and ResNet-10 of standard width for each part (H8)."""
    rows = network_sizes(sizes={"cifar10": [6, 4], "cifar5x5": [5] * 5, "cifar100": [5] * 20})
    expected = {
        "cifar10": (23_520_842, 14_700_492),
        "cifar5x5": (23_551_577, 29_404_062),
        "cifar100": (23_705_252, 102_921_912),
    }
    for dataset, counts in expected.items():
        assert tuple(number(rows, "parameters", dataset=dataset, network=n) for n in ("flat", "har")) == counts


def test_sizes_are_those_of_the_configured_architectures() -> None:
    """The check builds the nets itself; the entries that are trained at the scale ``paper`` are no others."""
    entries = load_experiment(ROOT / "config", "paper").architectures
    for name, shown in (("resnet50", 23_520_842), ("resnet10_bn", 4_903_242)):
        entry = entries[name]
        with torch.device("meta"):
            net = build_classifier(entry.architecture, entry.parameters, [3, 32, 32], 10, None, None)
        assert count_parameters(net) == shown
    assert number(network_sizes(sizes={"d": [6, 4]}), "parameters", network="flat") == 23_520_842


def test_parts_are_read_from_the_network() -> None:
    rows = network_parts(meta_classes=TREE)
    assert {row["part"]: row["value"] for row in rows if row["metric"] == "outputs"} == {
        "MC": 2,
        "LC_1": 6,
        "LC_2": 4,
        "F": 10,
    }
    assert number(rows, "largest_sum") == pytest.approx(1, abs=1e-12) and number(rows, "largest_error") < 1e-12


class NormalisedTwice(HierarchicalNetwork):
    """The products without the logarithms of the meta-classifier."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([leaf(x).log_softmax(1) for leaf in self.leaves], 1)


def test_a_network_that_is_no_distribution_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "HierarchicalNetwork", NormalisedTwice)
    rows = network_parts(meta_classes=TREE)
    assert number(rows, "largest_sum") == pytest.approx(2) and number(rows, "largest_error") > 0.1
