"""Which axis is which: on heights that differ along every axis, so that an exchanged or mirrored one is seen."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.data import Split
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.landscape import ascent_plane as ascent_plane_module
from robustscape.landscape import eigenvector_surface as module
from robustscape.landscape import loss_surface_1d, loss_surface_2d
from robustscape.landscape.ascent_plane import ascent_plane
from robustscape.landscape.directions import flatten
from robustscape.landscape.input_surface import surface_rows

FGSM = AttackSpec(attack="fgsm")


def linear_run(features: int = 3) -> TrainedRun:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, 2)).eval()
    x = torch.rand(6, 1, 1, features, generator=torch.Generator().manual_seed(1))
    split = Split(x, torch.arange(6) % 2, 1.0)
    config: dict[str, Any] = {"recipe": {"optimizer": {"parameters": {}}}}
    return TrainedRun(
        model, split, split, 0.0, 0, torch.device("cpu"), 2, path=Path("nowhere"), config=config, checkpoint=""
    )


class Heights:
    """In place of ``surface``: the height at (c_1, c_2, ...) is 1 + 10 c_1 + 100 c_2 + ..., and it notes the directions."""

    def __init__(self) -> None:
        self.directions: list[Tensor] = []

    def __call__(self, model: Any, x: Any, y: Any, directions: Any, coordinates: Tensor, *_: Any) -> Any:
        self.directions = [flatten(direction) for direction in directions]
        loss = 1 + coordinates @ (10.0 ** torch.arange(1, coordinates.shape[1] + 1)).double()
        measured = [("adversarial_loss", loss, "nats")]
        return types.SimpleNamespace(loss=loss, measured=lambda: measured)


@pytest.mark.parametrize("axes", ["filter", "random", "eigenvectors"])
def test_a_plane_has_its_first_direction_along_alpha(monkeypatch: pytest.MonkeyPatch, axes: Any) -> None:
    heights = Heights()
    monkeypatch.setattr(loss_surface_2d, "surface", heights)
    rows = loss_surface_2d.loss_surface_2d(linear_run(), attack=FGSM, points=3, span=0.5, axes=axes)
    found = {(row["alpha"], row["beta"]): row["value"] for row in rows}
    assert len(found) == 9
    assert found == pytest.approx({(a, b): 1 + 10 * a + 100 * b for a in (-0.5, 0, 0.5) for b in (-0.5, 0, 0.5)})
    first, second = heights.directions
    assert not torch.allclose(first, second) and first.norm() > 0 and second.norm() > 0


def test_a_line_belongs_to_its_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    heights = Heights()
    monkeypatch.setattr(loss_surface_1d, "surface", heights)
    rows = loss_surface_1d.loss_surface_1d(linear_run(), attack=FGSM, points=3, span=2.0, directions=3)
    lines = {(row["direction"], row["alpha"]): row["value"] for row in rows if row["metric"] == "adversarial_loss"}
    expected = {(d, a): 1 + 10 ** (d + 1) * a for d in range(3) for a in (-2.0, 0.0, 2.0)}
    assert lines == pytest.approx(expected)
    assert len({tuple(direction.tolist()) for direction in heights.directions}) == 3
    assert [row["value"] for row in rows if row["metric"] == "sharpness"] == pytest.approx([0, 0, 0]), "straight lines"


def test_sharpness_is_the_rise_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """g(-1), g(0), g(1) = 2, 3, 11: S = 2 + 11 - 6."""

    def surface(*_: Any) -> Any:
        loss = torch.tensor([2.0, 3.0, 11.0], dtype=torch.float64)
        return types.SimpleNamespace(loss=loss, measured=lambda: [("adversarial_loss", loss, "nats")])

    monkeypatch.setattr(loss_surface_1d, "surface", surface)
    rows = loss_surface_1d.loss_surface_1d(linear_run(), attack=FGSM, points=3, directions=1)
    assert {row["metric"]: row["value"] for row in rows}["sharpness_mean"] == pytest.approx(7.0)


def test_an_inputs_plane_has_the_attack_along_a_and_ends_at_the_legal_range() -> None:
    """A linear model whose score rises with the first pixel and falls with the second, at a different rate."""

    class Score(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            score = 3 * x.flatten(1)[:, 0] - 2 * x.flatten(1)[:, 1] - 0.9
            return torch.stack([-score, score], 1)

    x = torch.tensor([[[[0.2, 0.9]]]])
    first, second = torch.tensor([[[[0.6, 0.0]]]]), torch.tensor([[[[0.0, 0.3]]]])
    rows = surface_rows(Score().eval(), x, torch.tensor([0]), first, second, 5, torch.tensor([4]), {})
    losses = {(row["a"], row["b"]): row["value"] for row in rows if row["metric"] == "loss"}
    for (a, b), loss in losses.items():
        score = 3 * (0.2 + 0.6 * a) - 2 * min(1.0, 0.9 + 0.3 * b) - 0.9
        assert loss == pytest.approx(F.softplus(torch.tensor(2 * score)).item(), rel=1e-5)
    assert len(losses) == 25


def test_the_edge_of_an_inputs_plane_is_the_attacks() -> None:
    """Misclassified between the input and its attacked copy only: in the middle of the edge b = 0, and nowhere along a = 0."""

    class Band(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            first = x.flatten(1)[:, 0]
            wrong = ((first > 0.25) & (first < 0.75)).float()
            return torch.stack([1 - wrong, wrong], 1)

    x = torch.zeros(1, 1, 1, 2)
    along = torch.tensor([[[[1.0, 0.0]]]])
    across = torch.tensor([[[[0.0, 1.0]]]])
    for first, second, expected in ((along, across, (1.0, 100 / 3)), (across, along, (0.0, 0.0))):
        rows = surface_rows(Band().eval(), x, torch.tensor([0]), first, second, 5, torch.tensor([0]), {})
        found = {
            row["metric"]: row["value"] for row in rows if row["metric"] in ("distorted_interval", "wrong_between")
        }
        assert tuple(found.values()) == pytest.approx(expected)
        assert [row["value"] for row in rows if row["metric"] == "right_at_both_ends"] == [1.0]


@pytest.mark.parametrize(("start", "step"), [(0.5, 0.5), (0.0, 0.5), (0.3, 0.4)])
def test_an_image_that_is_wrong_at_an_end_is_not_one_without_distortion(start: float, step: float) -> None:
    """Neither has a distorted interval; only ``right_at_both_ends`` tells them apart."""

    class Band(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            wrong = ((x.flatten(1)[:, 0] > 0.25) & (x.flatten(1)[:, 0] < 0.75)).float()
            return torch.stack([1 - wrong, wrong], 1)

    x, along = torch.full((1, 1, 1, 2), start), torch.tensor([[[[step, 0.0]]]])
    rows = surface_rows(Band().eval(), x, torch.tensor([0]), along, along, 5, torch.tensor([0]), {})
    found = {
        row["metric"]: row["value"] for row in rows if row["metric"] in ("distorted_interval", "right_at_both_ends")
    }
    assert found == {"distorted_interval": 0.0, "right_at_both_ends": 0.0}


def test_an_ascents_plane_has_the_first_step_along_a(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heights 1 + 10 a + 100 b in place of the loss: a counts v_1, b counts v_2; the arc begins at v_1 and ends at v_2."""
    run = linear_run()
    seen: dict[str, Tensor] = {}
    original = ascent_plane_module.ascent

    class Measured(types.SimpleNamespace):
        def __getattr__(self, name: str) -> Any:
            return getattr(original, name)

    def ascend(model: Any, move: Any, x: Any, y: Any, rho: float, steps: int, start: Any) -> Any:
        """v_2 is orthogonal to v_1, so that coordinates can be read off the weights."""
        v_1 = flatten(original.scale_to(start, 1.0))
        other = torch.arange(len(v_1)).float()
        other -= (other @ v_1) * v_1
        seen["v_1"], seen["v_2"] = v_1, other / other.norm()
        seen["origin"] = flatten({name: p.detach() for name, p in model.named_parameters()}).clone()
        pieces = other.split([p.numel() for p in model.parameters()])
        return {name: piece.view(p.shape) for (name, p), piece in zip(model.named_parameters(), pieces, strict=True)}

    def batch_loss(model: Any, x: Any, y: Any) -> Tensor:
        moved = flatten({name: p.detach() for name, p in model.named_parameters()}) - seen["origin"]
        return (1 + 10 * (moved @ seen["v_1"]) + 100 * (moved @ seen["v_2"])).double()

    fake = Measured(ascend_weights=ascend, batch_loss=batch_loss)
    monkeypatch.setattr(ascent_plane_module, "ascent", fake)
    rows = ascent_plane(run, rho=0.5, points=3, batch=None)
    grid = {(row["a"], row["b"]): row["value"] for row in rows if row["metric"] == "perturbed_loss"}
    assert grid == pytest.approx({(a, b): 1 + 10 * a + 100 * b for a in (0, 0.5, 1) for b in (0, 0.5, 1)}, rel=1e-4)
    arc = {row["share_v2"]: row["value"] for row in rows if row["metric"] == "loss_on_arc"}
    for share, value in arc.items():
        length = ((1 - share) ** 2 + share**2) ** 0.5
        assert value == pytest.approx(1 + 0.5 * (10 * (1 - share) + 100 * share) / length, rel=1e-4)


def test_a_curvature_is_fitted_to_the_middle_of_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heights 3 a^2 + a b + b^2 in the middle third, and anything beyond it."""
    ticks = torch.linspace(-1, 1, 13, dtype=torch.float64).tolist()

    def grid(*_: Any, **__: Any) -> list[dict[str, Any]]:
        return [
            {
                "alpha": a,
                "beta": b,
                "metric": "adversarial_loss",
                "unit": "nats",
                "value": 3 * a**2 + a * b + b**2 if max(abs(a), abs(b)) < 0.35 else 50 * abs(a) + b,
            }
            for a in ticks
            for b in ticks
        ]

    monkeypatch.setattr(module, "loss_surface_2d", grid)
    rows = module.eigenvector_surface(linear_run(), attack=FGSM, points=13)
    found = {row["metric"]: row["value"] for row in rows}
    expected = torch.linalg.eigvalsh(torch.tensor([[6.0, 1.0], [1.0, 2.0]]))[-1].item()
    assert found["loss_curvature"] == pytest.approx(expected, rel=1e-6)
