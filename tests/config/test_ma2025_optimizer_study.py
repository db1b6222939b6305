"""Chapter 4's experiments of ma2025 in the effective configuration at the scale ``paper``, and the numbers that it printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from robustscape.claims.verdicts import claim_verdict
from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment
from robustscape.config.studies import Item
from robustscape.report.items import aggregate_repetitions, read_rows
from robustscape.report.level_matching import same_level
from robustscape.report.words import FAILS

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "resources" / "paper"
FAMILIES = {"gaussian_variance": "variances", "autoattack_l2_eps": "l2", "autoattack_linf_eps": "linf"}
KEYS = {"mnist": "mnist", "fashion_mnist": "fashion", "speech_commands": "speech"}

#: Figures and tables of M's part of the chapter; the theory has items of its own.
TABLES = [f"table_4_{n}" for n in range(1, 8)]
FIGURES = [f"figure_4_{n}" for n in (1, 2, 3, 4, 5, 6, *range(10, 21))]


@pytest.fixture(scope="module")
def paper() -> Experiment:
    return load_experiment(ROOT / "config", "paper")


def printed_rows(name: str) -> pd.DataFrame:
    return read_rows(PAPER / f"ma2025_{name}.csv")


def severity_parameters(experiment: Experiment, dataset: str, table: str) -> dict[str, Any]:
    key = "vit" if table == "table_4_5" else KEYS.get(dataset, dataset)
    return experiment.studies["ma2025"].measurements[f"ch4_{key}_severity"].parameters


def test_every_table_and_figure_of_the_chapter_is_an_item(paper: Experiment) -> None:
    items = paper.studies["ma2025"].items
    assert set(TABLES + FIGURES) <= set(items)
    for name in TABLES:
        assert items[name].kind == "table" and items[name].printed == f"ma2025_{name}"
    for name in FIGURES:
        there = (PAPER / f"ma2025_{name}.csv").exists()
        assert items[name].kind == "figure" and items[name].printed == (f"ma2025_{name}" if there else None)


@pytest.mark.parametrize("table", ["table_4_3", "table_4_4", "table_4_5", "table_4_6", "table_4_7", "figure_4_1"])
def test_every_printed_level_is_measured(table: str, paper: Experiment) -> None:
    rows = printed_rows(table)
    cells = rows[["dataset", "topk", "perturbation", "level"]].drop_duplicates()
    for dataset, topk, perturbation, level in cells.itertuples(index=False):
        parameters = severity_parameters(paper, dataset, table)
        assert topk in {f"top{k}" for k in parameters["top"]}, (dataset, topk)
        levels = [0.0] if perturbation == "none" else parameters[FAMILIES[perturbation]]
        assert any(same_level(level, one) for one in levels), (dataset, perturbation, level)
    assert set(rows["metric"]) == {"accuracy"}


def test_every_printed_number_has_a_metric_and_factors_of_its_item(paper: Experiment) -> None:
    items = paper.studies["ma2025"].items
    dropped = {"architecture", "topk"}  # one level in each item that leaves it out
    for name in (*TABLES, *FIGURES):
        if items[name].printed is None:
            continue
        rows = printed_rows(name)
        assert set(rows["metric"]) <= set(items[name].metrics), name
        columns = set(rows.columns) - {"metric", "value", "std", "unit"}
        missing = columns - set(items[name].factors)
        assert missing <= dropped, (name, missing)
        keys = [*(columns & set(items[name].factors)), "metric"]
        assert not rows.duplicated(keys).any(), name


def test_chosen_cells_are_those_of_figure_4_1_and_make_table_4_1(paper: Experiment) -> None:
    """The highlighting of table 4.3 is lost; the cells are those whose mean is the printed average."""
    figure, averages = printed_rows("figure_4_1"), printed_rows("table_4_1")
    averages = averages[averages["metric"] == "average_robust_accuracy"].set_index(["dataset", "optimizer"])["value"]
    for dataset, rows in figure.groupby("dataset"):
        parameters = severity_parameters(paper, str(dataset), "table_4_3")
        chosen = dict(zip(FAMILIES, parameters["average"], strict=True))
        for family, level in chosen.items():
            (printed,) = rows.loc[rows["perturbation"] == family, "level"].unique()
            assert same_level(printed, level), (dataset, family)
        assert set(rows["topk"]) == {f"top{parameters['average_top']}"}
        for optimizer, own in rows[rows["perturbation"] != "none"].groupby("optimizer"):
            # CIFAR-10, SGD: its L2 cell is misprinted by 0.37, a third of which shows here
            slack = 0.13 if dataset == "cifar10" else 0.006
            assert own["value"].mean() == pytest.approx(averages[dataset, optimizer], abs=slack)


def test_autoattack_is_standard_in_both_norms_on_1000_images(paper: Experiment) -> None:
    measurements = paper.studies["ma2025"].measurements
    for name, entry in measurements.items():
        if entry.measure != "accuracy_by_severity":
            continue
        parameters = entry.parameters
        specs = [spec for _, spec in paper.suite(parameters["suite"]).attacks]
        for norm in ("L2", "Linf"):
            own = [spec for spec in specs if spec.norm == norm]
            assert [spec.attack for spec in own] == ["apgd", "apgd", "square", "fab"], name
            assert own[0].parameters["iterations"] == 100 and own[2].parameters["queries"] == 5000
            assert own[1].parameters["n_target_classes"] == own[3].parameters["n_target_classes"] == 9
            assert all(spec.bounds == (0.0, 1.0) and spec.model_mode == "eval" for spec in own)
        attacked = None if name == "ch4_speech_severity" else 1000  # its printed cells are no multiples of 0.1 %
        assert (parameters["attacked_samples"], parameters["samples"], parameters["l2_samples"]) == (
            attacked,
            None,
            None,
        )
        assert parameters["rel_eps"] == (0.5 if name == "ch4_speech_severity" else 1.0)


def test_levels_in_l2_are_meant_for_the_data_sets_own_sizes(paper: Experiment) -> None:
    sizes = {"mnist": 784, "fashion": 784, "cifar10": 3072, "cifar100": 3072, "svhn": 3072, "speech": 2 * 16000}
    for name, entry in paper.studies["ma2025"].measurements.items():
        if "dimension" in entry.parameters:
            key = name.removeprefix("ch4_").split("_")[0]
            assert entry.parameters["dimension"] == sizes.get(key, 3 * 224 * 224), name


def test_three_seeds_and_three_optimizers_but_for_what_is_said(paper: Experiment) -> None:
    study = paper.studies["ma2025"]
    for name in (n for n in study.runs if n.startswith("ch4_")):
        runs = paper.runs("ma2025", name)
        seeds, optimizers = {r.run.seed for r in runs}, {paper.factors[r.run.recipe].get("optimizer") for r in runs}
        single = any(part in name for part in ("_first", "_one", "_relu", "filtered", "_vit"))
        assert seeds == ({0} if single else {0, 1, 2}), name
        if "momentum" in name:
            assert optimizers == {"sgd_momentum"}
        elif "_one" in name or "filtered" in name:
            assert optimizers == {"sgd"}
        else:
            assert optimizers == {"sgd", "adam", "rmsprop"}, name
        assert all(r.run.eps == 0 and r.own_protocol for r in runs), name


def test_pictures_are_at_the_largest_levels_of_table_4_3(paper: Experiment) -> None:
    measurements, comparisons = paper.studies["ma2025"].measurements, paper.studies["ma2025"].comparisons
    for key in ("mnist", "fashion", "cifar10", "cifar100", "svhn", "caltech101", "imagenette"):
        levels = measurements[f"ch4_{key}_severity"].parameters
        assert measurements[f"ch4_{key}_noise_pictures"].parameters["variance"] == levels["variances"][-1]
        for norm in ("l2", "linf"):
            parameters = comparisons[f"ch4_{key}_{norm}_pictures"].parameters
            assert parameters["level"] == levels[norm][-1] and parameters["norm"].lower() == norm
            assert parameters["dimension"] == levels["dimension"]


def as_printed(item: Item, **changed: float) -> pd.DataFrame:
    """The printed numbers of an item as if three seeds had given each; ``changed`` are added to optimizers' accuracies."""
    printed = read_rows(PAPER / f"{item.printed}.csv").dropna(subset=["value"])
    printed = printed.assign(**{factor: None for factor in item.factors if factor not in printed})
    rows = printed[[*item.factors, "metric", "unit"]].assign(value=printed["value"])
    rows["value"] = (rows["value"] + rows["optimizer"].map(changed).fillna(0.0)).clip(0.0, 100.0)
    table = aggregate_repetitions(rows, item.factors, printed).assign(std=0.0, n=3, seed="0;1;2")
    perturbation = table["perturbation"] if "perturbation" in table else pd.Series("none", index=table.index)
    if item.printed == "ma2025_table_4_6":
        return table.assign(samples=11_005)  # all recordings
    return table.assign(samples=perturbation.map(lambda name: 1000 if "autoattack" in str(name) else 3925))


