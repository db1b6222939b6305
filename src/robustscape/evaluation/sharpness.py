"""Sharpness of the loss around trained weights (Keskar et al. 2017; kanai2022 definition 2).

    max over ||v||_2 <= r of ( L(theta + v) - L(theta) ) / ( 1 + L(theta) ),     about ||Hess L||_2 r^2 / (2 (1 + L)) at a minimum

The maximum is searched by ascent along the normalised gradient, with the inputs attacked once at theta and held there, or
attacked anew at every step. Running statistics of BatchNorm stay those of theta.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.models import copy_model

#: Length of a step in units of r / steps: above 1, so that the ascent reaches the sphere and its last steps move on it.
_STRIDE = 2.5


def sharpness(
    run: TrainedRun,
    *,
    attack: AttackSpec | None = None,
    eps: Literal["run"] | float = "run",
    radii: list[Annotated[float, Field(gt=0)]] = [0.05, 0.1, 0.5],  # noqa: B006  (a schema; never changed)
    relative: bool = False,
    steps: Annotated[int, Field(ge=1)] = 20,
    inside: Literal["frozen", "recomputed"] = "frozen",
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "train",
) -> list[dict[str, Any]]:
    """Return one row epsilon_sharpness (dimensionless) per radius, and loss_at_the_weights (nats).

    Args:
        run: the trained model and its data.
        attack: makes the loss adversarial; None: the clean loss.
        eps: its perturbation budget; "run" for the run's own.
        radii: values of r, the radius of the ball of weights.
        relative: whether radii are fractions of ||theta||, so that nets of different scale can be compared.
        steps: ascent steps.
        inside: "frozen": the inputs attacked at theta; "recomputed": attacked at every step.
        samples: first samples of the split; None for all.
        split: which split.
    """
    attack_eps, (x, y) = run.attack_eps(eps), run.subset(split, samples)
    model = copy_model(run.model).eval()
    parameters = list(model.parameters())

    def attacked() -> Tensor:
        return x if attack is None or attack_eps == 0 else craft(model, x, y, attack, attack_eps, seed=run.seed)

    kept = attacked()

    def loss() -> Tensor:
        return F.cross_entropy(model(kept if inside == "frozen" else attacked()), y)

    norm = torch.sqrt(sum((p.detach() ** 2).sum() for p in parameters)).item()  # type: ignore[arg-type]
    shared = {
        "attack": attack.attack if attack else None,
        "attack_eps": attack_eps if attack else None,
        "inside": inside,
        "steps": steps,
        "split": split,
        "samples": len(y),
    }
    rows = [{"metric": "loss_at_the_weights", "value": loss().item(), "unit": "nats", "radius": None, **shared}]
    for r in radii:
        length = r * norm if relative else r
        value = highest_rise(parameters, loss, length, steps)
        rows.append({"metric": "epsilon_sharpness", "value": value, "unit": "1", "radius": r, **shared})
    return rows


def highest_rise(parameters: list[torch.nn.Parameter], loss: Callable[[], Tensor], radius: float, steps: int) -> float:
    """Return max (L(theta + v) - L(theta)) / (1 + L(theta)) over the iterates v; the parameters are put back.

    Args:
        parameters: theta.
        loss: returns the loss at the parameters as they are, 0-dim.
        radius: of the ball.
        steps: ascent steps; ``steps`` + 1 forward and ``steps`` backward passes.
    """
    origin = [p.detach().clone() for p in parameters]
    moves = [torch.zeros_like(p) for p in parameters]
    start = highest = 0.0
    for step in range(steps + 1):
        value = loss()
        if step == 0:
            start = highest = value.item()
        highest = max(highest, value.item())
        if step == steps:
            break
        pieces = torch.autograd.grad(value, parameters, allow_unused=True)
        gradients = [torch.zeros_like(p) if g is None else g for g, p in zip(pieces, parameters, strict=True)]
        with torch.no_grad():
            length = _norm(gradients)
            for move, gradient in zip(moves, gradients, strict=True):
                move.add_(gradient, alpha=_STRIDE * radius / steps / max(length, 1e-30))
            shrink = min(1.0, radius / max(_norm(moves), 1e-30))
            for p, begin, move in zip(parameters, origin, moves, strict=True):
                p.copy_(begin + move.mul_(shrink))
    with torch.no_grad():
        for p, begin in zip(parameters, origin, strict=True):
            p.copy_(begin)
    return (highest - start) / (1 + start)


def _norm(tensors: list[Tensor]) -> float:
    return torch.cat([t.reshape(-1) for t in tensors]).norm().item()
