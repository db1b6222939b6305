"""ma2025 table 3.5: forward and backward passes of an update, counted while the methods run on a small net.

A forward pass is a call of the model with the batch, a backward pass a run of autograd that reaches its outputs: the run that
gives the weights their gradients counts once, however many graphs it goes through, as the work counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.kl_pgd import kl_pgd
from robustscape.attacks.pgd import pgd
from robustscape.training.attack import TrainingAttack
from robustscape.training.methods.adversarial import adversarial
from robustscape.training.methods.foar import foar
from robustscape.training.methods.mart import mart
from robustscape.training.methods.soar import soar
from robustscape.training.methods.standard import standard
from robustscape.training.methods.trades import trades

#: What the work calls a method -> the method, with its parameters, and its attack, None if it calls none.
METHODS: dict[str, tuple[Callable[..., Any], Callable[..., Tensor] | None]] = {
    "standard": (standard, None),
    "pgd_at": (adversarial, pgd),
    "foar": (partial(foar, init="zero"), None),
    "soar": (partial(soar, init="pgd1"), None),
    # Not in the work's table.
    "foar_pgd1": (partial(foar, init="pgd1"), None),
    "trades": (trades, kl_pgd),
    "mart": (mart, pgd),
}


def passes(
    *,
    steps: list[Annotated[int, Field(ge=1)]] = [10, 3],  # noqa: B006  (read from the syntax tree as a schema)
    samples: Annotated[int, Field(ge=2)] = 6,
) -> list[dict[str, Any]]:
    """Return rows forward_passes and backward_passes of an update, with the columns method and attack_steps.

    Args:
        steps: numbers of steps of the methods that attack.
        samples: of the batch.
    """
    rows = []
    for name, (method, attack) in METHODS.items():
        for count in steps if attack else [None]:
            forward, backward = count_passes(method, attack, count, samples)
            shared = {"method": name, "attack_steps": count, "unit": "count"}
            rows.append({**shared, "metric": "forward_passes", "value": float(forward)})
            rows.append({**shared, "metric": "backward_passes", "value": float(backward)})
    return rows


@dataclass
class PassCounter:
    """Counts the passes of a model while its hook is registered."""

    forwards: int = 0
    runs: set[int] = field(default_factory=set)
    """Runs of autograd that reached an output."""

    def hook(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        """Count a forward pass, and the runs of autograd that will reach its output."""
        self.forwards += 1
        if output.requires_grad:
            output.register_hook(self._reached)

    def _reached(self, gradient: Tensor) -> None:
        self.runs.add(torch._C._current_graph_task_id())  # every run has a number of its own


def count_passes(
    method: Callable[..., Any], attack: Callable[..., Tensor] | None, steps: int | None, samples: int
) -> tuple[int, int]:
    """Return the forward and backward passes of one update of a method, attack included, on a net of two layers."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Softplus(), nn.Linear(8, 3))
        x, y = torch.rand(samples, 1, 4, 4), torch.arange(samples) % 3
    streams = SampleGenerator.seeded(0, samples)
    bound = TrainingAttack(attack, {"steps": steps} if attack else {}, ThreatModel("Linf", 0.1), streams)
    counter = PassCounter()
    handle = model.register_forward_hook(counter.hook)
    method(model, x, y, bound)().backward()
    handle.remove()
    return counter.forwards, len(counter.runs)
