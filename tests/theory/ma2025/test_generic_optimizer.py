"""The general form (4.2) is signGD, RMSProp and Adam at their settings, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from robustscape.theory.ma2025._generic_optimizer import ADAM, RMSPROP, SIGN_DESCENT, GenericOptimizer

RATE = 0.01


def gradients(steps: int = 60) -> Any:
    """Gradients (steps, 4) of very different sizes; the first entry of every third is 0."""
    generator = np.random.default_rng(0)
    found = generator.standard_normal((steps, 4)) * 10.0 ** generator.integers(-6, 3, (steps, 4))
    found[::3, 0] = 0.0
    return found


def path(optimizer: GenericOptimizer) -> Any:
    weights = np.array([1.0, -2.0, 0.5, 3.0])
    memory, found = optimizer.start(weights), []
    for gradient in gradients():
        step, memory = optimizer.step(memory, gradient)
        weights = weights - RATE * step
        found.append(weights)
    return np.stack(found)


def torch_path(make: Any) -> Any:
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64, requires_grad=True)
    optimizer, found = make([weights]), []
    for gradient in gradients():
        weights.grad = torch.tensor(gradient)
        optimizer.step()
        found.append(weights.detach().clone().numpy())
    return np.stack(found)


def test_signgd_is_the_form_without_memory() -> None:
    expected = np.array([1.0, -2.0, 0.5, 3.0]) - RATE * np.cumsum(np.sign(gradients()), axis=0)
    np.testing.assert_allclose(path(SIGN_DESCENT), expected, rtol=0, atol=1e-14)


def test_the_sign_of_0_is_0() -> None:
    step, memory = SIGN_DESCENT.step(SIGN_DESCENT.start(np.zeros(3)), np.array([0.0, -1e-150, 3.0]))
    assert step.tolist() == [0.0, -1.0, 1.0] and memory.steps == 1


@pytest.mark.parametrize(
    ("optimizer", "make"),
    [
        (RMSPROP, lambda weights: torch.optim.RMSprop(weights, lr=RATE)),
        (ADAM, lambda weights: torch.optim.Adam(weights, lr=RATE)),
    ],
    ids=["RMSProp", "Adam"],
)
def test_defaults_are_those_of_pytorch(optimizer: GenericOptimizer, make: Any) -> None:
    np.testing.assert_allclose(path(optimizer), torch_path(make), rtol=1e-12, atol=1e-12)


def test_b1_and_b2_weigh_the_new_gradient() -> None:
    """Not the old mean: with PyTorch's betas in their place the path is another one."""
    expected = torch_path(lambda weights: torch.optim.Adam(weights, lr=RATE))
    wrong = path(GenericOptimizer(b1=0.9, b2=0.999, eps=1e-8, corrected=True))
    assert np.abs(wrong - expected).max() > 0.01


def test_without_correction_adam_is_another_method() -> None:
    plain = path(GenericOptimizer(b1=ADAM.b1, b2=ADAM.b2, eps=ADAM.eps))
    assert np.abs(plain - path(ADAM)).max() > 0.01


def test_several_optimizers_at_once() -> None:
    both = GenericOptimizer(b1=np.array([[1.0], [1.0]]), b2=np.array([[1.0], [0.01]]), eps=np.array([[0.0], [1e-8]]))
    weights = np.tile([1.0, -2.0, 0.5, 3.0], (2, 1))
    memory = both.start(weights)
    for gradient in gradients():
        step, memory = both.step(memory, np.tile(gradient, (2, 1)))
        weights = weights - RATE * step
    np.testing.assert_allclose(weights, [path(SIGN_DESCENT)[-1], path(RMSPROP)[-1]], rtol=0, atol=1e-12)
