"""Other backward passes for ReLU and max-pooling, with the forward pass unchanged.

``with_backward_rule(model, ...)`` is a classifier with the logits of ``model``, bit for bit, and other input gradients.
It intercepts the ReLU and max-pool *calls* of a forward pass (modules and functions alike), so it needs no layer names.
The model's parameters and modules are not changed: the ``forward`` of residual units is replaced during a forward pass and
restored after it.

Which ReLUs change (as in the authors' code of LinBP and BPA):

- in a net with residual units (modules with a ``shortcut`` or ``downsample``): those on the units' branches. The ReLU
  at the end of a unit and those outside of units stay exact (in pre-activation nets, a projection that follows a unit's
  first ReLU counts as part of the branch);
- in any other net: all;
- of these, only those from the fraction ``start`` on: 0.5 leaves the first half of the units (or ReLUs) exact. For the
  16 units of ResNet-50, 0.5 means "from the second block of layer3", the authors' setting.

With ``rescale`` the gradient of a linear branch is scaled to the length of the exact one. For a unit z = s(x) + b(x) and
the gradient g at its output

    grad_x = J_s^T g + alpha * Jlin_b^T g,    alpha = ||J_b^T g||_2 / ||Jlin_b^T g||_2        for each sample,

(Guo et al. 2020, section 4.2). The three products come from one graph, run backward with the ReLUs exact, linear and
blocked: J_s^T g is the gradient that arrives when the branch passes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.base.scaling import l2_norm, magnitude
from robustscape.errors import AttackError

Rule = Literal["exact", "linear", "smooth", "blocked"]


def relu_slope(x: Tensor, rule: Rule) -> Tensor | float:
    """Return the factor of a ReLU's backward pass at the inputs ``x`` of the ReLU.

    ``exact``: 1[x > 0]; ``linear``: 1; ``smooth``: SiLU's derivative, s(x) (1 + x (1 - s(x))); ``blocked``: 0.
    """
    if rule == "exact":
        return (x > 0).to(x.dtype)
    if rule == "smooth":
        sigmoid = torch.sigmoid(x)
        return sigmoid * (1 + x * (1 - sigmoid))
    return 1.0 if rule == "linear" else 0.0


@dataclass
class Site:
    """One ReLU call of one forward pass. Its rule may be changed before each backward pass."""

    output: Tensor | None = None
    rule: Rule = "exact"


@dataclass
class Unit:
    """One call of a residual unit in a forward pass, with the ReLU calls on its branch."""

    sites: list[Site] = field(default_factory=list)
    linear: bool = False


class _ReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, site: Site, inplace: bool) -> Tensor:
        ctx.site = site
        ctx.save_for_backward(x.clone() if inplace else x)
        if inplace:
            ctx.mark_dirty(x)
            return torch.relu_(x)
        return torch.relu(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return grad * relu_slope(x, ctx.site.rule), None, None


class _SoftMaxPool(torch.autograd.Function):
    """Max-pooling whose backward pass spreads a gradient over its window by softmax(temperature * x) (Wang et al. 2023, eq 8)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, temperature: float, pool: Callable[..., Tensor], window: tuple[tuple[int, ...], ...]
    ) -> Tensor:
        out = pool(x)
        ctx.temperature, ctx.window, ctx.spatial = temperature, window, out.shape[-len(window[0]) :]
        ctx.save_for_backward(x)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        kernel, stride, padding, dilation = ctx.window
        spatial, dims = ctx.spatial, len(kernel)
        # F.unfold wants two spatial axes: a waveform gets a height of 1.
        if dims == 1:
            kernel, stride, padding, dilation = (1, *kernel), (1, *stride), (0, *padding), (1, *dilation)
            spatial = (1, *spatial)
        planes = x.reshape(-1, 1, *(x.shape[-2:] if dims == 2 else (1, x.shape[-1])))
        # Pad with -inf, which has no weight in a softmax; on the far side as much as the last window needs (ceil_mode).
        near, sizes = padding, planes.shape[-2:]
        reach = [(spatial[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
        far = [max(reach[i] - near[i] - sizes[i], 0) for i in (0, 1)]
        padded = F.pad(planes, (near[1], far[1], near[0], far[0]), value=-torch.inf)
        # Drop rows and columns that no window reaches, so that unfold has as many windows as the pooling.
        windows = F.unfold(padded[..., : reach[0], : reach[1]], kernel, dilation, 0, stride)
        share = torch.softmax(ctx.temperature * windows, dim=1) * grad.reshape(planes.shape[0], 1, -1)
        folded = F.fold(share, (reach[0], reach[1]), kernel, dilation, 0, stride)
        spread = F.pad(folded, (0, padded.shape[-1] - reach[1], 0, padded.shape[-2] - reach[0]))
        inner = spread[..., near[0] : near[0] + sizes[0], near[1] : near[1] + sizes[1]]
        return inner.reshape(x.shape), None, None, None


class _Branch(torch.autograd.Function):
    """A residual unit whose backward pass is exact or, with ``Unit.linear``, linear on the branch and rescaled."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, run: Callable[[Tensor], Tensor], unit: Unit) -> Tensor:
        with torch.enable_grad():
            ctx.inner = x.detach().requires_grad_()
            ctx.out = run(ctx.inner)
        ctx.unit = unit
        # A copy, because a later layer may work in place on its input.
        return ctx.out.detach().clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        def arriving(rule: Rule) -> Tensor:
            for site in ctx.unit.sites:
                site.rule = rule
            (arrived,) = torch.autograd.grad(ctx.out, ctx.inner, grad, retain_graph=True)
            return arrived

        exact = arriving("exact")
        if not ctx.unit.linear:
            return exact, None, None
        shortcut = arriving("blocked")
        branch, linear = exact - shortcut, arriving("linear") - shortcut
        sizes = magnitude(branch), magnitude(linear)
        alpha = l2_norm(branch / sizes[0]) / l2_norm(linear / sizes[1]).clamp_min(1.0) * (sizes[0] / sizes[1])
        return shortcut + alpha * linear, None, None


_RELU = {F.relu, torch.relu, torch.Tensor.relu}
_RELU_INPLACE = {F.relu_, torch.relu_, torch.Tensor.relu_}
_POOLS = {F.max_pool1d: 1, F.max_pool2d: 2, torch.max_pool1d: 1, torch.max_pool2d: 2}


def _tuple(value: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    return (value,) * dims if isinstance(value, int) else tuple(value)


def is_residual_unit(module: nn.Module) -> bool:
    """Return whether a module is a residual unit: it has an attribute ``shortcut`` or ``downsample``, which may be None."""
    return any(hasattr(module, name) for name in ("shortcut", "downsample"))


class _Recorder(TorchFunctionMode):
    """Replaces ReLU and max-pool calls, and lists the calls of units and the ReLU calls outside of them."""

    def __init__(self, temperature: float | None) -> None:
        super().__init__()
        self.temperature = temperature
        self.outside: list[Site] = []
        self.units: list[Unit] = []
        self.current: Unit | None = None
        self.pools = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _RELU or func in _RELU_INPLACE:
            return self._relu(func in _RELU_INPLACE, *args, **kwargs)
        if func in _POOLS and self.temperature is not None:
            return self._pool(func, _POOLS[func], *args, **kwargs)
        return func(*args, **kwargs)

    def _relu(self, always_inplace: bool, input: Tensor, inplace: bool = False) -> Tensor:  # noqa: A002
        site = Site()
        (self.outside if self.current is None else self.current.sites).append(site)
        out: Tensor = _ReLU.apply(input, site, inplace or always_inplace)
        site.output = out
        return out

    def _pool(
        self,
        func: Callable[..., Tensor],
        dims: int,
        input: Tensor,  # noqa: A002
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Tensor:
        self.pools += 1
        window = tuple(_tuple(value, dims) for value in (kernel_size, stride or kernel_size, padding, dilation))
        out: Tensor = _SoftMaxPool.apply(
            input, self.temperature, lambda x: func(x, *window, ceil_mode=ceil_mode), window
        )
        return out


def _recording_forward(unit: nn.Module, recorder: _Recorder, rescale: bool) -> Callable[..., Any]:
    """Return the ``forward`` of a residual unit for one pass, which records its ReLU calls and, with ``rescale``, its graph."""
    original = unit.forward

    def recorded(record: Unit, *args: Any, **kwargs: Any) -> Any:
        recorder.current = record
        try:
            out = original(*args, **kwargs)
        finally:
            recorder.current = None
        # The ReLU after the addition is not on the branch.
        record.sites = [site for site in record.sites if site.output is not out]
        for site in record.sites:
            site.output = None
        return out

    def forward(*args: Any, **kwargs: Any) -> Any:
        if recorder.current is not None:  # a unit inside a unit is part of its branch
            return original(*args, **kwargs)
        record = Unit()
        recorder.units.append(record)
        if not rescale or kwargs or len(args) != 1 or not args[0].requires_grad:
            return recorded(record, *args, **kwargs)
        return _Branch.apply(args[0], lambda inner: recorded(record, inner), record)

    return forward


@contextmanager
def _units_recorded(model: Classifier, recorder: _Recorder, rescale: bool) -> Iterator[None]:
    """Within the block the residual units of ``model`` report to ``recorder``."""
    units = [module for module in model.modules() if is_residual_unit(module)] if isinstance(model, nn.Module) else []
    own = [unit.__dict__.get("forward") for unit in units]  # set by wrappers such as torch.compile
    for unit in units:
        unit.__dict__["forward"] = _recording_forward(unit, recorder, rescale)
    try:
        yield
    finally:
        for unit, before in zip(units, own, strict=True):
            del unit.__dict__["forward"]
            if before is not None:
                unit.__dict__["forward"] = before


def with_backward_rule(
    model: Classifier, rule: Rule, *, start: float = 0.0, rescale: bool = False, temperature: float | None = None
) -> Classifier:
    """Return a classifier with the logits of ``model`` and another backward pass.

    Args:
        model: logits (B, C) from inputs (B, ...).
        rule: backward rule of the ReLUs from ``start`` on.
        start: fraction of the units (or, in nets without units, of the ReLUs) that stay exact, from the input on.
        rescale: scale the gradients of linear branches to the length of the exact ones. Cost: two more backward passes
            through the units.
        temperature: of the softmax that spreads the gradients of all max-pools; None: max-pools stay exact.

    Raises:
        AttackError: the model was traced into a graph, which hides its units; or, when the classifier is called, it has
            no ReLU and no max-pool to change.
    """
    if isinstance(model, nn.Module) and any(isinstance(module, torch.fx.GraphModule) for module in model.modules()):
        raise AttackError("this attack needs the model's own modules, which a traced (or folded) model no longer has.")

    def classify(x: Tensor) -> Tensor:
        recorder = _Recorder(temperature)
        with _units_recorded(model, recorder, rescale), recorder:
            logits = model(x)
        if not (recorder.outside or recorder.pools or any(unit.sites for unit in recorder.units)):
            raise AttackError("this attack changes the backward pass of ReLUs, and the model has none.")
        for site in recorder.outside:
            site.output = None
        for unit in recorder.units[int(start * len(recorder.units)) :]:
            unit.linear = True
            for site in unit.sites:
                site.rule = rule
        if not recorder.units:
            for site in recorder.outside[int(start * len(recorder.outside)) :]:
                site.rule = rule
        return logits

    return classify
