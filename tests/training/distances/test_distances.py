"""The distances of alignment: closed forms, invariances, and that gradients reach the source alone."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from robustscape.training.distances import EMBEDDING_DISTANCES, softened_kl
from robustscape.training.distances.ega import embedding_graph_distance
from robustscape.training.distances.hint import hint_distance
from robustscape.training.distances.nce import TEMPERATURE, contrastive_distance
from robustscape.training.distances.rkd import ANCHORS, ANGLE_WEIGHT, DISTANCE_WEIGHT, relational_distance


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_kl_is_that_of_the_witness_from_the_source_softened_by_the_temperature() -> None:
    source, witness, t = drawn(5, 3), drawn(5, 3, seed=1), 4.0
    p, q = (F.softmax(z / t, dim=1) for z in (witness, source))
    expected = t**2 * (p * (p / q).log()).sum(1).mean()
    assert torch.allclose(softened_kl(source, witness, t), expected)
    assert not torch.allclose(softened_kl(witness, source, t), expected), "the direction matters"
    assert softened_kl(witness + 7, witness, t).abs() < 1e-12, "logits are defined up to a constant"


def test_hint_is_the_mean_squared_distance() -> None:
    a, b = drawn(4, 3), drawn(4, 3, seed=1)
    assert torch.allclose(hint_distance(a, b), sum(((x - y) ** 2).sum() for x, y in zip(a, b, strict=True)) / 4)


def test_rkd_by_loops_over_pairs_and_triplets() -> None:
    count = ANCHORS + 2
    source, witness = drawn(count, 3), drawn(count, 7, seed=1)

    def relations(z: Tensor) -> tuple[Tensor, Tensor]:
        pairs = torch.stack([(z[i] - z[j]).norm() for i, j in itertools.product(range(count), repeat=2)])
        mean = pairs[pairs > 0].mean()
        angles = []
        for i, j, k in itertools.product(range(count), repeat=3):
            one, two = z[j] - z[i], z[k] - z[i]
            angles.append(one @ two / (one.norm() * two.norm()) if i not in (j, k) else torch.zeros((), dtype=z.dtype))
        return pairs / mean, torch.stack(angles)

    (d, a), (e, b) = relations(source), relations(witness)
    expected = DISTANCE_WEIGHT * F.smooth_l1_loss(d, e) + ANGLE_WEIGHT * F.smooth_l1_loss(a, b)
    assert torch.allclose(relational_distance(source, witness), expected)


def test_rkd_does_not_see_rotation_and_scale() -> None:
    z = drawn(6, 4)
    rotation = torch.linalg.qr(drawn(4, 4, seed=2))[0]
    assert relational_distance(3 * z @ rotation + 1, z) < 1e-12
    assert relational_distance(z.square(), z) > 0.1


def test_rkd_has_a_finite_gradient_where_samples_coincide() -> None:
    z = torch.cat([drawn(2, 3), drawn(2, 3)]).requires_grad_()
    relational_distance(z, drawn(4, 3, seed=1)).backward()
    assert z.grad is not None and z.grad.isfinite().all()


def test_ega_is_the_formula_of_its_authors() -> None:
    projected, witness = drawn(5, 4, seed=1), drawn(5, 4, seed=2)
    both = np.corrcoef(np.concatenate([projected.numpy(), witness.numpy()]))
    nodes = math.sqrt(((both[:5, 5:] - np.eye(5)) ** 2).sum())
    edges = math.sqrt(((both[:5, :5] - both[5:, 5:]) ** 2).sum())
    assert embedding_graph_distance(projected, witness).item() == pytest.approx(nodes + 0.3 * edges)


def test_ega_has_a_finite_gradient_where_both_graphs_are_one() -> None:
    same = drawn(5, 4).requires_grad_()
    distance = embedding_graph_distance(same, same.detach())
    distance.backward()
    assert distance > 0, "of the nodes, whose embeddings are correlated"
    assert same.grad is not None and same.grad.isfinite().all() and same.grad.abs().sum() > 0


def test_nce_by_its_definition_and_at_chance() -> None:
    projected, witness = drawn(4, 3), drawn(4, 3, seed=1)
    losses = []
    for i in range(4):
        cosines = torch.stack([F.cosine_similarity(projected[i], witness[j], dim=0) for j in range(4)]) / TEMPERATURE
        losses.append(torch.logsumexp(cosines, 0) - cosines[i])
    assert torch.allclose(contrastive_distance(projected, witness), torch.stack(losses).mean())
    assert contrastive_distance(torch.ones(4, 3), torch.ones(4, 3)).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("name", sorted(EMBEDDING_DISTANCES))
def test_gradients_reach_source_and_map(name: str) -> None:
    source, projection = drawn(6, 3).requires_grad_(), drawn(3, 4, seed=3).requires_grad_()
    EMBEDDING_DISTANCES[name](source @ projection, drawn(6, 4, seed=1)).backward()
    for trained in (source, projection):
        assert trained.grad is not None and trained.grad.abs().sum() > 0


@pytest.mark.parametrize("name", sorted(EMBEDDING_DISTANCES))
def test_gradients_reach_every_sample_of_the_largest_batch(name: str) -> None:
    z = drawn(512, 6).float().requires_grad_()
    EMBEDDING_DISTANCES[name](z, drawn(512, 6, seed=1).float()).backward()
    assert z.grad is not None and (z.grad.abs().sum(1) > 0).all()
