"""Transfer matrices: counted by hand on hand-made outcomes, and against crafting and scoring one cell at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.attacks.base.losses import cross_entropy
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.waveforms import waveform_eps
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation import transfer
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.noise_sensitivity import loss_under_noise, nullified_ratios, sample_variance, uniform_noise
from robustscape.evaluation.transfer import (
    DENOMINATORS,
    Outcomes,
    denominator_mask,
    transfer_matrix,
    transfer_outcomes,
    transfer_rates,
)

FEATURES, CLASSES, SAMPLES = 30, 3, 90
PGD = AttackSpec(attack="pgd", bounds=(-1.0, 1.0), parameters={"steps": 5, "random_start": True})


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data() -> tuple[Tensor, Tensor]:
    """Three overlapping clouds in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, FEATURES, generator=generator, dtype=torch.float64) * 0.12
    y = torch.arange(SAMPLES) % CLASSES
    x = centres[y] + 0.2 * torch.randn(SAMPLES, FEATURES, generator=generator, dtype=torch.float64)
    return x.clamp(-1, 1), y


@pytest.fixture(scope="module")
def models(data: tuple[Tensor, Tensor]) -> dict[str, nn.Module]:
    """Three nets of different width, trained a little, so that transfer is neither 0 nor 100 percent."""
    x, y = data
    made = {}
    for seed, (name, width) in enumerate({"narrow": 8, "wide": 32, "deep": 16}.items()):
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, CLASSES)]
        if name == "deep":
            layers = [nn.Linear(FEATURES, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), layers[-1]]
        net = nn.Sequential(*layers).double()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
        for _ in range(100):
            optimizer.zero_grad()
            cross_entropy(net(x[:30]), y[:30]).mean().backward()
            optimizer.step()
        net.zero_grad()
        made[name] = net.eval()
    return made


def value(rows: list[dict[str, Any]], **factors: Any) -> float:
    (row,) = [row for row in rows if all(row[key] == wanted for key, wanted in factors.items())]
    return row["value"]


# Arithmetic on outcomes -----------------------------------------------------------------------------------------------


def flags(text: str) -> Tensor:
    return torch.tensor([character == "1" for character in text])


@pytest.fixture
def outcomes() -> Outcomes:
    """Six samples; 1 is right."""
    return Outcomes(
        clean={"s": flags("111100"), "t": flags("110110")},
        adversarial={
            ("s", "s"): flags("000101"),
            ("s", "t"): flags("010110"),
            ("t", "t"): flags("100010"),
            ("t", "s"): flags("111111"),
        },
        noisy={
            ("s", "t", 0.2): torch.stack([flags("110100"), flags("010111")]),
            ("s", "s", 0.2): torch.stack([flags("000101")] * 2),
            ("t", "t", 0.2): torch.stack([flags("100010")] * 2),
            ("t", "s", 0.2): torch.stack([flags("011111")] * 2),
        },
    )


def test_both_denominators_by_hand(outcomes: Outcomes) -> None:
    rows = list(transfer_rates(outcomes))
    cell = {"source": "s", "target": "t"}
    assert value(rows, **cell, denominator="all", metric="transferability") == pytest.approx(100 * 3 / 6)
    # Right for every model when clean: samples 0, 1, 3; of these only 0 is broken.
    assert value(rows, **cell, denominator="all_models_right", metric="transferability") == pytest.approx(100 / 3)
    assert {row["samples"] for row in rows if row["denominator"] == "all_models_right"} == {3}
    assert {row["unit"] for row in rows} == {"percent"}
    # Three metrics with noise and one without, four cells, two denominators.
    assert len(rows) == 4 * 4 * 2
    assert all(row["draws"] == (0 if row["metric"] == "transferability" else 2) for row in rows)


