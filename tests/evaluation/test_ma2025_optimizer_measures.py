"""The measurements of ma2025 chapter 4 on nets and images whose numbers are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape import catalog
from robustscape.config.architectures import ArchitectureEntry
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.config.loading import load_experiment
from robustscape.config.reading import read_mapping
from robustscape.data import Split
from robustscape.data.dct import dct, dct_matrix, energy_mask, idct
from robustscape.errors import ConfigError
from robustscape.evaluation import accuracy_by_severity as severity_file
from robustscape.evaluation.accuracy_by_severity import accuracy_by_severity, share_in_top
from robustscape.evaluation.attacked_pictures import attacked_pictures
from robustscape.evaluation.band_sensitivity import band_noises, band_sensitivity
from robustscape.evaluation.filter_examples import filter_examples
from robustscape.evaluation.noisy_pictures import noisy_pictures
from robustscape.evaluation.spectral_energy import spectral_energy
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.evaluation.training_settings import layer_listing, training_settings
from robustscape.models import build_classifier
from robustscape.report.figures.image_grid import decode_picture

ROOT = Path(__file__).parents[2]
#: One step along the gradient is the worst case of a linear net, in both norms.
BOTH = Suite(
    name="steps",
    attacks=(("fgsm_l2", AttackSpec(attack="fgsm", norm="L2")), ("fgsm", AttackSpec(attack="fgsm"))),
)


class Level(nn.Module):
    """Class 1 where the mean pixel is above 1/2, class 0 below; two more classes far away."""

    def __init__(self, read: Tensor | None = None) -> None:
        super().__init__()
        self.steepness = nn.Parameter(torch.tensor(1.0))
        self.read = read

    def forward(self, x: Tensor) -> Tensor:
        z = self.steepness * (x.flatten(1).mean(1) - 0.5)
        if self.read is not None:
            z = z + (x[:, 0] * self.read).flatten(1).sum(1)
        far = -10 - 0 * z
        return torch.stack([-z, z, far, far - 1], 1)


def flat_images(levels: list[int], side: int = 4) -> Split:
    """Flat images of these grey levels, of class 1 above 127."""
    x = torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, side, side).contiguous()
    return Split(x, (x[:, 0, 0, 0] > 127).long(), 255.0)


def make_run(model: nn.Module, split: Split, seed: int = 0, **recipe: Any) -> TrainedRun:
    config = {"dataset": {"name": "grey"}, "architecture": {"name": "level"}, "recipe": {"name": "r", **recipe}}
    return TrainedRun(model.eval(), split, split, 0.0, seed, torch.device("cpu"), 4, Path("run"), config, "0" * 64)


def severity(run: TrainedRun, **parameters: Any) -> list[dict[str, Any]]:
    given = {"suite": BOTH, "variances": [1e-6, 1.0], "l2": [0.1, 1.0], "linf": [0.05, 0.2], "dimension": 16}
    return accuracy_by_severity(run, **{**given, **parameters})


def at(rows: list[dict[str, Any]], perturbation: str, level: float, topk: str = "top1") -> dict[str, Any]:
    (found,) = [
        row
        for row in rows
        if row["metric"] == "accuracy"
        and (row["perturbation"], row["level"], row["topk"]) == (perturbation, level, topk)
    ]
    return found


# -- accuracy by severity ------------------------------------------------------------------------------------------------


def test_levels_are_budgets_of_the_norm_they_name() -> None:
    """The boundary is 0.06 or 0.3 a pixel away, which is four times as much in L2."""
    run = make_run(Level(), flat_images([112, 51, 143, 204]))  # |mean - 1/2| = 0.061, 0.3, 0.061, 0.3
    rows = severity(run)
    assert at(rows, "none", 0.0)["value"] == 100
    assert at(rows, "autoattack_linf_eps", 0.05)["value"] == 100
    assert at(rows, "autoattack_linf_eps", 0.2)["value"] == 50
    assert at(rows, "autoattack_l2_eps", 0.1)["value"] == 100
    assert at(rows, "autoattack_l2_eps", 1.0)["value"] == 50  # 4 x 0.061 is within 1, 4 x 0.3 is not
    assert at(rows, "gaussian_variance", 1e-6)["value"] == 100
    assert at(rows, "gaussian_variance", 1.0)["value"] < 100
    assert {row["suite"] for row in rows if "suite" in row} == {"steps"}
    places = [(row["severity"], row["level_as_written"]) for row in severity(run, linf=[1 / 255, 0.2])]
    assert places == [(0, "0"), (1, "1e-06"), (2, "1"), (1, "0.1"), (2, "1"), (1, "1/255"), (2, "0.2")]


def test_budgets_in_l2_follow_the_size_of_what_stands_in() -> None:
    run = make_run(Level(), flat_images([112, 51, 143, 204]))
    smaller = severity(run, dimension=16 * 25)  # a level of 1 is then 0.2, which reaches 0.05 a pixel
    assert at(smaller, "autoattack_l2_eps", 1.0)["attack_eps"] == pytest.approx(0.2)
    assert at(smaller, "autoattack_l2_eps", 1.0)["value"] == 100
    assert at(smaller, "autoattack_linf_eps", 0.2)["attack_eps"] == 0.2
    halved = severity(run, rel_eps=0.25)
    assert at(halved, "autoattack_linf_eps", 0.2)["attack_eps"] == pytest.approx(0.05)
    assert at(halved, "autoattack_linf_eps", 0.2)["value"] == 100
    assert at(halved, "gaussian_variance", 1.0)["variance"] == pytest.approx(1 / 16)


def test_what_is_broken_within_a_smaller_ball_is_not_attacked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    original = severity_file.run_suite

    def noted(*arguments: Any, known: Any = None, **keywords: Any) -> Any:
        calls.append(known)
        return original(*arguments, known=known, **keywords)

    monkeypatch.setattr(severity_file, "run_suite", noted)
    run = make_run(Level(), flat_images([125, 112, 51, 204]))
    rows = severity(run, linf=[0.05, 0.1, 0.2])
    assert [known is None for known in calls] == [True, False, True, False, False]
    assert calls[3].broken.tolist() == [True, False, False, False]
    shared = [at(rows, "autoattack_linf_eps", level)["value"] for level in (0.05, 0.1, 0.2)]
    calls.clear()
    alone = severity(run, linf=[0.05, 0.1, 0.2], top=[1, 2])
    assert all(known is None for known in calls)  # the points of top-2 belong to their own ball
    assert shared == [at(alone, "autoattack_linf_eps", level)["value"] for level in (0.05, 0.1, 0.2)] == [75, 50, 50]


def test_top_k_is_of_the_examples_made_against_top_1() -> None:
    run = make_run(Level(), flat_images([112, 204]))
    rows = severity(run, top=[1, 2])
    assert at(rows, "autoattack_linf_eps", 0.2)["value"] == 50
    assert at(rows, "autoattack_linf_eps", 0.2, "top2")["value"] == 100  # the other near class comes second
    logits = torch.tensor([[4.0, 3.0, 2.0, 1.0]]).repeat(4, 1)
    assert [share_in_top(logits, torch.arange(4), k) for k in (1, 2, 3, 9)] == [25, 50, 75, 100]


def test_the_average_is_of_the_three_chosen_cells() -> None:
    run = make_run(Level(), flat_images([112, 51, 143, 204]))
    rows = severity(run, average=[1e-6, 1.0, 0.2])
    (average,) = [row for row in rows if row["metric"] == "average_robust_accuracy"]
    assert average["value"] == pytest.approx((100 + 50 + 50) / 3) and average["topk"] == "top1"
    chosen = [(row["perturbation"], row["level"]) for row in rows if row["metric"] == "accuracy" and row["chosen"]]
    assert chosen == [
        ("none", 0.0),
        ("gaussian_variance", 1e-6),
        ("autoattack_l2_eps", 1.0),
        ("autoattack_linf_eps", 0.2),
    ]
    assert not any(row["metric"] == "average_robust_accuracy" for row in severity(run))


def test_nets_of_one_seed_see_the_same_noise() -> None:
    images = flat_images([120, 124, 130, 134] * 20)
    first, second, other = (
        at(severity(make_run(model, images, seed), variances=[0.01]), "gaussian_variance", 0.01)["value"]
        for model, seed in ((Level(), 0), (Level(), 0), (Level(), 1))
    )
    assert first == second != other


def test_fewer_images_may_be_attacked_in_l2() -> None:
    run = make_run(Level(), flat_images([112, 51, 143, 204]))
    rows = severity(run, attacked_samples=3, l2_samples=1)
    counts = {row["perturbation"]: row["samples"] for row in rows if row["metric"] == "accuracy"}
    assert counts == {"none": 4, "gaussian_variance": 4, "autoattack_l2_eps": 1, "autoattack_linf_eps": 3}


@pytest.mark.parametrize(
    "wrong",
    [
        {"l2": [1.0, 0.5]},
        {"linf": []},
        {"variances": [0.0, 1.0]},
        {"average": [0.5, 1.0, 0.2]},
        {"average": [1e-6, 1.0]},
        {"average": [1e-6, 1.0, 0.2], "average_top": 5},
        {"suite": Suite(name="one norm", attacks=(("fgsm", AttackSpec(attack="fgsm")),))},
    ],
)
def test_levels_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="accuracy_by_severity"):
        severity(make_run(Level(), flat_images([112, 204])), **wrong)


# -- bands ---------------------------------------------------------------------------------------------------------------


def test_only_the_band_that_a_net_reads_costs_accuracy() -> None:
    c = dct_matrix(8).float()
    highest = torch.outer(c[7], c[7])
    images = flat_images([51, 204] * 20, side=8)
    rows = band_sensitivity([make_run(Level(100 * highest), images)], variance=0.01, draws=20)
    changes = {row["band"]: row["value"] for row in rows if row["metric"] == "accuracy_change"}
    assert set(changes) == set(range(10)) and changes[9] > 20
    assert all(abs(changes[band]) < 1e-9 for band in range(9))
    assert all(row["unit"] == "percentage_points" for row in rows if row["metric"] == "accuracy_change")


def test_draws_are_shared_by_bands_inputs_and_nets() -> None:
    noises = band_noises((3, 8, 8), 10, 2, seed=5)
    white = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    torch.testing.assert_close(noises.sum(0), idct(white))  # the bands are parts of one white noise
    assert not torch.allclose(noises[0, :, 0], noises[0, :, 1])  # channels have draws of their own
    assert noises[:, 0].flatten(1).norm(dim=1).min() > 0
    images, read = flat_images([120, 135] * 30, side=8), 2 * torch.outer(dct_matrix(8)[5], dct_matrix(8)[5]).float()
    runs = [make_run(Level(read), images, seed) for seed in (0, 1)]
    rows = band_sensitivity(runs, variance=0.01, draws=3)
    changes = {
        seed: [row["value"] for row in rows if row["metric"] == "accuracy_change" and row["seed"] == seed]
        for seed in (0, 1)
    }
    assert changes[0] == changes[1] and any(changes[0])
    settings = {row["quantity"]: row["value"] for row in rows if row["metric"] == "setting"}
    assert settings == {"number_of_bands": 10, "noise_samples_K": 3, "models_per_optimizer": 2}


# -- spectra and filters -------------------------------------------------------------------------------------------------


def cosine(i: int, j: int, side: int = 8) -> Split:
    """Images 1/2 plus or minus a cosine, three channels."""
    c = dct_matrix(side)
    wave = torch.outer(c[i], c[j]) / torch.outer(c[i], c[j]).abs().max() * 0.4
    x = torch.stack([0.5 + wave, 0.5 - wave])[:, None].expand(-1, 3, -1, -1)
    return Split((255 * x).round().byte(), torch.tensor([0, 1]), 255.0)


def test_the_spectrum_of_a_cosine_is_one_coefficient() -> None:
    rows = spectral_energy(make_run(Level(), cosine(2, 5)))
    found = {(row["vertical"], row["horizontal"]): row["value"] for row in rows if row["metric"] == "mean_abs_dct"}
    assert len(found) == 64 and sorted(found, key=lambda place: -found[place])[:2] == [(0, 0), (2, 5)]
    assert found[0, 0] == pytest.approx(0.5 * 8, rel=1e-2)
    diagonal = [row["value"] for row in rows if row["metric"] == "diagonal_amplitude"]
    assert len(diagonal) == 8 and max(diagonal) == diagonal[0] == found[0, 0]
    shares = {row["metric"]: row["value"] for row in rows if row["unit"] == "percent"}
    assert shares["low_half_energy_share"] > 99.9 and shares["low_tenth_energy_share"] < 1  # the mean does not count
    high = spectral_energy(make_run(Level(), cosine(7, 7)))
    (half,) = [row["value"] for row in high if row["metric"] == "low_half_energy_share"]
    assert half < 1


def test_white_noise_has_half_of_its_energy_below() -> None:
    noise = torch.randint(256, (200, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    rows = spectral_energy(make_run(Level(), Split(noise, torch.zeros(200, dtype=torch.long), 255.0)))
    shares = {row["metric"]: row["value"] for row in rows if row["unit"] == "percent"}
    assert shares["low_half_energy_share"] == pytest.approx(50, abs=2)
    assert shares["low_tenth_energy_share"] == pytest.approx(10, abs=1)


def test_large_spectra_are_drawn_in_blocks() -> None:
    run = make_run(Level(), cosine(2, 5))
    cells = [row for row in spectral_energy(run, cells=3) if row["metric"] == "mean_abs_dct"]
    assert {row["vertical"] for row in cells} == {0, 3, 6} and len(cells) == 9
    fine = {(r["vertical"], r["horizontal"]): r["value"] for r in spectral_energy(run) if r["metric"] == "mean_abs_dct"}
    first = [fine[i, j] for i in range(3) for j in range(3)]
    assert cells[0]["value"] == pytest.approx(sum(first) / 9)


def noise_images(channels: int = 1, side: int = 12) -> Split:
    x = torch.randint(0, 256, (3, channels, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Split(x, torch.zeros(3, dtype=torch.int64), 255.0)


@pytest.mark.parametrize("channels", [1, 3])
def test_masks_remove_what_they_say_and_errors_are_those_of_parseval(channels: int) -> None:
    images = noise_images(channels)
    rows = filter_examples(make_run(Level(), images), image=1)
    x = images.inputs(slice(1, 2)).double()
    for panel in ("low_energy", "high_frequency"):
        for p in (10, 30, 50, 70, 90):
            own = {row["shown"]: row for row in rows if row["panel"] == panel and row.get("p") == p}
            assert own["mask"]["metric"] == "threshold_shown"
            assert abs(own["mask"]["value"] - p) <= 100 / 144
            black = (decode_picture(own["mask"]) == 0).mean()
            assert 100 * black == pytest.approx(own["mask"]["value"])
    for p in (10, 90):
        errors = {row["panel"]: row["value"] for row in rows if row["metric"] == "relative_error" and row["p"] == p}
        removed = dct(x)[~energy_mask(dct(x), p).expand_as(x)]
        assert errors["low_energy"] == pytest.approx(float(removed.norm() / x.norm()), rel=1e-6)
        assert errors["low_energy"] < errors["high_frequency"]
    original = [row for row in rows if row["panel"] == "original"]
    assert [row["shown"] for row in original] == ["image", "spectrum", "log_spectrum"]
    assert (decode_picture(original[0]) == images.x[1].permute(1, 2, 0).numpy()).all()


# -- pictures ------------------------------------------------------------------------------------------------------------


def test_noisy_pictures_show_the_noise_they_name() -> None:
    rows = noisy_pictures(make_run(Level(), flat_images([112, 51, 143, 204], side=16)), variance=1e-3, images=3)
    assert [(row["image"], row["shown"]) for row in rows] == [(i, s) for i in range(3) for s in ("original", "noisy")]
    for original, noisy in zip(rows[::2], rows[1::2], strict=True):
        assert original["value"] == 0 and noisy["value"] == pytest.approx(16 * math.sqrt(1e-3), rel=0.15)
        difference = (decode_picture(noisy).astype(float) - decode_picture(original)) / 255
        assert float((difference**2).sum() ** 0.5) == pytest.approx(noisy["value"], rel=0.05)


def attacked(images: int) -> list[dict[str, Any]]:
    """Rows of two nets: both lose the second of five images, the second net the third, and the last is misclassified."""
    split = flat_images([204, 112, 100, 51, 112])
    split = Split(split.x, torch.tensor([1, 0, 0, 0, 1]), 255.0)
    nets = [make_run(Level(), split), make_run(Level(read=torch.full((4, 4), 0.003)), split)]
    return attacked_pictures(nets, suite=BOTH, norm="Linf", level=0.1, dimension=16, images=images, attacked_samples=5)


def test_an_image_without_an_example_says_so_and_every_net_shows_the_same_images() -> None:
    rows = attacked(images=5)
    rates = [row for row in rows if row["metric"] == "attack_success_rate"]
    assert [(row["value"], row["samples"]) for row in rates] == [(25, 4), (50, 4)]
    shown = [row for row in rows if row["metric"] == "perturbation_norm"]
    originals = [row for row in shown if row["shown"] == "original"]
    assert [(row["image"], row["place"], row["note"], row["value"]) for row in originals] == [
        (n, n, "", 0.0) for n in range(5)
    ]
    first, second = ([row for row in shown if row["shown"] == "attacked"][net::2] for net in (0, 1))
    assert [row["note"] for row in first] == ["not broken", "", "not broken", "not broken", "misclassified"]
    assert [row["note"] for row in second] == ["not broken", "", "", "not broken", "misclassified"]
    for row in [*first, *second]:
        assert row["value"] == 0 if row["note"] else 0 < row["value"] <= 0.1 + 1e-5


@pytest.mark.parametrize(("images", "places"), [(1, [1]), (2, [1, 2]), (3, [0, 1, 2])])
def test_images_that_the_most_nets_lose_are_shown(images: int, places: list[int]) -> None:
    assert [row["place"] for row in attacked(images) if row.get("shown") == "original"] == places


def test_pictures_of_nets_on_different_data_are_refused() -> None:
    nets = [make_run(Level(), flat_images([112])) for _ in range(2)]
    nets[1].config["dataset"] = {"name": "other"}
    with pytest.raises(ConfigError, match="must share a data set, got grey, other"):
        attacked_pictures(nets, suite=BOTH, norm="Linf", level=0.1, dimension=16)


def test_settings_are_those_of_the_record() -> None:
    recipe = {"optimizer": {"name": "adam", "parameters": {"lr": 5e-4}}, "epochs": 200, "batch_size": 128}
    found = training_settings(make_run(Level(), flat_images([1]), **recipe))
    rows = {row["metric"]: row["value"] for row in found}
    assert rows == {"initial_learning_rate": 5e-4, "epochs": 200, "batch_size": 128, "parameters": 1}
    assert {row["structure"] for row in found} == {"Level"}


def built_net(name: str, shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """The net of an entry of ``config/architectures.yaml``, with no memory for its weights."""
    entry = read_mapping(ArchitectureEntry, ROOT / "config" / "architectures.yaml")[name]
    own = {key: value for key, value in entry.parameters.items() if key != "weights"}
    with torch.device("meta"):
        return build_classifier(entry.architecture, own, shape, num_classes)


@pytest.mark.parametrize(
    ("name", "shape", "num_classes", "listing"),
    [
        (
            "cnn2_fc2",
            (1, 28, 28),
            10,
            "Conv(1, 16, 4) - ReLU - Conv(16, 32, 4) - ReLU - FN(21632, 100) - FN(100, 10)",  # as printed
        ),
        (
            "cnn2_fc2_relu",
            (1, 28, 28),
            10,
            "Conv(1, 16, 4) - ReLU - Conv(16, 32, 4) - ReLU - FN(21632, 100) - ReLU - FN(100, 10)",
        ),
        ("preactresnet18_plain", (3, 32, 32), 100, "Conv(3, 64, 3) - 8 PreActBlock - FN(512, 100)"),
        (
            "preactresnet18_plain_224",
            (3, 224, 224),
            101,
            "Conv(3, 64, 7) - MaxPool2d - 8 PreActBlock - FN(512, 101)",
        ),
        ("vit_b16_head", (3, 224, 224), 10, "PatchEmbedding - 12 EncoderBlock - LayerNorm - FN(768, 10)"),
        (
            "m5",
            (2, 1, 16000),
            35,
            "Conv(1, 128, 1x80) - BN(128) - Conv(128, 128, 1x3) - BN(128) - Conv(128, 256, 1x3) - BN(256) - "
            "Conv(256, 512, 1x3) - BN(512) - FN(512, 35)",
        ),
    ],
)
def test_layers_are_listed_as_the_work_lists_them(
    name: str, shape: tuple[int, ...], num_classes: int, listing: str
) -> None:
    assert layer_listing(built_net(name, shape, num_classes)) == listing


def test_layers_are_listed_in_the_order_of_a_pass() -> None:
    net = built_net("cnn2_fc2", (1, 28, 28), 10)
    seen: list[str] = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.ReLU):
            module.register_forward_hook(lambda layer, *_: seen.append(layer_listing(layer)))
    net(torch.zeros(1, 1, 28, 28, device="meta"))
    assert " - ".join(seen) == layer_listing(net)


class Unread(nn.Module):
    """A net that nobody may pass anything through or look into."""

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("a net was read")

    def parameters(self, recurse: bool = True) -> Any:
        raise AssertionError("a net was read")

    def state_dict(self, *arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("a net was read")


def measures_of_data() -> set[str]:
    """The measures behind the items with a claim of kind ``data``, in all works."""
    return {
        study.measurements[source.of].measure
        for study in load_experiment(ROOT / "config", "paper").studies.values()
        for item in study.items.values()
        for source in item.rows
        if any(claim.kind == "data" for claim in item.claims)
    }


def test_a_claim_about_data_rests_on_measures_that_read_no_net() -> None:
    images = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = Split(images, torch.tensor([0, 1, 2, 0, 1, 2]), 255.0)
    names = measures_of_data()
    assert names == {"spectral_energy", "filter_examples"}
    for name in names:
        measure = catalog.load_function("measurement", name)
        assert measure(make_run(Unread(), split)) == measure(make_run(Level(), split))
