"""An upper bound on the Lipschitz constant of a net in L2, layer by layer: ma2025 equation 4.20 and table 4.1.

L(f) <= product of L(phi_i), with each layer in isolation (Gouk et al. 2021). The net is traced, and a bound is carried along
its graph: it is multiplied at a layer and added where two branches meet, so that a residual block has
L(shortcut) + L(branch). Which norm the work used, and how its nets' skips entered, it does not say; its numbers for
PreActResNet18 (18 to 46) are too small for a product over 18 layers. So there are three numbers, see ``lipschitz_bound``.

Constants of the layers: linear layers, convolutions at the size of their real input, with stride and padding, and average
pooling are linear maps, whose largest singular value is found in double precision, that of a matrix by its SVD, that of the
others by power iteration on the map and its transpose; batch normalisation in eval mode max |gamma| / sqrt(var + eps); ReLU
1; max-pooling sqrt(most windows that share a value), which is 1 where they do not overlap. Biases and the softmax do not enter.

Cost: at most ``MOST_STEPS`` forward and backward passes of one input through each convolution.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast

import torch
from pydantic import Field
from torch import Tensor, fx, nn

from robustscape import devices
from robustscape.attacks.base.gradients import predict
from robustscape.errors import ConfigError
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.models import Normalize, copy_model

LinearMap = Callable[[Tensor], Tensor]

#: Steps of power iteration: at least, at most, and the relative change of the singular value at which it ends.
LEAST_STEPS, MOST_STEPS, CHANGE = 100, 1000, 1e-6

#: Distance of the second kind of pair from an input, as a share of the input's norm.
NEARBY = 1e-3


@dataclass(frozen=True)
class Bound:
    """What is known of a node of the graph as a function of the input."""

    constant: float
    """Bound on its Lipschitz constant."""
    path: float
    """The product along the path with the most layers that reaches it, skips ignored."""
    layers: int
    """Linear layers on that path."""

    def times(self, constant: float, layers: int = 0) -> Bound:
        """The bound behind a layer of this constant."""
        return Bound(self.constant * constant, self.path * constant, self.layers + layers)


@devices.exact_fp32()
def lipschitz_bound(
    run: TrainedRun,
    *,
    pairs: Annotated[int, Field(ge=2)] = 1000,
    samples: Annotated[int, Field(ge=2)] | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return rows lipschitz_upper_bound, lipschitz_ignoring_skips, log10_lipschitz_upper_bound and largest_slope.

    The second is the product along the longest path, which bounds nothing where the net has skips. largest_slope is the largest
    ||f(a) - f(b)|| / ||a - b|| of ``pairs`` pairs of test inputs and as many of an input and a point near it.

    Args:
        run: the trained model and its data.
        pairs: number of pairs of each kind.
        samples: first test samples that pairs are drawn from; None for all.
        seed: of the pairs.

    Raises:
        ConfigError: the net has a layer whose constant is not known, or cannot be traced.
    """
    x, _ = run.subset("test", samples)
    bound = network_bound(run.model, x[:1])
    values = {
        "lipschitz_upper_bound": bound.constant,
        "lipschitz_ignoring_skips": bound.path,
        "log10_lipschitz_upper_bound": math.log10(bound.constant) if bound.constant > 0 else -math.inf,
        "largest_slope": largest_slope(run.model, x, pairs, seed),
    }
    shared = {"norm": "L2", "layers": bound.layers, "pairs": pairs, "model_mode": "eval", "unit": "1"}
    return [{**shared, "metric": metric, "value": value} for metric, value in values.items()]


@devices.exact_fp32()
def network_bound(model: nn.Module, x: Tensor) -> Bound:
    """Return the bound of a net in eval mode, from one input (1, ...) that has the real size.

    Raises:
        ConfigError: see ``lipschitz_bound``.
    """
    net = copy_model(model).eval().double()
    try:
        traced = fx.GraphModule(net, _Tracer().trace(net))
    except Exception as error:  # tracing runs the model's code on symbols, which may fail in any way
        raise ConfigError(f"lipschitz_bound: the net cannot be traced: {' '.join(str(error).split())}.") from error
    walker = _Walker(traced)
    with torch.no_grad():
        walker.run(x.double())
    return walker.bounds[walker.last]


class _Tracer(fx.Tracer):
    """Traces a net down to the layers whose constants are known."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Normalize) or super().is_leaf_module(m, module_qualified_name)


class _Walker(fx.Interpreter):
    """Runs a traced net on an input and notes the bound of every node."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.extra_traceback = False  # an error of ours is a sentence
        self.bounds: dict[fx.Node, Bound] = {}
        self.values: dict[fx.Node, Any] = {}
        self.last = next(node for node in reversed(traced.graph.nodes) if node.op == "output")

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.values[n] = value
        known = [self.bounds[node] for node in n.all_input_nodes if node in self.bounds]
        if n.op == "placeholder":
            self.bounds[n] = Bound(1.0, 1.0, 0)
        elif known and n.op == "output":
            self.bounds[n] = known[0]
        elif known and isinstance(value, Tensor):
            self.bounds[n] = self._bound_of(n, known)
        return value

    def _bound_of(self, node: fx.Node, known: list[Bound]) -> Bound:
        """The bound of a node of the inputs whose bounds are ``known``; other inputs are constants."""
        moving = [argument for argument in node.args if argument in self.bounds]
        if node.target in _SUMS and len(moving) == len(known) == 2:
            longer = max(known, key=lambda bound: bound.layers)
            return Bound(known[0].constant + known[1].constant, longer.path, longer.layers)
        if len(moving) != 1 or len(known) != 1 or node.args[0] not in self.bounds:
            raise _unknown(node)
        given = self.values[cast(fx.Node, node.args[0])]
        if node.op == "call_module":
            layer = self.fetch_attr(str(node.target))
            return known[0].times(layer_constant(layer, given), int(isinstance(layer, _WEIGHTED)))
        name = str(node.target) if node.op == "call_method" else cast(Any, node.target).__name__
        if name in _SHORT_FORMS or node.target in _SUMS:
            return known[0]
        if name in _MEANS:
            return known[0].times(operator_norm(lambda v: self._call(node, v), given))
        raise _unknown(node)

    def _call(self, node: fx.Node, value: Tensor) -> Tensor:
        """The node's function of another value of its first argument."""
        arguments, keywords = self.fetch_args_kwargs_from_env(node)
        if node.op == "call_method":
            return cast(Tensor, getattr(value, str(node.target))(*arguments[1:], **keywords))
        return cast(Tensor, cast(Any, node.target)(value, *arguments[1:], **keywords))


