"""The pretended GPU refuses and counts what it should: otherwise the tests that use it could not fall."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from gpu.pretended import CUDA, MixedDevicesError, pretended_gpu
from torch import Tensor

#: What makes the CPU wait, on a tensor of the device.
WAITING: dict[str, Callable[[Tensor], object]] = {
    "a number that is read": lambda x: x.sum().item(),
    "a truth value": lambda x: bool((x > 0).any()),
    "a list": lambda x: x.tolist(),
    "nonzero": lambda x: x.nonzero(),
    "an index that is a mask": lambda x: x[x > 0],
    "an index on the CPU": lambda x: x[torch.tensor([0])],
    "a copy to the CPU": lambda x: x.cpu(),
    "a copy to the GPU": lambda x: torch.zeros(3).to(x),
    "numbers copied to the GPU": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "equality": lambda x: torch.equal(x, x),
}

#: What does not, and the kernels it starts.
QUIET: dict[str, tuple[Callable[[Tensor], object], int]] = {
    "arithmetic": (lambda x: (x + 1.0) * x, 2),
    "a number in a CPU tensor": (lambda x: x * torch.tensor(2.0), 1),
    "views": (lambda x: x.view(2, 2).t()[0].unsqueeze(0), 0),
    "a factory": (lambda x: torch.zeros(3, device=x.device), 1),
    "an index on the GPU": (lambda x: x[torch.arange(2, device=x.device)], 2),
    "a product and its gradient": (lambda x: (x @ x).backward(), 5),
}


@pytest.mark.parametrize("name", WAITING)
def test_a_wait_is_counted(name: str) -> None:
    with pretended_gpu() as counts:
        x = torch.rand(4).to(CUDA)
        counts.clear()
        WAITING[name](x)
    assert counts.waits


@pytest.mark.parametrize("name", QUIET)
def test_what_waits_for_nothing_counts_its_kernels(name: str) -> None:
    operation, kernels = QUIET[name]
    with pretended_gpu() as counts:
        x = torch.rand(4).to(CUDA).requires_grad_()
        counts.clear()
        operation(x)
    assert not counts.waits
    assert counts.kernels.total() == kernels, counts.kernels


def test_tensors_of_both_devices_are_refused() -> None:
    with pretended_gpu():
        x = torch.rand(4).to(CUDA)
        for mixed in (lambda: x + torch.rand(4), lambda: torch.cat([x, torch.rand(4)]), lambda: torch.rand(4)[x > 0]):
            with pytest.raises((MixedDevicesError, IndexError)):
                mixed()
        with pytest.raises(TypeError, match="numpy"):
            x.numpy()


def test_an_operation_that_is_not_deterministic_on_cuda_is_refused() -> None:
    with pretended_gpu():
        x = torch.rand(1, 1, 4, 4).to(CUDA).requires_grad_()
        with pytest.raises(RuntimeError, match="deterministic"):
            F.adaptive_avg_pool2d(x, 3).sum().backward()


def test_casts_are_counted_and_weights_are_kept_by_autocast() -> None:
    with pretended_gpu() as counts:
        linear = torch.nn.Linear(4, 3).to(CUDA)
        x = torch.rand(2, 4).to(CUDA)
        with torch.autocast("cuda", torch.bfloat16):
            linear(x)
            linear(x)
    assert counts.casts[3, 4] == 1 and counts.casts[2, 4] == 2