def test_noise_and_both_nullified_ratios_by_hand(outcomes: Outcomes) -> None:
    rows = list(transfer_rates(outcomes))
    cell = {"source": "s", "target": "t", "denominator": "all", "noise": 0.2}
    # x' is misclassified for samples 0, 2, 5. Draw 1: 0 becomes right, 4 becomes wrong. Draw 2: 5 becomes right.
    assert value(rows, **cell, metric="transferability_noisy") == pytest.approx(100 * (3 + 2) / 12)
    assert value(rows, **cell, metric="nr_conditional") == pytest.approx(100 * (1 + 1) / 6)
    assert value(rows, **cell, metric="nr_ratio") == pytest.approx(100 * (1 - (5 / 12) / (3 / 6)))
    # Noise that only makes failing examples succeed: nothing nullified in one reading, less than nothing in the other.
    none = {"source": "t", "target": "s", "denominator": "all", "noise": 0.2}
    assert math.isnan(value(rows, **none, metric="nr_conditional"))
    assert math.isnan(value(rows, **none, metric="nr_ratio"))
    conditional, ratio = nullified_ratios(flags("0011"), torch.stack([flags("0001")]))
    assert conditional == 0 and ratio == pytest.approx(-50)
    # Noise that only nullifies: the readings agree, as they do in the printed tables.
    conditional, ratio = nullified_ratios(flags("0001"), torch.stack([flags("0101"), flags("0001")]))
    assert conditional == pytest.approx(ratio) == pytest.approx(100 / 6)


def test_pairwise_selections_by_hand(outcomes: Outcomes) -> None:
    # The four tests: clean s 111100, clean t 110110, s broken 111010, t broken 011101.
    assert denominator_mask(outcomes, "s", "t", "pair").tolist() == flags("010000").tolist()  # type: ignore[union-attr]
    # Passed: 3, 4, 3, 3, 2, 1.
    assert denominator_mask(outcomes, "s", "t", "pair_parity").tolist() == flags("010010").tolist()  # type: ignore[union-attr]
    chained = flags("111100").eq(flags("110110")).eq(flags("111010")).eq(flags("011101"))
    assert torch.equal(denominator_mask(outcomes, "s", "t", "pair_parity"), chained)  # type: ignore[arg-type]
    rows = list(transfer_rates(outcomes, DENOMINATORS))
    assert value(rows, source="s", target="t", denominator="pair", metric="transferability") == 0
    assert value(rows, source="s", target="s", denominator="pair", metric="transferability") == 100
    one_way = Outcomes(outcomes.clean, {key: v for key, v in outcomes.adversarial.items() if key[0] == "s"})
    assert denominator_mask(one_way, "s", "t", "pair") is None
    assert {row["denominator"] for row in transfer_rates(one_way, DENOMINATORS) if row["target"] == "t"} == set(
        DENOMINATORS[:2]
    )


def test_limit_takes_the_first_samples(outcomes: Outcomes) -> None:
    rows = list(transfer_rates(outcomes, limit=2))
    cell = {"source": "s", "target": "t", "metric": "transferability"}
    assert value(rows, **cell, denominator="all") == 50  # samples 0 and 1
    assert value(rows, **cell, denominator="all_models_right") == 50
    assert {row["samples"] for row in rows} == {2}


def test_a_rate_of_nothing_is_nan() -> None:
    empty = Outcomes({"s": flags("00")}, {("s", "s"): flags("00")})
    rows = list(transfer_rates(empty))
    assert value(rows, denominator="all", metric="transferability") == 100
    assert math.isnan(value(rows, denominator="all_models_right", metric="transferability"))