def test_the_printed_numbers_bear_out_every_claim_that_reads_no_others(paper: Experiment) -> None:
    """A claim that is "too noisy" or fails for the work's own numbers and image counts can judge nobody's."""
    found = {}
    for name in (*TABLES, "fashion_mnist", "figure_4_1"):
        item = paper.studies["ma2025"].items[name]
        if item.printed is not None:
            rows = as_printed(item)
            verdicts = {one.id: claim_verdict(one, rows, item.factors, one.scales[-1])[0] for one in item.claims}
            found |= {(name, claim): verdict for claim, verdict in verdicts.items()}
    unread = {("table_4_1", "L4-slope"), ("fashion_mnist", "A4-bands")}  # metrics that are not printed
    assert len(found) > 20
    assert {claim: verdict for claim, verdict in found.items() if verdict != "holds"} == dict.fromkeys(
        unread, "not testable at this scale"
    )


@pytest.mark.parametrize(
    ("table", "claim"),
    [
        ("figure_4_1", "R4-cells"),
        ("figure_4_1", "R4-cells-two"),
        ("table_4_3", "R4-most"),
        ("table_4_4", "B4-most"),
        ("table_4_6", "S4-best"),
        ("table_4_5", "V4-noise"),
        ("table_4_5", "V4-attacks"),
    ],
)
def test_robustness_is_not_claimed_where_clean_accuracies_differ(table: str, claim: str, paper: Experiment) -> None:
    """The printed numbers bear the claim out; the same with SGD better everywhere, clean too, do not."""
    item = paper.studies["ma2025"].items[table]
    (entry,) = [one for one in item.claims if one.id == claim]
    scale = entry.scales[-1]
    assert claim_verdict(entry, as_printed(item), item.factors, scale)[0] == "holds"
    assert claim_verdict(entry, as_printed(item, adam=-9.0, rmsprop=-9.0), item.factors, scale)[0] == FAILS
    assert claim_verdict(entry, as_printed(item, sgd=-9.0, adam=-0.0), item.factors, scale)[0] == FAILS


