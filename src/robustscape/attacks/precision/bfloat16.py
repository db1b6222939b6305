"""A model in bfloat16, for attacks that need no exact answer: fewer passes over memory, and a cheap first layer."""

from __future__ import annotations

import copy
import math
import operator
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.autograd.function import once_differentiable

from robustscape.attacks.precision import relu as _relu
from robustscape.attacks.precision.nearby import Nearby
from robustscape.models import fold_batchnorm

#: Channels that oneDNN computes at a time, and so the least that a convolution costs.
LANES = 16

#: The largest |beta / gamma| of a normalisation that is absorbed. It is what activations are shifted by, in their standard
#: deviations, and bfloat16 has 8 bits for them: up to here logits and gradients err as they did (within a tenth).
LARGEST_SHIFT = 4.0


class Bfloat16(nn.Module):
    """``model`` in bfloat16, but for its first and last layer, where rounding does most harm.

    It halves the time of a convolution, and errs in the third digit of a logit.

    Args:
        model: logits (B, C) from inputs (B, ...), frozen.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.net = copy.deepcopy(model) if model.training else quick_relu(absorb_batchnorm(fold_batchnorm(model)))
        layers = [name for name, module in self.net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        for name in layers[1:-1]:
            self.net.get_submodule(name).to(torch.bfloat16)  # once, not in every pass
        for name in {*layers[:1], *layers[-1:]}:
            self.net.set_submodule(name, _Fp32(self.net.get_submodule(name)))
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
            logits: Tensor = self.net(x)
        return logits.to(x.dtype)

    def nearby(self) -> Nearby:
        """See ``_nearby``."""
        traced = self.net if isinstance(self.net, fx.GraphModule) and not self.training else None
        return Nearby(self, traced, torch.bfloat16)


class _Fp32(nn.Module):
    """A layer that autocast leaves alone; what it hands on is bfloat16 again if it is not the last."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            if x.device.type == "cpu" and isinstance(self.layer, nn.Conv2d) and _block(self.layer) > 1:
                rounded: Tensor = _OfFewChannels.apply(x.float(), self.layer)
                return rounded
            result: Tensor = self.layer(x.float())
        return result.to(torch.bfloat16) if isinstance(self.layer, nn.Conv2d) else result


# -- batch normalisation behind a sum ----------------------------------------------------------------------------------


def absorb_batchnorm(model: nn.Module) -> nn.Module:
    """A copy of ``model`` whose pre-activation batch normalisations are absorbed by the convolutions around them.

    Where only ReLU and then only convolutions follow, relu(a z + b) = a relu(z + b / a) for a > 0, and a goes into their
    weights. The shift b / a goes into the bias of a convolution that z is, or is a sum of; what else reads z are sums,
    which lose it again by the bias of the convolution that they add to z. So normalising costs a pass nothing, and
    rounds nothing. Where it does not fit, the normalisation stays.

    Args:
        model: frozen and in eval mode, as ``fold_batchnorm`` returns it; one that was not traced is copied as it is.
    """
    net = copy.deepcopy(model)
    if not isinstance(net, fx.GraphModule):
        return net
    convolutions = _convolutions(net)
    for node in list(net.graph.nodes):
        norm = net.get_submodule(node.target) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d) or (affine := _slope_and_shift(norm)) is None:
            continue
        if (around := _around(net, node, convolutions)) is None or around[0].out_channels != norm.num_features:
            continue
        slope, shift = affine
        source, opposite, readers = around
        _add_bias(source, shift)
        for convolution in opposite:
            _add_bias(convolution, -shift)
        for convolution in readers:
            weight = convolution.weight * slope.view(1, -1, 1, 1)
            convolution.weight = nn.Parameter(weight, requires_grad=False)
        for relu in list(node.users):
            with net.graph.inserting_before(relu):  # it may have been in place, which z would not survive
                relu.replace_all_uses_with(net.graph.call_function(F.relu, (node.all_input_nodes[0],)))
            net.graph.erase_node(relu)
        net.graph.erase_node(node)
    net.delete_all_unused_submodules()
    net.recompile()
    return net


def _convolutions(net: fx.GraphModule) -> dict[fx.Node, nn.Conv2d]:
    """The convolutions whose parameters nothing else reads."""
    reads = Counter(n.target.rpartition(".")[0] if n.op == "get_attr" else n.target for n in net.graph.nodes)
    called = {node: net.get_submodule(node.target) for node in net.graph.nodes if node.op == "call_module"}
    return {
        node: module
        for node, module in called.items()
        if type(module) is nn.Conv2d and module.groups == 1 and reads[node.target] == 1
    }


def _slope_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor] | None:
    """a and b / a of a normalisation a z + b, each (C,); None where a is not positive, or the shift is large."""
    if norm.running_mean is None or norm.running_var is None or norm.weight is None:
        return None
    if not ((norm.weight > 0) & (norm.bias.abs() <= LARGEST_SHIFT * norm.weight)).all():
        return None
    deviation = (norm.running_var + norm.eps).sqrt()
    return norm.weight / deviation, norm.bias / norm.weight * deviation - norm.running_mean