# From models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_sample", [False, True])
def test_matrix_is_what_crafting_and_scoring_each_cell_gives(
    models: dict[str, nn.Module], data: tuple[Tensor, Tensor], per_sample: bool
) -> None:
    x, y = data
    eps = waveform_eps(x, -16.0) if per_sample else 0.1
    rows = transfer_matrix(models, models, x, y, PGD, eps, seed=4, noise=(0.0, 0.5), draws=2)
    right = {name: model(x).argmax(1) == y for name, model in models.items()}
    everyone = torch.stack(list(right.values())).all(0)
    assert 10 < everyone.sum() < SAMPLES  # both denominators are at work
    threat = ThreatModel("Linf", eps, None)
    seen = set()
    for source, model in models.items():
        points = craft(model, x, y, PGD, eps, seed=4)
        for target, judge in models.items():
            wrong = judge(points).argmax(1) != y
            cell = {"source": source, "target": target}
            got = [
                value(rows, **cell, metric="transferability", denominator=denominator, noise=0.0)
                for denominator in ("all", "all_models_right")
            ]
            expected = [100 * wrong.double().mean().item(), 100 * wrong[everyone].double().mean().item()]
            assert got == pytest.approx(expected)
            seen.add(got[0])
            noisy = [judge(points + 0.5 * uniform_noise(x, threat, 4, draw)).argmax(1) != y for draw in range(2)]
            got_noisy = value(rows, **cell, metric="transferability_noisy", denominator="all", noise=0.5)
            assert got_noisy == pytest.approx(100 * torch.stack(noisy).double().mean().item())
            silent = value(rows, **cell, metric="transferability_noisy", denominator="all", noise=0.0)
            assert silent == pytest.approx(expected[0])
            assert value(rows, **cell, metric="nr_ratio", denominator="all", noise=0.0) == pytest.approx(0)
    assert len(seen) > 4  # the cells differ
    rates_all = [row for row in rows if row["metric"] == "transferability" and row["denominator"] == "all"]
    white = [row["value"] for row in rates_all if row["source"] == row["target"]]
    black = [row["value"] for row in rates_all if row["source"] != row["target"]]
    assert sum(white) / len(white) > sum(black) / len(black)
    assert rows[0]["attack"] == "pgd" and rows[0]["steps"] == 5 and rows[0]["eps_per_sample"] is per_sample
    assert rows[0]["attack_eps"] == pytest.approx(float(torch.as_tensor(eps).mean()))


def test_batch_size_does_not_matter_but_the_seed_does(
    models: dict[str, nn.Module], data: tuple[Tensor, Tensor]
) -> None:
    x, y = data
    found = [
        transfer_outcomes(models, models, x, y, PGD, 0.1, seed=seed, noise=(0.5,), batch_size=size)
        for seed, size in ((1, 512), (1, 17), (2, 512))
    ]
    for key, rows in found[0].noisy.items():
        assert torch.equal(rows, found[1].noisy[key])
    assert all(torch.equal(value, found[1].adversarial[key]) for key, value in found[0].adversarial.items())
    assert any(not torch.equal(rows, found[2].noisy[key]) for key, rows in found[0].noisy.items())


