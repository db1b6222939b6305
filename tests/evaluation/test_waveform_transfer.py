"""Transfer between nets for waveforms: budgets of each clip, crafts and passes counted, steps, variance, what rows say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.waveforms import waveform_eps
from robustscape.config.attacks import AttackSpec
from robustscape.data import Split
from robustscape.data.sets._waveforms import bytes_of_waveforms
from robustscape.errors import ConfigError
from robustscape.evaluation import (
    _waveform_variants,
    _waveforms,
    transfer,
    waveform_kernels,
    waveform_steps,
    waveform_transferability,
)
from robustscape.evaluation._waveforms import OfWaveforms, clean_waveforms, waveform_net
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.noise_sensitivity import loss_under_noise, sample_variance
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.models import build_classifier

SAMPLES, LENGTH, CLASSES = 24, 400, 3
PGD = AttackSpec(attack="pgd", bounds=(-1.0, 1.0), parameters={"steps": 4, "rel_step_size": 0.5, "random_start": False})
TIM = AttackSpec(attack="tim_1d", bounds=(-1.0, 1.0), parameters={"steps": 4})
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "mel_a": ("mel_vgg19", {"rate": 2000, "mels": 8, "fft": 128, "hop": 40, "scale": "log", "width": 1}),
    "code_a": ("wav2vec_linear", {"encoder": "random-frozen", "channels": 5, "strides": [3, 2, 2, 2, 1], "hidden": []}),
    "code_b": ("wav2vec_lstm", {"encoder": "random-frozen", "channels": 5, "strides": [3, 2, 2, 2, 1], "hidden": 6}),
}


@pytest.fixture(scope="module")
def runs() -> list[TrainedRun]:
    """Three nets, trained a little on tones of three frequencies with peaks between 0.02 and 0.9."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(4 * SAMPLES) % CLASSES
    time = torch.arange(LENGTH) / 2000
    pitch = torch.tensor([150.0, 320.0, 610.0])[y][:, None]
    peak = torch.linspace(0.02, 0.9, len(y))[torch.randperm(len(y), generator=generator)][:, None]
    phase = torch.rand(len(y), 1, generator=generator)
    wave = peak * torch.sin(6.283 * (pitch * time + phase)) + 0.3 * peak * torch.randn(
        len(y), LENGTH, generator=generator
    )
    x = torch.from_numpy(bytes_of_waveforms((wave.clamp(-1, 1) * 32767).to(torch.int16).numpy()))
    train, test = Split(x[SAMPLES:], y[SAMPLES:], 255.0), Split(x[:SAMPLES], y[:SAMPLES], 255.0)
    made = []
    for seed, (name, (architecture, sizes)) in enumerate(NETS.items()):
        torch.manual_seed(seed)
        model = build_classifier(architecture, sizes, (2, 1, LENGTH), CLASSES)
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
        for _ in range(25):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(train.inputs()), train.y).backward()
            optimizer.step()
        config = {
            "dataset": {"name": "tones"},
            "architecture": {"name": name, "architecture": architecture, "parameters": sizes, "normalisation": "none"},
            "recipe": {"name": "r"},
        }
        made.append(
            TrainedRun(model.eval(), train, test, 0.0, 0, torch.device("cpu"), CLASSES, Path("x"), config, "0" * 64)
        )
    return made


def value(rows: list[dict[str, Any]], **factors: Any) -> float:
    (row,) = [row for row in rows if all(row.get(key) == wanted for key, wanted in factors.items())]
    return float(row["value"])


def test_a_net_of_waveforms_is_the_net_of_bytes(runs: list[TrainedRun]) -> None:
    for run in runs:
        wave, _ = clean_waveforms(run, None)
        assert wave.shape == (SAMPLES, 1, LENGTH) and wave.abs().max() <= 1
        torch.testing.assert_close(waveform_net(run)(wave), run.model(run.test.inputs()), atol=1e-3, rtol=1e-3)
        # A change of the waveform is that change in the net's own waveform, whatever bytes there are.
        moved = OfWaveforms(run.model)(wave + 0.1)
        assert not torch.allclose(moved, run.model(run.test.inputs()), atol=1e-3) or run is runs[0]


