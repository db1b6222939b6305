"""Sizes that are said before anything is prepared, against those of the data and networks themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustscape import catalog
from robustscape.config.loading import load_experiment
from robustscape.data.prepared import prepare_dataset
from robustscape.pipeline.cost.count import count_net
from robustscape.pipeline.cost.sizes import NETS, data_size, net_key, nets_csv, read_nets

ROOT = Path(__file__).parents[3]
SMALL = load_experiment(ROOT / "config", "small")

#: Those whose images come with a package.
HERE = sorted(
    name
    for name, entry in SMALL.datasets.items()
    if {entry.dataset, entry.parameters.get("source")} & {"digits", "mnist5k", "fashion_mnist5k"}
)


@pytest.mark.parametrize("name", HERE)
def test_data_sets_have_the_size_that_is_said(name: str, tmp_path: Path) -> None:
    entry = SMALL.datasets[name]
    said = data_size(entry)
    assert said is not None
    card = prepare_dataset(name, entry, tmp_path, tmp_path / "downloads")
    assert (list(said.shape), said.classes) == (card["shape"], card["num_classes"])
    if entry.dataset in ("class_hierarchy", "mnist2"):  # classes differ a little in number
        assert said.train == pytest.approx(card["train"], rel=0.03) and said.test == pytest.approx(
            card["test"], rel=0.06
        )
    else:
        assert (said.train, said.test) == (card["train"], card["test"])
    assert said.bytes == pytest.approx(card["bytes"], rel=0.1)
    assert data_size(entry, tmp_path).train == card["train"]  # type: ignore[union-attr]


def test_every_data_set_of_the_package_has_a_size() -> None:
    assert [name for name, entry in SMALL.datasets.items() if data_size(entry) is None] == []
    assert {entry.dataset for entry in SMALL.datasets.values()} >= set(catalog.catalog_entries("dataset")) - {
        "png_folder",
        "random_inputs",  # no entry has it: a rehearsal does
    }


def test_every_network_of_the_scales_is_counted() -> None:
    """`robustscape cost --count` counts those that are new."""
    for scale in ("smoke", "small", "paper"):
        experiment = load_experiment(ROOT / "config", scale)
        for work, study in experiment.studies.items():
            for run in {planned.run for name in study.runs for planned in experiment.runs(work, name)}:
                data = data_size(experiment.datasets[run.dataset])
                assert data is not None
                assert net_key(experiment.architectures[run.architecture], data) in read_nets(), (scale, run)


def test_the_counts_are_those_of_torch() -> None:
    nets = read_nets()
    for name, dataset in (("lenet", "mnist"), ("preactresnet18", "cifar10"), ("mlp_16", "digits")):
        data = data_size(SMALL.datasets[dataset])
        assert data is not None
        assert nets.get(
            net_key(SMALL.architectures[name], data), count_net(SMALL.architectures[name], data)
        ) == count_net(SMALL.architectures[name], data)
    cifar = data_size(SMALL.datasets["cifar10"])
    assert cifar is not None
    known = count_net(SMALL.architectures["preactresnet18"], cifar)
    assert known.flop == pytest.approx(1.11e9, rel=0.01) and known.weights == pytest.approx(11.2e6, rel=0.01)
    assert nets_csv(nets) == NETS.read_text(), "written by `robustscape cost --count`"