#: Functions that add two branches.
_SUMS = (operator.add, operator.iadd, torch.add)

#: Functions and methods of constant 1.
_SHORT_FORMS = ("relu", "relu_", "flatten", "reshape", "view", "squeeze", "unsqueeze", "contiguous", "log_softmax")

#: Functions and methods that average: linear maps.
_MEANS = ("mean", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d")

#: Layers that count as steps of a path.
_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)

#: Modules of constant 1.
_CONTRACTIONS = (nn.Identity, nn.ReLU, nn.Flatten, nn.Dropout)


def layer_constant(layer: nn.Module, given: Tensor) -> float:
    """Return the Lipschitz constant in L2 of a layer in eval mode, from the input (1, ...) that it gets.

    Raises:
        ConfigError: it is not known.
    """
    if isinstance(layer, _CONTRACTIONS):
        return 1.0
    if isinstance(layer, nn.Linear):
        return float(torch.linalg.matrix_norm(layer.weight.detach().double(), 2))
    if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
        offset = layer(torch.zeros_like(given))
        return operator_norm(lambda v: layer(v) - offset, given)
    if isinstance(layer, (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)):
        return operator_norm(layer, given)
    if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) and layer.running_var is not None:
        scale = 1.0 if layer.weight is None else layer.weight
        return float((scale / (layer.running_var + layer.eps).sqrt()).detach().abs().max())
    if isinstance(layer, Normalize):
        return float((1 / layer.std).max())
    if isinstance(layer, (nn.MaxPool1d, nn.MaxPool2d)):
        return math.sqrt(_most_windows(layer, given.dim() - 2))
    raise ConfigError(f"lipschitz_bound: the constant of a layer {type(layer).__name__} is not known.")


def _most_windows(pool: nn.MaxPool1d | nn.MaxPool2d, axes: int) -> int:
    """Return the number of windows of max-pooling that share a value, at most."""

    def each(value: Any) -> list[int]:
        return list(value) if isinstance(value, tuple) else [value] * axes

    sides, strides = each(pool.kernel_size), each(pool.stride)
    return math.prod(math.ceil(side / stride) for side, stride in zip(sides, strides, strict=True))


def operator_norm(linear: LinearMap, given: Tensor) -> float:
    """Return the largest singular value of a linear map of tensors of the shape and type of ``given``, by power iteration.

    It is approached from below: at the end a step changes it by less than ``CHANGE`` of itself. 0 for a map that is 0.
    """
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(given.shape, generator=generator, dtype=given.dtype).to(given.device)
    v = v / v.norm()
    before = 0.0
    for step in range(MOST_STEPS):
        with torch.enable_grad():
            leaf = v.detach().requires_grad_(True)
            image = linear(leaf)
            found = float(image.detach().norm())
            (back,) = torch.autograd.grad(image, leaf, image.detach())  # the transpose of the map
        length = float(back.norm())
        if length == 0.0:
            return 0.0
        if step >= LEAST_STEPS and found - before <= CHANGE * found:
            return found
        before, v = found, back / length
    return found


@devices.exact_fp32()
def largest_slope(model: nn.Module, x: Tensor, pairs: int, seed: int) -> float:
    """Return the largest ||f(a) - f(b)|| / ||a - b|| of random pairs of inputs, and of inputs and points near them.

    Args:
        model: logits (B, C) from inputs (B, ...); in eval mode.
        x: inputs (N, ...), at least two.
        pairs: of each kind.
        seed: of the pairs.
    """
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(len(x), (pairs,), generator=generator)
    other = (first + torch.randint(1, len(x), (pairs,), generator=generator)) % len(x)
    noise = torch.randn((pairs, *x.shape[1:]), generator=generator).to(x)
    a = x[first.to(x.device)]
    shape = (-1, *[1] * (x.dim() - 1))
    lengths = a.flatten(1).norm(dim=1).view(shape) / noise.flatten(1).norm(dim=1).view(shape)
    return max(_slopes(model, a, x[other.to(x.device)]), _slopes(model, a, a + NEARBY * lengths * noise))


def _slopes(model: nn.Module, a: Tensor, b: Tensor) -> float:
    """Return the largest slope between the rows of two batches; rows that are equal have none."""
    net = copy_model(model).eval().double()
    apart = (a.double() - b.double()).flatten(1).norm(dim=1)
    with torch.no_grad():
        logits = [torch.cat([predict(net, piece) for piece in points.double().split(128)]) for points in (a, b)]
    far = apart > 0
    slopes = (logits[0] - logits[1]).norm(dim=1)[far] / apart[far]
    return float(slopes.max()) if len(slopes) else 0.0


def _unknown(node: fx.Node) -> ConfigError:
    return ConfigError(f"lipschitz_bound: the constant of '{node.target}' in the net's code is not known.")