def verdict_of(paper: Experiment, item: str, claim: str, rows: pd.DataFrame) -> str:
    stanza = paper.studies["ma2025"].items[item]
    (entry,) = [one for one in stanza.claims if one.id == claim]
    return claim_verdict(entry, rows, stanza.factors, entry.scales[-1])[0]


def changed(rows: pd.DataFrame, value: float, **levels: Any) -> pd.DataFrame:
    """The rows with ``value`` at some levels."""
    at = pd.Series(data=True, index=rows.index)
    for factor, level in levels.items():
        at &= pd.Series([same_level(own, level) for own in rows[factor]], index=rows.index)
    assert at.any(), levels
    return rows.assign(value=rows["value"].where(~at, value))


def test_the_averages_of_one_seed_differ_by_more_than_their_images_allow(paper: Experiment) -> None:
    """Adam's printed average is 10 points below SGD's, RMSProp's 7; two points are no difference of 100 images."""
    rows = as_printed(paper.studies["ma2025"].items["fashion_mnist"]).assign(n=1, seed="0")
    few = rows.assign(samples=rows["samples"].where(rows["samples"] != 1000, 100))
    near = {"metric": "average_robust_accuracy", "optimizer": "adam"}
    assert verdict_of(paper, "fashion_mnist", "A4-average", few) == "holds"
    assert verdict_of(paper, "fashion_mnist", "A4-average", changed(few, 75.95, **near)) == FAILS
    assert verdict_of(paper, "fashion_mnist", "A4-average", changed(rows, 75.95, **near)) == "holds"
    assert verdict_of(paper, "fashion_mnist", "A4-average", changed(rows.assign(samples=10**6), 77.5, **near)) == FAILS


