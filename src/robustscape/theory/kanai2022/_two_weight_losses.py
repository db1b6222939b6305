"""The toys of kanai2022: a loss over two weights, clean and under the exact attack, of a linear and of a swish model.

With z = theta.x and ||.||_q the norm dual to the attack's (q = 2 for L2, 1 for Linf), an attack of size eps can reach every
score within eps ||theta||_q of z, so the worst cases are

    linear    log(1 + exp(-y z)):           z - y eps ||theta||_q
    swish     log(1 + exp(-y s(z))):        for y = +1 the point of [z - eps ||theta||_q, z + eps ||theta||_q] nearest to the
              s(z) = z / (1 + exp(-z))      minimum of s, z* = -1.278; for y = -1 the end where s is larger

Where z* lies inside that interval, the optimum is interior (lemma 4) and the loss does not depend on theta.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from robustscape.theory.kanai2022._local_entropy import Array, Loss

Model = Literal["linear", "swish"]
Attack = Literal["none", "L2", "Linf"]
Data = Literal["datum", "first_feature"]

#: Inputs and labels; those of the work are lost. "datum": one point. "first_feature": y = sign(x_1), symmetric in x_2.
DATA: dict[str, tuple[tuple[tuple[float, float], ...], tuple[float, ...]]] = {
    "datum": (((1.0, 0.5),), (1.0,)),
    "first_feature": (((1.0, 0.5), (1.0, -0.5), (-1.0, 0.5), (-1.0, -0.5)), (1.0, 1.0, -1.0, -1.0)),
}


def swish(z: Array) -> Array:
    """Return z / (1 + exp(-z)), elementwise."""
    return np.asarray(z / (1 + np.exp(-z)))


def swish_minimiser() -> float:
    """Return z* = -1.278, where s'(z*) = 0, i.e. 1 + exp(-z) + z exp(-z) = 0, by Newton's method from -1.25."""
    z = -1.25
    for _ in range(50):
        z -= (1 + np.exp(-z) * (1 + z)) / (-z * np.exp(-z))
    return float(z)


def dual_norm(first: Array, second: Array, attack: Attack) -> Array:
    """Return ||theta||_q in the norm dual to the attack's, elementwise over pairs of weights; 0 without an attack."""
    if attack == "none":
        return np.zeros(np.broadcast_shapes(first.shape, second.shape))
    return np.hypot(first, second) if attack == "L2" else np.abs(first) + np.abs(second)


def reachable_scores(
    first: Array, second: Array, x: tuple[float, float], attack: Attack, eps: float
) -> tuple[Array, Array]:
    """Return the least and the greatest score z that the attack can reach from the input x."""
    z = first * x[0] + second * x[1]
    room = eps * dual_norm(first, second, attack)
    return z - room, z + room


def worst_loss(model: Model, data: Data, attack: Attack, eps: float) -> Loss:
    """Return the mean over the data of the worst loss (nats), as a function of arrays of the two weights."""
    inputs, labels = DATA[data]

    def loss(first: Array, second: Array) -> Array:
        total = np.zeros(np.broadcast_shapes(first.shape, second.shape))
        for x, y in zip(inputs, labels, strict=True):
            low, high = reachable_scores(first, second, x, attack, eps)
            if model == "linear":
                worst = low if y > 0 else high
            elif y > 0:
                worst = swish(np.clip(swish_minimiser(), low, high))
            else:
                worst = np.maximum(swish(low), swish(high))
            total += np.logaddexp(0.0, -y * worst)
        return total / len(inputs)

    return loss
