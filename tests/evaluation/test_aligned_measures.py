"""Measurements of aligned nets on three small ones: what is counted, on which images, and which learning rate is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec, Suite
from robustscape.data import Split
from robustscape.data.dct import dct
from robustscape.errors import UserError
from robustscape.evaluation import alignments
from robustscape.evaluation.aligned_transfer import aligned_transfer
from robustscape.evaluation.alignment_similarity import alignment_similarity, similarity
from robustscape.evaluation.alignments import chosen_alignments, evaluated_images, held_out_start
from robustscape.evaluation.defended_transfer import defended_transfer
from robustscape.evaluation.ensemble_transfer import ensemble_transfer
from robustscape.evaluation.harness.craft import correctly_classified, craft
from robustscape.evaluation.perturbation_spectra import averaged, low_share, perturbation_spectra
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape.alignment_curvature import alignment_curvature
from robustscape.landscape.alignment_surface import alignment_surface, orthogonal, sharpness
from robustscape.landscape.input_hessian import top_input_eigenvalues

PGD = AttackSpec(attack="pgd", parameters={"steps": 5})
FGSM = AttackSpec(attack="fgsm")
SUITE = Suite(name="s", attacks=(("p", PGD), ("f", FGSM)))
EPS = 0.15


def digits() -> tuple[Split, Split]:
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    x, y = images.to(torch.uint8).view(-1, 1, 8, 8), labels.long()
    return Split(x[:600], y[:600], 16.0), Split(x[600:700], y[600:700], 16.0)


def trained_net(seed: int, hidden: int, epochs: int = 60) -> nn.Module:
    torch.manual_seed(seed)
    train, _ = digits()
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(epochs):
        optimizer.zero_grad()
        F.cross_entropy(net(train.inputs()), train.y).backward()
        optimizer.step()
    return net.eval()


def as_run(net: nn.Module, recipe: str, seed: int, lr: float = 0.1, **parameters: Any) -> TrainedRun:
    train, test = digits()
    return TrainedRun(
        model=net,
        train=train,
        test=test,
        eps=0.0,
        seed=seed,
        device=torch.device("cpu"),
        num_classes=10,
        path=Path(f"models/digits/mlp/{recipe}-lr{lr}/eps0/seed{seed}"),
        config={
            "dataset": {"name": "digits"},
            "architecture": {"name": "mlp"},
            "recipe": {"name": recipe, "parameters": parameters, "optimizer": {"parameters": {"lr": lr}}},
        },
        checkpoint="",
    )


def aligned_run(net: nn.Module, seed: int, lr: float, **changes: Any) -> TrainedRun:
    given = {
        "source": "a",
        "source_seed": 0,
        "witness": "b",
        "witness_seeds": [2],
        "distance": "kl",
        "temperature": 4.0,
    }
    return as_run(net, "align-a", seed, lr, **{**given, **changes})


@pytest.fixture(scope="module")
def nets() -> dict[str, nn.Module]:
    return {
        name: trained_net(seed, 12 + seed) for seed, name in enumerate(("source", "target", "witness", "judge", "new"))
    }


@pytest.fixture(scope="module")
def runs(nets: dict[str, nn.Module]) -> list[TrainedRun]:
    """The aligned run at 0.1 is the target itself, which fools it as often as can be; that at 0.01 is the source."""
    return [
        as_run(nets["source"], "nets-a", 0),
        as_run(nets["target"], "nets-b", 1),
        as_run(nets["witness"], "nets-b", 2),
        as_run(nets["judge"], "nets-res34", 1),
        aligned_run(nets["source"], 0, 0.01),
        aligned_run(nets["judge"], 0, 0.1),
    ]


def by(rows: list[dict[str, Any]], **wanted: Any) -> list[float]:
    return [row["value"] for row in rows if all(row.get(key) == value for key, value in wanted.items())]


SETTINGS: dict[str, Any] = {"attacks": SUITE, "eps": EPS, "targets": ["b"], "by": PGD, "by_eps": EPS, "samples": 60}


def test_the_rate_is_the_one_that_fools_the_held_out_net(runs: list[TrainedRun]) -> None:
    (alignment,) = chosen_alignments(runs, runs[3], PGD, EPS)
    assert alignment.lr == 0.1 and alignment.repetitions == (runs[5],), "made on the held-out net itself"
    assert alignment.original is runs[0] and alignment.first_witness is runs[2]
    (other,) = chosen_alignments(runs[:5], runs[3], PGD, EPS)
    assert other.lr == 0.01


def test_rates_are_chosen_on_images_that_no_table_has(runs: list[TrainedRun], monkeypatch: pytest.MonkeyPatch) -> None:
    start, seen = held_out_start(runs[0]), []
    original = alignments.craft

    def watched(model: nn.Module, x: Tensor, *arguments: Any, **settings: Any) -> Tensor:
        seen.append(settings["index"])
        return original(model, x, *arguments, **settings)

    monkeypatch.setattr(alignments, "craft", watched)
    chosen_alignments(runs, runs[3], PGD, EPS)
    assert start == 80 and min(int(index.min()) for index in seen) >= start
    assert held_out_start(replace(runs[0], test=Split(torch.zeros(9000, 1), torch.zeros(9000).long(), 1.0))) == 8000
    assert len(evaluated_images(runs[0], None)[1]) == start and len(evaluated_images(runs[0], 30)[1]) == 30


def test_measurements_at_two_budgets_choose_by_the_same_examples(
    runs: list[TrainedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, made = alignments.craft, []

    def watched(*arguments: Any, **settings: Any) -> Tensor:
        points = original(*arguments, **settings)
        made.append(points)
        return points

    monkeypatch.setattr(alignments, "craft", watched)
    robust = replace(as_run(runs[1].model, "nets-b_at", 1), eps=0.1)
    small: dict[str, Any] = {"samples": 10}
    second = [as_run(runs[0].model, "nets-a", 2), as_run(runs[2].model, "nets-b", 3)]
    second += [aligned_run(run.model, 0, 0.1, source_seed=2, witness_seeds=[3]) for run in runs[5:]]
    measures: list[Callable[[float], object]] = [
        lambda eps: aligned_transfer(runs, **{**SETTINGS, "eps": eps}),
        lambda eps: ensemble_transfer(
            [*runs, *second], attack=PGD, eps=eps, targets=["b"], by=PGD, by_eps=EPS, **small
        ),
        lambda eps: defended_transfer(
            [*runs, robust],
            attack=PGD,
            eps=eps,
            target="b",
            robust="b_at",
            by=PGD,
            by_eps=EPS,
            draws=2,
            updates=1,
            **small,
        ),
        lambda eps: alignment_curvature(runs, attack=PGD, eps=eps, by_eps=EPS, **small),
        lambda eps: perturbation_spectra(runs, attack=PGD, eps=eps, by_eps=EPS, **small),
        lambda eps: alignment_surface(runs, attack=PGD, eps=eps, by_eps=EPS, target="b", points=3, **small),
    ]
    alignment_similarity(runs, by=PGD, by_eps=EPS, samples=10)
    wanted = list(made)
    assert len(wanted) == 2, "one rate each"
    for measure in measures:
        for eps in (EPS, 2 * EPS):
            made.clear()
            measure(eps)
            assert len(made) == 2 and all(torch.equal(a, b) for a, b in zip(made, wanted, strict=True))


def test_errors_by_hand(runs: list[TrainedRun], nets: dict[str, nn.Module]) -> None:
    rows = aligned_transfer(runs, **SETTINGS, names={"p": "pgd"})
    x, y = evaluated_images(runs[0], 60)
    points = {name: craft(nets[name], x, y, PGD, EPS, seed=0) for name in ("source", "judge", "target")}

    def right(net: str, at: Tensor) -> Tensor:
        return correctly_classified(nets[net], at, y)

    def passes(net: str) -> Tensor:
        own = right(net, x) & ~right(net, points[net])
        return own & right("target", x) & ~right("target", points["target"])

    expected = {}
    for model, net in (("original", "source"), ("aligned", "judge")):
        expected[model] = 100.0 * (~right("target", points[net]))[passes(net)].double().mean().item()
    chosen = {"attack": "pgd", "target": "b", "images": "pair", "common_images": False}
    for model, value in expected.items():
        assert by(rows, model=model, metric="error_rate", **chosen) == [pytest.approx(value)]
    change = by(rows, metric="error_rate_change", **chosen)
    assert change == [pytest.approx(expected["aligned"] - expected["original"])]
    together = passes("source") & passes("judge")
    common = 100.0 * (~right("target", points["source"]))[together].double().mean().item()
    assert by(rows, model="original", **{**chosen, "common_images": True}) == [pytest.approx(common)]
    assert 0 < together.sum() < passes("source").sum(), "the sets differ"
    white = 100.0 * (~right("target", points["target"]))[right("target", x)].double().mean().item()
    assert by(rows, metric="white_box_error", attack="pgd") == [pytest.approx(white)]
    assert {row["attack"] for row in rows} == {"pgd", "f"}


def test_an_original_has_one_row_whatever_it_is_aligned_with(
    runs: list[TrainedRun], nets: dict[str, nn.Module]
) -> None:
    more = [
        *runs,
        aligned_run(nets["new"], 0, 0.1, witness_seeds=[1, 2]),
        aligned_run(nets["new"], 0, 0.1, distance="rkd"),
    ]
    rows = aligned_transfer(more, **SETTINGS, images=["pair"], common_images=[False])
    originals = [row for row in rows if row.get("model") == "original" and row["attack"] == "p"]
    assert len(originals) == 1 and originals[0]["witness"] == "none" and originals[0]["witnesses"] == 0
    aligned = {(row["witnesses"], row["alignment_loss"]) for row in rows if row.get("model") == "aligned"}
    assert aligned == {(1, "kl"), (2, "kl"), (1, "rkd")}


def test_repetitions_are_draws_of_alignment_and_attack(runs: list[TrainedRun], nets: dict[str, nn.Module]) -> None:
    more = [*runs, aligned_run(nets["judge"], 1, 0.1), aligned_run(nets["source"], 1, 0.01)]
    rows = aligned_transfer(more, **SETTINGS, images=["all"], common_images=[False], mean_over_targets=True)
    draws = [(row["model"], row["draw"]) for row in rows if row["metric"] == "error_rate" and row["attack"] == "p"]
    assert sorted(draws) == [("aligned", 0), ("aligned", 1), ("original", 0), ("original", 1)]
    means = by(rows, metric="mean_error_rate_over_targets", model="aligned", attack="p", draw=1)
    assert means == by(rows, metric="error_rate", model="aligned", attack="p", draw=1), "of one target"


def test_a_net_that_is_not_there_is_named(runs: list[TrainedRun]) -> None:
    with pytest.raises(UserError, match=r"no net 'c' with seed 1; it has a \(seed 0\), b \(seed 1\)"):
        aligned_transfer(runs, **{**SETTINGS, "targets": ["c"]})


def test_each_source_of_an_ensemble_has_its_own_images(runs: list[TrainedRun], nets: dict[str, nn.Module]) -> None:
    pair = [
        as_run(nets["new"], "nets-a", 2),
        as_run(nets["new"], "nets-b", 3),
        aligned_run(nets["target"], 0, 0.1, source_seed=2, witness_seeds=[3]),
    ]
    settings: dict[str, Any] = {"attack": PGD, "eps": EPS, "targets": ["b"], "by": PGD, "by_eps": EPS, "samples": 60}
    rows = ensemble_transfer([*runs, *pair], **settings)
    names = ["b", "a", "aligned_a", "a+b", "2xaligned_a", "2x(a+b)"]
    assert [row["source_ensemble"] for row in rows] == names and len({row["samples"] for row in rows}) > 1
    with pytest.raises(UserError, match="two alignments"):
        ensemble_transfer(runs, **settings)


def test_defences_and_the_images_that_count(runs: list[TrainedRun], nets: dict[str, nn.Module]) -> None:
    robust = replace(as_run(nets["new"], "nets-b_at", 1), eps=0.1)
    settings: dict[str, Any] = {
        "attack": PGD,
        "eps": EPS,
        "target": "b",
        "robust": "b_at",
        "by": PGD,
        "by_eps": EPS,
        "samples": 60,
    }
    rows = defended_transfer([*runs, robust], **settings, draws=3, updates=2)
    changed = {"bit_red", "jpeg", "feature_distillation", "randomized_smoothing", "small_purifier"}
    kinds = {"none", "adversarially_trained", *changed}
    assert {row["defense"] for row in rows} == kinds and len(rows) == 2 * len(kinds)
    samples = {(row["defense"], row["model"]): row["samples"] for row in rows}
    for model in ("original", "aligned"):
        assert all(samples[kind, model] <= samples["none", model] for kind in kinds - {"adversarially_trained"})
    assert all(0 <= row["value"] <= 100 for row in rows if row["samples"])
    few = defended_transfer([*runs, robust], **settings, draws=3, updates=2, limit=3)
    assert {row["samples"] for row in few} == {3}


def test_an_error_behind_a_defence_is_that_of_the_pair(runs: list[TrainedRun], nets: dict[str, nn.Module]) -> None:
    """Without a defence rows are those of ``aligned_transfer``, and an adversarially trained target is a target like any."""
    robust = as_run(nets["new"], "nets-b_at", 1)
    shared: dict[str, Any] = {"eps": EPS, "by": PGD, "by_eps": EPS, "samples": 60, "limit": 20}
    ours = defended_transfer([*runs, robust], attack=PGD, target="b", robust="b_at", draws=1, updates=1, **shared)
    theirs = aligned_transfer([*runs, robust], attacks=SUITE, targets=["b", "b_at"], **shared)
    for target, defence in (("b", "none"), ("b_at", "adversarially_trained")):
        for model in ("original", "aligned"):
            named = {"model": model, "target": target, "attack": "p", "images": "pair", "common_images": False}
            (expected,) = [row for row in theirs if all(row.get(key) == value for key, value in named.items())]
            (found,) = [row for row in ours if (row["model"], row["defense"]) == (model, defence)]
            assert (found["value"], found["samples"]) == (expected["value"], expected["samples"])


def test_similarity_of_a_net_with_itself_and_by_its_definition(runs: list[TrainedRun]) -> None:
    logits, gradients = torch.randn(6, 4), torch.randn(6, 9)
    same = similarity((logits, gradients), (logits, gradients))
    assert same["kl_divergence"][0] == pytest.approx(0, abs=1e-12) and same["prediction_agreement"][0] == 100
    assert same["input_gradient_cosine_similarity"][0] == pytest.approx(1)
    other, still = torch.randn(6, 4), gradients.clone()
    still[0] = 0
    found = similarity((logits, still), (other, -gradients))
    p, q = other.softmax(1), logits.softmax(1)
    assert found["kl_divergence"][0] == pytest.approx((p * (p / q).log()).sum(1).mean().item(), rel=1e-5)
    assert found["input_gradient_cosine_similarity"][0] == pytest.approx(-1), "gradients of 0 do not count"
    rows = alignment_similarity(runs, by=PGD, by_eps=EPS, samples=60)
    assert {(row["stage"], row["metric"]) for row in rows} == {(s, m) for s in ("before", "after") for m in same}


def closed_form_hessian(net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """J^T (diag p - p p^T) J of a net that is linear by pieces, by loops over the logits."""
    found = []
    for sample in x:
        jacobian = torch.autograd.functional.jacobian(lambda z: net(z[None])[0], sample).flatten(1)
        p = net(sample[None])[0].softmax(0)
        matrix = jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian
        found.append(torch.linalg.eigvalsh(matrix).max())
    return torch.stack(found)


def test_the_largest_eigenvalue_is_that_of_the_closed_form(nets: dict[str, nn.Module], runs: list[TrainedRun]) -> None:
    net, (x, y) = nets["source"].double(), evaluated_images(runs[0], 8)
    try:
        values = top_input_eigenvalues(net, x.double(), y, torch.arange(8), 0)
        assert torch.allclose(values, closed_form_hessian(net, x.double(), y), rtol=2e-3)  # type: ignore[arg-type]
    finally:
        nets["source"].float()
    line = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    assert top_input_eigenvalues(line, x, torch.zeros(8).long(), torch.arange(8), 0).abs().max() == 0


def test_curvature_rows(runs: list[TrainedRun]) -> None:
    rows = alignment_curvature(runs, attack=PGD, eps=EPS, by_eps=EPS, samples=20, hessian_samples=5, hessian_of=["a"])
    assert {row["input_perturbation"] for row in rows} == {"clean", "gaussian", "pgd"}
    counts = {row["metric"]: row["samples"] for row in rows}
    assert counts == {"input_gradient_l2_norm": 20, "input_hessian_top_eigenvalue": 5}
    assert {row["metric"] for row in alignment_curvature(runs, attack=PGD, eps=EPS, by_eps=EPS, samples=20)} == {
        "input_gradient_l2_norm"
    }


def test_spectra_of_known_perturbations(runs: list[TrainedRun]) -> None:
    flat, fine = torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    fine[..., ::2] *= -1
    assert low_share(dct(flat)) == pytest.approx(100) and low_share(dct(fine)) < 50
    assert low_share(dct(torch.cat([flat, 0 * flat]))) == pytest.approx(100), "what was not moved has no share"
    assert averaged(torch.arange(16.0).view(4, 4), 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]
    rows = perturbation_spectra(runs, attack=PGD, eps=EPS, by_eps=EPS, samples=20, points=4)
    cells = [row for row in rows if row["metric"] == "dct_magnitude_difference"]
    assert len(cells) == 16 and {row.get("model") for row in rows} == {None, "original", "aligned"}
    same = perturbation_spectra([*runs[:5]], attack=PGD, eps=EPS, by_eps=EPS, samples=20, points=4)
    assert by(same, metric="dct_magnitude_difference") == [0.0] * 16, "the source is aligned with nothing here"


def test_directions_and_sharpness_by_hand(nets: dict[str, nn.Module], runs: list[TrainedRun]) -> None:
    x, _ = evaluated_images(runs[0], 6)
    dx = 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    across = orthogonal(dx, EPS, 0)
    assert (across * dx).flatten(1).sum(1).abs().max() < 1e-5
    assert torch.allclose(across.flatten(1).abs().amax(1), torch.full((6,), EPS))

    class Bowl(nn.Module):
        """Logits whose cross-entropy with class 0 falls from x + dx on: a peak there."""

        def forward(self, points: Tensor) -> Tensor:
            distance = (points - x - dx).flatten(1).square().sum(1)
            return torch.stack([distance, torch.zeros_like(distance)], dim=1)

    assert (sharpness(Bowl(), x, torch.zeros(6).long(), dx, across) > 0).all()
    assert sharpness(Bowl(), x, torch.ones(6).long(), dx, across).max() < 0


def test_surface_rows(runs: list[TrainedRun]) -> None:
    rows = alignment_surface(runs, attack=PGD, eps=EPS, by_eps=EPS, target="b", samples=20, points=3)
    panels = {row["panel"] for row in rows if row.get("panel")}
    assert len(panels) == 4 and sum(row.get("layer") == "surface" for row in rows) == 4 * 9
    assert all("method" in row for row in rows if row.get("layer")), "which the figure asks for"
    sharp = {row.get("model"): row["value"] for row in rows if row["metric"] == "sharpness"}
    (difference,) = by(rows, metric="sharpness_difference")
    assert difference == pytest.approx(sharp["aligned"] - sharp["original"])
    (error,) = by(rows, metric="sharpness_difference_error")
    assert error > 0


Measure = Callable[..., list[dict[str, Any]]]


@pytest.mark.parametrize("measure", [alignment_similarity, alignment_curvature, perturbation_spectra])
def test_the_same_rows_on_every_repetition(measure: Measure, runs: list[TrainedRun]) -> None:
    settings: dict[str, Any] = {"by_eps": EPS, "samples": 10}
    settings |= {"by": PGD} if measure is alignment_similarity else {"attack": PGD, "eps": EPS}
    assert measure(runs, **settings) == measure(runs, **settings)


class Broken(nn.Module):
    """Logits that are not finite."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.full((len(x), 10), torch.nan)


def test_a_rate_that_broke_the_net_is_not_chosen(runs: list[TrainedRun], tmp_path: Path) -> None:
    worse = [*runs[:5], aligned_run(Broken(), 0, 0.1)]
    (alignment,) = chosen_alignments(worse, runs[3], PGD, EPS)
    assert alignment.lr == 0.01
    (tmp_path / "run.json").write_text('{"diverged": 1}')
    diverged = replace(runs[5], path=tmp_path)
    (alignment,) = chosen_alignments([*runs[:5], diverged], runs[3], PGD, EPS)
    assert alignment.lr == 0.01
    rows = aligned_transfer([*runs[:4], diverged], **SETTINGS)
    flags = {row["model"]: row["flag_diverged"] for row in rows if "model" in row}
    assert flags == {"original": False, "aligned": True, "aligned_minus_original": True}