def test_other_data_nets_and_attacks_are_refused(runs: list[TrainedRun]) -> None:
    from dataclasses import replace

    other = replace(runs[1], config=runs[1].config | {"dataset": {"name": "words"}})
    image = replace(runs[0], test=Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2).long(), 255.0))
    scaled = replace(
        runs[0], config=runs[0].config | {"architecture": runs[0].config["architecture"] | {"normalisation": "dataset"}}
    )
    with pytest.raises(ConfigError, match="must share a data set, got tones, words"):
        waveform_transferability.waveform_transferability([runs[0], other], attack=PGD)
    with pytest.raises(ConfigError, match="not waveforms as two bytes a sample"):
        waveform_net(image)
    with pytest.raises(ConfigError, match="'normalisation: none'"):
        waveform_net(scaled)
    with pytest.raises(ConfigError, match=r"bounds \(0\.0, 1\.0\)"):
        waveform_transferability.waveform_transferability(runs, attack=PGD.model_copy(update={"bounds": (0.0, 1.0)}))
    with pytest.raises(ConfigError, match="model_mode 'train'"):
        waveform_steps.waveform_steps(runs, attack=PGD.model_copy(update={"model_mode": "train"}), steps=[1])
    with pytest.raises(ConfigError, match="must share a data set, got tones, words"):
        waveform_kernels.waveform_kernels([runs[0], other], attack=TIM, kernels=[3])
    with pytest.raises(ConfigError, match="the attack 'pgd' has no kernel"):
        waveform_kernels.waveform_kernels(runs, attack=PGD, kernels=[3])


def test_crafts_and_passes(runs: list[TrainedRun], monkeypatch: pytest.MonkeyPatch) -> None:
    """S crafts for S sources and T targets, S x T scorings, S x T more for each draw and level of noise; a copy of each net."""
    counts: Counter[str] = Counter()

    def counted(name: str, function: Any) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return function(*args, **kwargs)

        return wrapper

    monkeypatch.setattr(transfer, "craft", counted("crafts", craft))
    monkeypatch.setattr(transfer, "correctly_classified", counted("scorings", correctly_classified))
    monkeypatch.setattr(_waveforms, "frozen_copy", counted("copies", _waveforms.frozen_copy))
    waveform_transferability.waveform_transferability(runs, attack=PGD, noise=[0.2, 1.0], draws=2)
    n = len(runs)
    assert counts == {"crafts": n, "scorings": n + n * n + 2 * 2 * n * n, "copies": n}
    counts.clear()
    monkeypatch.setattr(_waveform_variants, "craft", counted("crafts", craft))
    monkeypatch.setattr(_waveform_variants, "correctly_classified", counted("scorings", correctly_classified))
    waveform_steps.waveform_steps(runs, attack=PGD, steps=[1, 2, 5])
    assert counts == {"crafts": 3, "scorings": 3 * n, "copies": n}
    counts.clear()
    monkeypatch.setattr(_waveform_variants, "craft", counted("crafts", craft))
    monkeypatch.setattr(_waveform_variants, "correctly_classified", counted("scorings", correctly_classified))
    waveform_kernels.waveform_kernels(runs, attack=TIM, kernels=[3, 5])
    assert counts == {"crafts": 2, "scorings": 2 * n, "copies": n}


def test_the_matrix_against_crafting_by_hand(runs: list[TrainedRun]) -> None:
    rows = waveform_transferability.waveform_transferability(runs, attack=PGD, noise=[0.2], draws=2)
    x, y = clean_waveforms(runs[0], None)
    eps = 0.1 * x.abs().amax((1, 2))
    torch.testing.assert_close(eps, waveform_eps(x))
    net = waveform_net(runs[1])
    points = craft(net, x, y, PGD, eps, seed=0)
    moved = (points - x).abs().amax((1, 2))
    assert (moved <= eps + 1e-6).all() and (moved >= 0.99 * eps).all(), "each clip has its own budget, and uses it"
    for run, name in zip(runs, NETS, strict=True):
        wrong = (waveform_net(run)(points).argmax(1) != y).double().mean() * 100
        cell = {"source": "code_a", "target": name, "denominator": "all"}
        assert value(rows, **cell, metric="transferability") == pytest.approx(float(wrong))
        assert value(rows, **cell, metric="transferability_noisy", noise=0.0) == pytest.approx(float(wrong))
        noisy, ratio = (value(rows, **cell, metric=m, noise=0.2) for m in ("transferability_noisy", "nullified_ratio"))
        if wrong > 0:
            assert ratio == pytest.approx(100 * (1 - noisy / float(wrong)))
    row = next(r for r in rows if r["source"] == "code_a" and r["target"] == "mel_a" and r["noise"] == 0.2)
    assert (row["source_encoder"], row["target_encoder"]) == ("random-frozen", "mel")
    assert row["relative_noise"] == pytest.approx(0.02) and row["decibels"] == -20.0 and row["eps_per_sample"]
    assert {r["metric"] for r in rows} == {
        "transferability",
        "transferability_noisy",
        "nullified_ratio",
        "nullified_ratio_conditional",
    }