def test_sgd_is_better_than_both_others_in_a_cell_that_counts(paper: Experiment) -> None:
    """Adam is better in one cell and RMSProp in another: of each alone SGD is better in 8 of 9, of both in 7."""
    rows = as_printed(paper.studies["ma2025"].items["fashion_mnist"])
    assert verdict_of(paper, "fashion_mnist", "A4-cells", rows) == "holds"
    one = changed(rows, 99.0, metric="accuracy", optimizer="adam", perturbation="gaussian_variance", level=0.005)
    assert verdict_of(paper, "fashion_mnist", "A4-cells", one) == "holds"
    two = changed(one, 99.0, metric="accuracy", optimizer="rmsprop", perturbation="autoattack_l2_eps", level=0.5)
    assert verdict_of(paper, "fashion_mnist", "A4-cells", two) == FAILS


@pytest.mark.parametrize(("samples", "verdict"), [(1000, "holds"), (30, FAILS)])
def test_one_vit_each_needs_a_difference_beyond_the_sampling_error(
    paper: Experiment, samples: int, verdict: str
) -> None:
    rows = as_printed(paper.studies["ma2025"].items["table_4_5"])
    rows = rows.assign(n=1, samples=rows["samples"] * samples // 1000)
    assert verdict_of(paper, "table_4_5", "V4-attacks", rows) == verdict


def broken_shares(sgd: float, adam: float, clean: float = 91.0) -> pd.DataFrame:
    rows = [
        {"dataset": dataset, "image": None, "optimizer": optimizer, "metric": metric, "value": value, "unit": "percent"}
        | {"samples": samples, "seed": 0}
        for dataset in ("mnist", "fashion_mnist")
        for optimizer, broken, right in (("sgd", sgd, 91.0), ("adam", adam, clean))
        for metric, value, samples in (("attack_success_rate", broken, 95), ("accuracy", right, 10_000))
    ]
    return aggregate_repetitions(pd.DataFrame(rows), ["dataset", "image", "optimizer"])


@pytest.mark.parametrize(
    ("sgd", "adam", "clean", "verdict"),
    [(33.0, 45.0, 91.0, "holds"), (40.0, 44.0, 91.0, FAILS), (100.0, 100.0, 91.0, FAILS), (33.0, 45.0, 80.0, FAILS)],
)
def test_broken_shares_differ_by_more_than_100_images_allow(
    paper: Experiment, sgd: float, adam: float, clean: float, verdict: str
) -> None:
    for figure, claim in (("figure_4_19", "P4-success-l2"), ("figure_4_20", "P4-success-linf")):
        assert verdict_of(paper, figure, claim, broken_shares(sgd, adam, clean)) == verdict


def band_rows(**costs: list[float]) -> pd.DataFrame:
    """What each band costs the nets of each optimizer on both data sets of figure 4.6, with clean accuracies of 60 %."""
    factors = ["dataset", "optimizer", "band", "quantity"]
    rows = [
        {"dataset": dataset, "optimizer": optimizer, "band": band, "quantity": None, "seed": seed, "unit": unit}
        | {"metric": metric, "value": value}
        for dataset in ("cifar100", "imagenette")
        for optimizer, cost in costs.items()
        for seed in (0, 1)
        for metric, unit, band, value in [
            ("accuracy", "percent", None, 60.0),
            *(("accuracy_change", "percentage_points", band, value + 0.1 * seed) for band, value in enumerate(cost)),
        ]
    ]
    return aggregate_repetitions(pd.DataFrame(rows), factors)


def test_claims_of_bands_are_about_all_optimizers_and_no_flat_curve(paper: Experiment) -> None:
    steep, flat = [6.0, 5.0, 4.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0], [0.0] * 10
    higher = [*steep[:4], *(cost + 4 for cost in steep[4:])]
    usual = band_rows(sgd=steep, adam=higher, rmsprop=higher)
    names = ("F4-band-0", "F4-bands-4-8", "F4-bands-4-8-imagenette", "F4-band-9")
    assert {name: verdict_of(paper, "figure_4_6", name, usual) for name in names} == dict.fromkeys(names, "holds")
    apart = band_rows(sgd=steep, adam=higher, rmsprop=[10.0, *higher[1:]])
    assert verdict_of(paper, "figure_4_6", "F4-band-0", apart) == FAILS
    same = band_rows(sgd=steep, adam=higher, rmsprop=[*steep[:4], *(cost + 0.04 for cost in steep[4:])])
    assert verdict_of(paper, "figure_4_6", "F4-bands-4-8-imagenette", same) == FAILS
    assert verdict_of(paper, "figure_4_6", "F4-band-9", band_rows(sgd=flat, adam=flat, rmsprop=flat)) == FAILS


def test_claims_about_small_are_about_mnist_and_fashion_mnist(paper: Experiment) -> None:
    """The other data sets' stand-ins are none of them, and claims that need all seven are the paper's."""
    for name in (*TABLES, *FIGURES):
        for claim in paper.studies["ma2025"].items[name].claims:
            if "small" in claim.scales and claim.kind == "empirical":
                of_clean = claim.id in ("R4-clean", "R4-severity", "F4-half")
                assert of_clean or "cifar" not in claim.holds, claim.id


def test_fashion_mnist_alone_has_the_numbers_of_the_two_tables() -> None:
    """It is the part of tables 4.3 and 4.1 that is about this data set, cell by cell."""
    found = pd.read_csv(PAPER / "ma2025_fashion_mnist.csv", dtype=str, keep_default_na=False)
    tables = [
        pd.read_csv(PAPER / f"ma2025_{t}.csv", dtype=str, keep_default_na=False) for t in ("table_4_3", "table_4_1")
    ]
    tables[1] = tables[1][tables[1]["metric"] != "accuracy"]  # that of table 4.3 once more
    expected = pd.concat([t[t["dataset"] == "fashion_mnist"] for t in tables]).fillna("")
    columns = list(found.columns)
    assert sorted(map(tuple, found.to_numpy())) == sorted(map(tuple, expected[columns].to_numpy()))


def test_fashion_mnist_alone_needs_no_other_data_set(paper: Experiment) -> None:
    study = paper.studies["ma2025"]
    for source in study.items["fashion_mnist"].rows:
        entry = study.measurements.get(source.of) or study.comparisons[source.of]
        assert {r.run.dataset for name in entry.runs for r in paper.runs("ma2025", name)} == {"fashion_mnist"}