def _around(
    net: fx.GraphModule, node: fx.Node, convolutions: dict[fx.Node, nn.Conv2d]
) -> tuple[nn.Conv2d, list[nn.Conv2d], list[nn.Conv2d]] | None:
    """The convolutions that can absorb a normalisation of z: z's own, those added to it, those that read the result.

    None where one of its readers, or of z's, is none that could make up for it.
    """
    z, relus = node.all_input_nodes[0], list(node.users)
    sums, readers = [user for user in z.users if user is not node], [user for relu in relus for user in relu.users]
    source = convolutions.get(z) or _addend(z, convolutions)
    opposite = [other for total in sums if (other := _addend(total, convolutions, beside=z))]
    reading = [convolutions[reader] for reader in readers if reader in convolutions]
    fits = all(_is_relu(net, relu) for relu in relus) and len(opposite) == len(sums) and len(reading) == len(readers)
    return (source, opposite, reading) if fits and source else None


def _addend(total: fx.Node, convolutions: dict[fx.Node, nn.Conv2d], beside: fx.Node | None = None) -> nn.Conv2d | None:
    """A convolution that ``total`` adds to ``beside``, or to anything, and nothing else reads; None: there is none."""
    if total.target not in (operator.add, torch.add) or len(total.all_input_nodes) != 2 or total.kwargs:
        return None
    addends = [node for node in total.all_input_nodes if node is not beside and len(node.users) == 1]
    return next((convolutions[node] for node in addends if node in convolutions), None)


def _is_relu(net: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(net.get_submodule(str(node.target)), nn.ReLU)
    return node.target in (F.relu, torch.relu)


def _add_bias(convolution: nn.Conv2d, extra: Tensor) -> None:
    """Add ``extra`` (C,) to what a convolution returns."""
    bias = extra if convolution.bias is None else convolution.bias + extra
    convolution.bias = nn.Parameter(bias, requires_grad=False)


def quick_relu(model: nn.Module) -> nn.Module:
    """``model``, if it was traced with all its ReLUs by ``_relu``; changed in place."""
    if isinstance(model, fx.GraphModule):
        for node in list(model.graph.nodes):
            if _is_relu(model, node):
                with model.graph.inserting_before(node):
                    node.replace_all_uses_with(model.graph.call_function(_relu.relu, (node.all_input_nodes[0],)))
                model.graph.erase_node(node)
        model.delete_all_unused_submodules()
        model.recompile()
    return model


# -- the first layer's input gradient ----------------------------------------------------------------------------------


class _OfFewChannels(torch.autograd.Function):
    """A convolution in fp32 and rounded, with a quick input gradient. Its parameters get none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.Conv2d) -> Tensor:
        ctx.layer, ctx.size = layer, x.shape[-2:]
        ctx.save_for_backward(layer.weight)
        result: Tensor = layer(x).to(torch.bfloat16)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (weight,), layer = ctx.saved_tensors, ctx.layer
        geometry = zip(layer.stride, layer.padding, layer.dilation, strict=True)
        result = input_gradient(gradient, weight.to(gradient.dtype), ctx.size, tuple(geometry), _block(layer))
        return result.to(torch.float32, memory_format=torch.contiguous_format), None


def _block(layer: nn.Conv2d) -> int:
    """The side of blocks of pixels for ``input_gradient``; below 2: it does not apply, or does not pay."""
    if layer.groups > 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return 0
    if any(parameter.requires_grad for parameter in layer.parameters()):
        return 0
    stride = math.lcm(*layer.stride)
    return math.isqrt(LANES // layer.in_channels) // stride * stride


def input_gradient(
    gradient: Tensor, weight: Tensor, size: Sequence[int], geometry: Sequence[tuple[int, int, int]], side: int
) -> Tensor:
    """The gradient (B, C, H, W) with respect to the input of a convolution, for small C.

    It is itself a convolution, to C channels, and costs as much as one to ``LANES``. So what it gives for a block of
    pixels become channels: those of a convolution with a larger kernel, which goes from block to block.

    Args:
        gradient: with respect to the output (B, O, h, w).
        weight: of the convolution (O, C, kh, kw).
        size: (H, W).
        geometry: stride, padding and dilation of the rows, and of the columns.
        side: of a block, a multiple of the strides.
    """
    axes = zip(size, gradient.shape[-2:], weight.shape[-2:], geometry, strict=True)
    (rows, above, below), (columns, left, right) = (
        _axis(pixels, outputs, kernel, *steps, side) for pixels, outputs, kernel, steps in axes
    )
    taps = F.pad(weight, (0, 1, 0, 1))[:, :, rows[:, None, :, None], columns[:, None]]  # (O, C, side, side, e, f)
    blocks = taps.permute(1, 2, 3, 0, 4, 5).flatten(0, 2)
    padding = (above, left)
    if padding != (below, right) or min(padding) < 0:
        gradient, padding = F.pad(gradient, (left, right, above, below)), (0, 0)
    strides = [side // stride for stride, _, _ in geometry]
    return F.pixel_shuffle(F.conv2d(gradient, blocks, None, strides, padding), side)[..., : size[0], : size[1]]


@cache
def _axis(
    pixels: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int, side: int
) -> tuple[Tensor, int, int]:
    """How blocks of ``side`` pixels are computed from outputs, along one axis.

    Pixel v of block u went into output u side / stride + e by the tap a with stride e + dilation a = v + padding.

    Returns:
        a of v and e, int64 (side, E), ``kernel`` where there is none; outputs needed before the first, and after the last.
    """
    first, last = -((dilation * (kernel - 1) - padding) // stride), (side - 1 + padding) // stride
    reached = torch.arange(side)[:, None] + padding - stride * torch.arange(first, last + 1)  # dilation a
    tap = reached.div(dilation, rounding_mode="floor")
    exists = (reached % dilation == 0) & (tap >= 0) & (tap < kernel)
    needed = (math.ceil(pixels / side) - 1) * side // stride + last + 1
    return tap.where(exists, torch.tensor(kernel)), -first, needed - outputs