def test_decibels_are_the_budgets(runs: list[TrainedRun]) -> None:
    for decibels, share in ((-20.0, 0.1), (-40.0, 0.01)):
        rows = waveform_transferability.waveform_transferability(runs[:2], attack=PGD, decibels=decibels, noise=[0.5])
        x, _ = clean_waveforms(runs[0], None)
        assert rows[0]["attack_eps"] == pytest.approx(float(x.abs().amax((1, 2)).mean()) * share, rel=1e-4)
        assert sorted({r["relative_noise"] for r in rows}) == [0.0, pytest.approx(0.5 * share)]


def test_steps_and_variance_by_hand(runs: list[TrainedRun]) -> None:
    rows = waveform_steps.waveform_steps(runs, attack=PGD, steps=[1, 4], draws=3)
    x, y = clean_waveforms(runs[0], None)
    eps, net = waveform_eps(x), waveform_net(runs[0])
    for steps in (1, 4):
        spec = waveform_steps.with_steps(PGD, steps)
        assert spec.parameters["rel_step_size"] == 2 / steps and spec.parameters["steps"] == steps
        points = craft(net, x, y, spec, eps, seed=0)
        losses = loss_under_noise(net, points, y, ThreatModel("Linf", 0.2 * eps, None), seed=0, draws=3)
        by_hand = (losses.square().mean(0) - losses.mean(0).square()).mean()
        assert value(rows, metric="sample_variance", steps=steps) == pytest.approx(float(by_hand), rel=1e-3, abs=1e-7)
        torch.testing.assert_close(sample_variance(losses).mean(), by_hand, rtol=1e-3, atol=1e-7)
        share = value(rows, metric="relative_sample_variance", steps=steps)
        assert share == pytest.approx(float(by_hand / losses.square().mean()), rel=1e-3, abs=1e-7)
    fooled = [value(rows, metric="transferability", target=t, steps=4) for t in ("code_a", "code_b")]
    means = {r["target_family"]: r["value"] for r in rows if r["metric"] == "transferability_at_max_steps_approx"}
    assert means == {"wav2vec_based": pytest.approx(sum(fooled) / 2)}, "the source, the one Mel net, is left out"
    cw = AttackSpec(attack="cw_linf", bounds=(-1.0, 1.0))
    assert waveform_steps.with_steps(cw, 50).parameters["step_size"] is None, "2 eps / steps by itself"


def test_kernels_by_hand(runs: list[TrainedRun]) -> None:
    """A length of 1 is BIM; others are the attack with that kernel, whatever its own is."""
    rows = waveform_kernels.waveform_kernels(runs, attack=TIM, kernels=[1, 3, 15])
    x, y = clean_waveforms(runs[0], None)
    eps, net = waveform_eps(x), waveform_net(runs[0])
    bim = AttackSpec(attack="bim", bounds=(-1.0, 1.0), parameters={"steps": 4, "rel_step_size": 0.5})
    for length in (1, 3, 15):
        spec = AttackSpec(attack="tim_1d", bounds=(-1.0, 1.0), parameters={"steps": 4, "kernel": length})
        points = craft(net, x, y, spec, eps, seed=0)
        if length == 1:
            torch.testing.assert_close(points, craft(net, x, y, bim, eps, seed=0))
        for run, name in zip(runs, NETS, strict=True):
            wrong = (waveform_net(run)(points).argmax(1) != y).double().mean() * 100
            assert value(rows, target=name, kernel_length=length) == pytest.approx(float(wrong))
    assert {(r["source"], r["metric"], r["unit"], r["samples"]) for r in rows} == {
        ("mel_a", "transferability", "percent", SAMPLES)
    }


def test_the_form_of_smallest_norm_moves_each_clip_less_than_the_loop_of_signs(runs: list[TrainedRun]) -> None:
    """As the study's two readings of CW: within -20 dB, and shorter wherever both fool a net that was right."""
    x, y = clean_waveforms(runs[0], None)
    eps, net = waveform_eps(x), waveform_net(runs[1])
    signs, small = (
        craft(net, x, y, AttackSpec(attack=attack, bounds=(-1.0, 1.0), parameters=given), eps, seed=0)
        for attack, given in (("cw_linf", {"steps": 10}), ("cw_l2", {"search_steps": 3}))
    )
    right, fooled = net(x).argmax(1) == y, (net(small).argmax(1) != y) & (net(signs).argmax(1) != y)
    assert (right & fooled).sum() > 5
    length = [(points - x).flatten(1).norm(dim=1)[right & fooled] for points in (small, signs)]
    assert (length[0] < length[1]).double().mean() > 0.8 and length[0].sum() < 0.8 * length[1].sum()


def test_silence_stays_silent(runs: list[TrainedRun]) -> None:
    silent = torch.zeros(2, 1, LENGTH)
    assert waveform_eps(silent).tolist() == [0.0, 0.0]
    points: Tensor = craft(waveform_net(runs[0]), silent, torch.tensor([0, 1]), PGD, waveform_eps(silent), seed=0)
    assert not points.any()
