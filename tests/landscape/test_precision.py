"""Landscapes are measured in fp32, whatever precision the caller has set for his own computations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustscape import catalog, devices
from robustscape.landscape import hessian, mean_loss, surface
from robustscape.landscape.directions import flatten, parameters_of


class Watching(nn.Module):
    """A net that notes whether fp32 is exact and autocast off where it is called, and where its gradient arrives."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 3)
        self.inexact: list[str] = []

    def look(self, where: str) -> None:
        if devices.reduced_precision() or torch.is_autocast_enabled("cpu"):
            self.inexact.append(where)

    def forward(self, x: Tensor) -> Tensor:
        self.look("forward")
        z: Tensor = self.layer(x)
        if z.requires_grad:
            z.register_hook(lambda _: self.look("backward"))
        return z


@pytest.fixture
def reduced() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


CALLS: dict[str, Callable[[nn.Module, Tensor, Tensor], object]] = {
    "mean_loss": lambda net, x, y: mean_loss.mean_loss(net, x, y, batch_size=4),
    "mean_loss_gradient": lambda net, x, y: mean_loss.mean_loss_gradient(net, x, y, batch_size=4),
    "fixed Hessian": lambda net, x, y: hessian.fixed_operator(net, x, y)(flatten(parameters_of(net))[None]),
    "fixed Hessian, graphs not kept": lambda net, x, y: hessian.fixed_operator(net, x, y, kept_bytes=0)(
        flatten(parameters_of(net))[None]
    ),
    "total Hessian": lambda net, x, y: hessian.difference_operator(net, lambda: x, y, 1e-2)(
        flatten(parameters_of(net))[None]
    ),
    "losses": surface.losses_and_correctness,
}


@pytest.mark.usefixtures("reduced")
@pytest.mark.parametrize("name", CALLS)
def test_products_and_losses_are_exact(name: str) -> None:
    net, x = Watching().eval(), torch.rand(8, 6)
    net(x)
    assert net.inexact == ["forward"]  # the fixture has its effect
    net.inexact.clear()
    CALLS[name](net, x, torch.arange(8) % 3)
    assert not net.inexact


@pytest.mark.parametrize("kind", ["measurement", "comparison"])
def test_every_measurement_of_a_landscape_is_in_exact_fp32(kind: str) -> None:
    """By a decorator: a new file without it fails here."""
    folder = Path(hessian.__file__).parent
    names = [name for name in catalog.catalog_entries(kind) if catalog.find_entry(kind, name).path.parent == folder]
    assert names
    exact = devices.exact_fp32()(len).__code__  # of the wrapper that the decorator makes
    for name in names:
        function = catalog.load_function(kind, name)
        assert function.__code__ is exact, f"decorate '{name}' with @devices.exact_fp32()"