def test_passes_and_crafts(
    models: dict[str, nn.Module], data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One craft a source; a pass a model clean, a pass a pair, and a pass a pair, level and draw."""
    x, y = data
    crafts: list[float] = []
    passes: list[int] = []

    def counted_craft(*args: Any, **kwargs: Any) -> Tensor:
        crafts.append(1)
        return args[1]

    def counted_correct(model: Any, x: Tensor, y: Tensor, batch_size: int) -> Tensor:
        passes.append(len(x))
        return torch.ones(len(x), dtype=torch.bool)

    monkeypatch.setattr(transfer, "craft", counted_craft)
    monkeypatch.setattr(transfer, "correctly_classified", counted_correct)
    transfer_matrix(models, models, x, y, PGD, 0.1, seed=0)
    assert (len(crafts), len(passes)) == (3, 3 + 9)
    crafts.clear(), passes.clear()
    transfer_matrix(models, models, x, y, PGD, 0.1, seed=0, noise=(0.1, 0.2), draws=3)
    assert (len(crafts), len(passes)) == (3, 3 + 9 + 9 * 2 * 3)


def test_sources_and_targets_may_differ(models: dict[str, nn.Module], data: tuple[Tensor, Tensor]) -> None:
    x, y = data
    rows = transfer_matrix({"wide": models["wide"]}, {"deep": models["deep"]}, x, y, PGD, 0.1, seed=0)
    assert {(row["source"], row["target"]) for row in rows} == {("wide", "deep")}
    whole = transfer_matrix(models, models, x, y, PGD, 0.1, seed=0)
    cell = {"metric": "transferability", "denominator": "all"}
    assert value(rows, **cell) == value(whole, source="wide", target="deep", **cell)


def test_models_are_left_as_they_were(models: dict[str, nn.Module], data: tuple[Tensor, Tensor]) -> None:
    x, y = data
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, CLASSES)).double()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.train()
    runs = [transfer_matrix({"m": model}, {"m": model}, x, y, PGD, 0.1, seed=0, noise=(0.2,)) for _ in range(2)]
    assert runs[0] == runs[1]  # eval mode: dropout draws nothing
    assert model.training and all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


# Noise ----------------------------------------------------------------------------------------------------------------


def test_noise_fills_each_samples_ball_and_belongs_to_the_sample() -> None:
    x = torch.zeros(5, 4000)
    eps = torch.tensor([0.0, 0.1, 0.2, 0.5, 1.0])
    noise = uniform_noise(x, ThreatModel("Linf", eps, (0.0, 1.0)), seed=0, draw=0)
    peaks = noise.abs().amax(1)
    assert (peaks <= eps).all() and (peaks >= 0.99 * eps).all()
    assert noise[4].std().item() == pytest.approx(1 / math.sqrt(3), rel=0.05) and abs(noise[4].mean().item()) < 0.03
    assert not torch.allclose(noise[3] / 0.5, noise[4])
    other = uniform_noise(x, ThreatModel("Linf", eps, None), seed=0, draw=1)
    assert not torch.equal(noise, other)
    assert torch.equal(noise, uniform_noise(x, ThreatModel("Linf", eps, None), seed=0, draw=0))
    assert torch.equal(noise[:2], uniform_noise(x[:2], ThreatModel("Linf", eps[:2], None), seed=0, draw=0))
    ball = uniform_noise(x, ThreatModel("L2", eps, None), seed=0, draw=0)
    assert (ball.norm(dim=1) <= eps + 1e-6).all() and ball[4].norm() > 0.99


def test_sample_variance_of_a_linear_loss(models: dict[str, nn.Module], data: tuple[Tensor, Tensor]) -> None:
    """Against E[l^2] - E[l]^2, draw by draw; and, far from the boundary, against Var(w . n) = |w|^2 eps^2 / 3."""
    x, y = data
    threat = ThreatModel("Linf", 0.05, None)
    model = models["wide"]
    losses = loss_under_noise(model, x, y, threat, seed=3, draws=5, batch_size=32)
    by_hand = torch.stack([cross_entropy(model(x + uniform_noise(x, threat, 3, k)), y).detach() for k in range(5)])
    torch.testing.assert_close(losses, by_hand)
    variance = sample_variance(losses)
    torch.testing.assert_close(variance, (losses**2).mean(0) - losses.mean(0) ** 2)
    assert (variance > 0).all()
    assert sample_variance(loss_under_noise(model, x, y, ThreatModel("Linf", 0.0, None), seed=3)).abs().max() < 1e-20

    w = torch.randn(FEATURES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def steep(points: Tensor) -> Tensor:  # CE = log(1 + e^m), which is m for m >> 0
        return torch.stack([torch.zeros(len(points), dtype=torch.float64), points @ w + 200], 1)

    losses = loss_under_noise(steep, x[:3], torch.zeros(3, dtype=torch.int64), threat, seed=0, draws=4000)
    expected = w.square().sum() * 0.05**2 / 3
    torch.testing.assert_close(sample_variance(losses), expected.expand(3), rtol=0.06, atol=0)
