"""Random streams: samples, draws, pixels, forks and restarts differ; there are as many restarts as asked for."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.search import SearchModel
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.base.trials import Found, Rows, attack_in_trials
from robustscape.attacks.pgd import pgd

#: Draws of a generator, each (samples, 400), as floats.
DRAWS: dict[str, Any] = {
    "uniform": lambda generator: generator.uniform((400,)),
    "normal": lambda generator: generator.normal((400,)),
    "integers": lambda generator: generator.integers(1000, (400,)).float(),
    "signs": lambda generator: generator.signs((400,)),
}


def largest_correlation(rows: Tensor) -> float:
    """The largest correlation of two rows, in absolute value: 1 for equal ones, below 0.3 for 400 independent numbers."""
    return float((torch.corrcoef(rows) - torch.eye(len(rows))).abs().max())


@pytest.mark.parametrize("kind", DRAWS)
def test_samples_draws_forks_and_seeds_have_numbers_of_their_own(kind: str) -> None:
    draw = DRAWS[kind]
    generator = SampleGenerator.seeded(1, 3)
    streams = [
        draw(generator),  # three samples
        draw(generator),  # a later draw
        *(draw(SampleGenerator.seeded(1, 3).fork(stream)) for stream in range(3)),
        draw(SampleGenerator.seeded(1, 3).fork(0).fork(0)),
        draw(SampleGenerator.seeded(2, 3)),
    ]
    assert largest_correlation(torch.cat(streams)) < 0.3
    assert all(len(row.unique()) > (1 if kind == "signs" else 300) for row in torch.cat(streams)), "pixels differ"


def test_a_trial_has_the_fork_of_its_number_and_the_first_one_the_stream_itself() -> None:
    keys = SampleGenerator.seeded(0, 5).fork_trials([1, 2, 3]).keys.view(3, 5)
    assert torch.equal(SampleGenerator.seeded(0, 5).fork_trials([0]).keys, SampleGenerator.seeded(0, 5).keys)
    for number, row in zip((1, 2, 3), keys, strict=True):
        assert torch.equal(row, SampleGenerator.seeded(0, 5).fork(number).keys)
    assert len({*keys.flatten().tolist(), *SampleGenerator.seeded(0, 5).keys.tolist()}) == 20


class Recorded(SearchModel):
    """Two classes that no attack of size 0.1 exchanges; ``rows`` samples may share a pass."""

    def __init__(self, rows: int = 0) -> None:
        super().__init__(nn.Identity())
        self.rows = rows
        self.points: list[Tensor] = []

    def most_rows(self, x: Tensor) -> int:
        return self.rows

    def search(self, x: Tensor) -> Tensor:
        self.points.append(x.detach().clone())
        self.forwards += len(x)
        return torch.stack([10 + x.flatten(1).sum(1), 0 * x.flatten(1).sum(1)], 1)


@pytest.mark.parametrize("rows", [0, 7, 12, 1000])
@pytest.mark.parametrize("trials", [1, 2, 3, 5])
def test_each_sample_is_attacked_in_every_trial_once(trials: int, rows: int) -> None:
    x, seen = torch.full((4, 6), 0.5), []

    def attack(batch: Rows) -> Found:
        seen.extend(zip(batch.sample.tolist(), batch.trial.tolist(), strict=True))
        return Found.nothing(batch.x)

    generator = SampleGenerator.seeded(0, 4)
    attack_in_trials(
        attack, Recorded(rows), x, torch.zeros(4).long(), ThreatModel("Linf", 0.1), generator, trials=trials
    )
    assert sorted(seen) == list(itertools.product(range(4), range(trials)))


@pytest.mark.parametrize("rows", [0, 1000])
@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("restarts", [1, 2, 4])
def test_restarts_of_pgd_begin_at_points_of_their_own(restarts: int, norm: Any, rows: int) -> None:
    x, net = torch.full((3, 400), 0.5), Recorded(rows)
    generator = SampleGenerator.seeded(0, 3)
    pgd(net, x, torch.zeros(3).long(), ThreatModel(norm, 0.1), generator, steps=2, restarts=restarts)
    compared = restarts > 1
    assert net.forwards == 3 * restarts * (2 + compared)
    found = [part for points in net.points for part in points.split(3)]
    length = len(net.points) if restarts == 1 else 2 + compared
    starts = (
        found[: 1 if restarts == 1 else None : length]
        if rows == 0
        else found[:1] + found[length : length + restarts - 1]
    )
    assert len(starts) == restarts
    offsets = torch.cat([start - x for start in starts])
    assert (offsets.norm(dim=1) > 0.01).all()
    assert largest_correlation(offsets) < 0.3


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("per_sample", [False, True])
def test_random_points_fill_the_ball_uniformly(norm: Any, per_sample: bool) -> None:
    """In d dimensions half of a ball's volume is beyond the radius eps (1/2)^(1/d); a coordinate of the cube is uniform."""
    count, dimension = 4000, 3
    eps = torch.linspace(0.1, 1.0, count) if per_sample else torch.tensor(0.7)
    threat = ThreatModel(norm, eps if per_sample else 0.7, None)
    offset = threat.random_offset(torch.zeros(count, dimension), SampleGenerator.seeded(3, count)) / eps.view(-1, 1)
    size = offset.norm(dim=1) if norm == "L2" else offset.abs().amax(1)
    assert size.max() <= 1 + 1e-6
    for share in (0.1, 0.5, 0.9):
        assert ((size / 1) ** dimension <= share).float().mean() == pytest.approx(share, abs=0.03)
    assert offset.mean(0).abs().max() < 0.05 and largest_correlation(offset.T) < 0.06
