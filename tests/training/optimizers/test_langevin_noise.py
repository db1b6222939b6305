"""The noise of Entropy-SGD's inner steps: independent between steps, tensors, outer updates and seeds; the same when repeated."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from robustscape.training.optimizers.entropy_sgd import entropy_sgd

SIZE = 500


def increments(seed: int, steps: int = 7) -> list[Tensor]:
    """What each inner step adds to each of two tensors of weights, where the loss is flat and nothing pulls."""
    weights = [torch.nn.Parameter(torch.zeros(SIZE)) for _ in range(2)]
    torch.manual_seed(seed)
    optimizer = entropy_sgd(
        weights, lr=1.0, inner_lr=0.5, gamma=0.0, noise=1.0, averaging=0.0, inner_steps=3, protocol="algorithm"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = sum((0 * weight).sum() for weight in weights)
        assert isinstance(loss, Tensor)
        loss.backward()
        return loss.detach()

    found = []
    for _ in range(steps):
        before = [weight.detach().clone() for weight in weights]
        optimizer.step(closure)  # type: ignore[arg-type]
        found += [weight.detach() - start for weight, start in zip(weights, before, strict=True)]
    return found


def test_every_inner_step_and_tensor_has_noise_of_its_own() -> None:
    found = torch.stack(increments(1))
    torch.testing.assert_close(found.std(1), torch.full((len(found),), 0.5**0.5), rtol=0.2, atol=0)
    correlations = torch.corrcoef(found) - torch.eye(len(found))
    assert correlations.abs().max() < 0.25


def test_the_same_seed_has_the_same_noise_and_another_seed_another() -> None:
    first, again, other = (increments(seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    pairs = itertools.product(first, other)
    assert max(abs(torch.corrcoef(torch.stack(pair))[0, 1].item()) for pair in pairs) < 0.25
