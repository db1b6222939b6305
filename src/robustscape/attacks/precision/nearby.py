"""Passes over inputs that differ from remembered ones in one window.

A query of Square changes a few pixels. What the first layers of a convolutional network answer then differs from what
they answered before in the pixels' neighbourhood only, which grows by a pixel or so a layer: with kernel k, stride s,
padding p and dilation d a change of rows [l, h) becomes one of rows

    [ ceil((l + p - (k - 1) d) / s), floor((h - 1 + p) / s) + 1 )

So only that part is computed, from the remembered activations around it, until it is most of the image; the layers
behind compute as ever. The same products are summed as in a whole pass: results differ by float rounding at most.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from robustscape.attacks.base.gradients import Classifier
from robustscape.attacks.precision.relu import relu

Pair = tuple[int, int]

#: Where a change covers more than this share of a layer's output, all of it is computed: the copies would cost more.
WORTHWHILE = 0.75

_ELEMENTWISE_MODULES = (nn.Identity, nn.ReLU, nn.BatchNorm2d, nn.Dropout)
_IN_PLACE = (operator.iadd, operator.isub, operator.imul)
_ELEMENTWISE = (
    relu,
    F.relu,
    torch.relu,
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    torch.add,
    *_IN_PLACE,
)


class Window(NamedTuple):
    """Rows [top, bottom) and columns [left, right) of an image or of a layer's output."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def around(self, other: Window) -> Window:
        """The smallest window that holds both."""
        top, left = min(self.top, other.top), min(self.left, other.left)
        return Window(top, max(self.bottom, other.bottom), left, max(self.right, other.right))

    def overlap(self, other: Window) -> Window:
        """What both hold, perhaps nothing."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = min(self.bottom, other.bottom), min(self.right, other.right)
        return Window(top, max(top, bottom), left, max(left, right))

    def seen_from(self, origin: Window) -> Window:
        """The same in coordinates that begin where ``origin`` does."""
        return Window(
            self.top - origin.top, self.bottom - origin.top, self.left - origin.left, self.right - origin.left
        )


def nearby(model: Classifier) -> Nearby:
    """``model`` with a memory; see ``Nearby``. What wraps a model says itself how its answers come about."""
    make: Callable[[], Nearby] | None = getattr(model, "nearby", None)
    return Nearby(model) if make is None else make()


class Nearby:
    """A model that remembers what its first layers answered, as a backward pass would need it.

    One that was not traced, or is not on a CPU, forgets and makes whole passes.

    Args:
        model: logits (B, C) from inputs (B, ...), frozen and in eval mode.
        net: the model as torch.fx traced it, or None.
        dtype: what autocast computes in; None: no autocast.
    """

    def __init__(self, model: Classifier, net: fx.GraphModule | None = None, dtype: torch.dtype | None = None) -> None:
        self.model, self.dtype = model, dtype
        self.layers = None if net is None else _Layers(net)
        self.after: list[Callable[[Tensor, Tensor], Tensor]] = []

    def then(self, after: Callable[[Tensor, Tensor], Tensor]) -> Nearby:
        """This, with all its answers replaced by ``after(inputs, logits)``."""
        self.after.append(after)
        return self

    def remember(self, x: Tensor) -> Tensor:
        """Logits (B, C) of inputs (B, ...), which are remembered from now on instead of any others. 1 forward."""
        if x.dim() != 4 or x.device.type != "cpu":  # on a GPU a small kernel takes as long to start as a large one
            self.layers = None
        return self._answer(x, self.model if self.layers is None else self.layers.remember)

    def change(self, rows: Tensor, x: Tensor, window: Window | None) -> Tensor:
        """Logits (b, C) of inputs that differ from remembered ones. 1 forward, or the part of one that is needed.

        Args:
            rows: which of the remembered inputs, int64 (b,).
            x: the changed inputs (b, ...).
            window: outside of which they are the same; None: they may differ anywhere.
        """
        layers = self.layers
        return self._answer(x, self.model if layers is None else lambda images: layers.change(rows, images, window))

    def accept(self, which: Tensor) -> None:
        """Remember the inputs of the last change where the mask ``which`` (b,) is true, in place of the old ones."""
        if self.layers is not None:
            self.layers.accept(which.nonzero().squeeze(1))

    def replace(self, rows: Tensor, x: Tensor) -> None:
        """Remember inputs ``x`` (b, ...) in place of the remembered ``rows`` (b,). 1 forward, if anything is remembered."""
        if self.layers is not None and len(rows):
            self.change(rows, x, None)
            self.layers.accept(torch.arange(len(rows)))

    def keep(self, which: Tensor) -> None:
        """Forget the remembered inputs where the mask ``which`` (B,) is false."""
        if self.layers is not None:
            self.layers.keep(which.nonzero().squeeze(1))

    def _answer(self, x: Tensor, net: Classifier) -> Tensor:
        with torch.inference_mode():
            with torch.autocast(x.device.type, self.dtype, enabled=self.dtype is not None, cache_enabled=False):
                logits = net(x)
            logits = logits.to(x.dtype)
            for after in self.after:
                logits = after(x, logits)
        return logits.clone()  # an ordinary tensor: inference tensors cannot be changed later


@dataclass(frozen=True)
class _Sliding:
    """A convolution or pooling."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    unpadded: nn.Module
    """The same layer for inputs that already hold what it pads with."""

    def reach(self, window: Window, out: Pair) -> tuple[Window, Window]:
        """What a change of ``window`` changes in an output of size ``out``, and the input that is needed for it.

        Windows of one size change as much at a border as in the middle, so that few shapes occur: kernels are prepared
        for every shape. What is needed may lie outside of the image.
        """
        rows = self._along(0, window.top, window.bottom, out[0])
        columns = self._along(1, window.left, window.right, out[1])
        return Window(*rows[0], *columns[0]), Window(*rows[1], *columns[1])

    def _along(self, axis: int, low: int, high: int, size: int) -> tuple[Pair, Pair]:
        k, s, p, d = (pair[axis] for pair in (self.kernel, self.stride, self.padding, self.dilation))
        count = min((high - low + (k - 1) * d - 1) // s + 1, size)
        first = min(max(-((-low - p + (k - 1) * d) // s), 0), size - count)
        return (first, first + count), (first * s - p, (first + count - 1) * s - p + (k - 1) * d + 1)


class _Layers:
    """The layers of a traced network. Activations lie in memory as (B, H, W, C)."""

    def __init__(self, net: fx.GraphModule) -> None:
        self.net, self.nodes = net, list(net.graph.nodes)
        self.functions = {node: _function(net, node) for node in self.nodes}
        self.sliding = {node: found for node in self.nodes if (found := self._sliding(node)) is not None}
        self.elementwise = {node for node in self.nodes if self._elementwise(node)}
        self.in_place = {node for node in self.nodes if _in_place(node, self.functions[node])}
        last_user = {source: node for node in self.nodes for source in node.all_input_nodes}
        self.done_with = {node: [source for source, last in last_user.items() if last is node] for node in self.nodes}
        self.spread: dict[fx.Node, Window] = {}
        """Of the first layers, where a change of one pixel leaves most as it was: what it changes."""
        self.sizes: dict[fx.Node, Pair] = {}
        """Height and width of their answers."""
        self.known: dict[fx.Node, Tensor] = {}
        """Those answers, as far as more is asked for than has changed."""
        self.changed: dict[fx.Node, tuple[Window, Tensor]] = {}
        """The last change, layer by layer: where, and to what (b, C, h, w)."""
        self.rows = torch.empty(0, dtype=torch.int64)

    def remember(self, x: Tensor) -> Tensor:
        """See ``Nearby``."""
        self.spread, self.sizes, self.known, self.changed = {}, {}, {}, {}
        values: dict[fx.Node, Any] = {}
        for node in self.nodes:
            values[node] = self._call(node, x, values.__getitem__)
            self._note(node, values[node])
            self._forget(node, values)
        return self._logits(values)

    def change(self, rows: Tensor, x: Tensor, window: Window | None) -> Tensor:
        """See ``Nearby``."""
        self.changed, self.rows = {}, rows
        values: dict[fx.Node, Any] = {}
        for node in self.nodes:
            if node in self.spread:
                self.changed[node] = self._change(node, x, window, values)
            else:
                values[node] = self._call(node, x, functools.partial(self._value, node, values))
            self._forget(node, values)
        return self._logits(values)

    def accept(self, picked: Tensor) -> None:
        """See ``Nearby``; ``picked`` are positions among the rows of the last change."""
        if not len(picked):
            return
        rows = self.rows[picked]
        with torch.inference_mode():  # as all that is remembered
            for node, known in self.known.items():
                window, new = self.changed[node]
                _inside(known, window).index_copy_(0, rows, new.permute(0, 2, 3, 1).index_select(0, picked))

    def keep(self, rows: Tensor) -> None:
        """See ``Nearby``."""
        with torch.inference_mode():
            self.known = {node: _crop(known, rows, _whole(_size(known))) for node, known in self.known.items()}
        self.changed = {}

    # -- how a node is computed -----------------------------------------------------------------------------------------

    def _call(self, node: fx.Node, x: Tensor, value: Callable[[fx.Node], Any]) -> Any:
        """The answer of a node to the values of others."""
        if node.op == "placeholder":
            return x
        args = fx.node.map_arg(node.args, value)
        return self.functions[node](*args, **(fx.node.map_arg(node.kwargs, value) if node.kwargs else {}))

    def _forget(self, node: fx.Node, values: dict[fx.Node, Any]) -> None:
        """Free what no later node asks for: memory that is soon used again is in the cache."""
        for source in self.done_with[node]:
            values.pop(source, None)

    def _logits(self, values: dict[fx.Node, Any]) -> Tensor:
        logits: Tensor = values[self.nodes[-1]]
        return logits

    def _note(self, node: fx.Node, answer: Any) -> None:
        """Remember the answer of a whole pass, if it may be of use."""
        sources = _sources(node)
        if node.op == "placeholder":
            row, column = answer.shape[2] // 2, answer.shape[3] // 2
            window = Window(row, row + 1, column, column + 1)
        elif not all(source in self.spread for source in sources):
            return
        elif node in self.sliding:
            window, _ = self.sliding[node].reach(self.spread[sources[0]], _size(answer))
        elif node in self.elementwise:
            window = functools.reduce(Window.around, [self.spread[source] for source in sources])
        else:
            return
        if window.area > WORTHWHILE * _whole(_size(answer)).area:
            return
        self.spread[node], self.sizes[node] = window, _size(answer)
        if any(user not in self.elementwise or len(_sources(user)) > 1 for user in node.users):
            self.known[node] = answer.clone(memory_format=torch.channels_last)

    def _change(
        self, node: fx.Node, x: Tensor, window: Window | None, values: dict[fx.Node, Any]
    ) -> tuple[Window, Tensor]:
        """Where a node's answer changes, and to what."""
        whole = _whole(self.sizes[node])
        if node.op == "placeholder":
            where = window or whole
            return where, _inside(x, where).permute(0, 3, 1, 2)
        sources = _sources(node)
        if node in self.sliding:
            where, needed = self.sliding[node].reach(self.changed[sources[0]][0], self.sizes[node])
            if where.area <= WORTHWHILE * whole.area:
                return where, self.sliding[node].unpadded(self._part(sources[0], needed))
            return whole, self._call(node, x, functools.partial(self._value, node, values))
        where = functools.reduce(Window.around, [self.changed[source][0] for source in sources])
        return where, self._call(node, x, functools.partial(self._value, node, values, window=where))

    def _value(self, user: fx.Node, values: dict[fx.Node, Any], source: fx.Node, window: Window | None = None) -> Any:
        """What the node ``user`` is given as the answer of ``source``: that, or a window of it."""
        if source not in self.changed:
            return values[source]
        part = self._part(source, window or _whole(self.sizes[source]))
        return part.clone() if user in self.in_place else part

    def _part(self, node: fx.Node, window: Window) -> Tensor:
        """A window of the changed answer of a node, (b, C, h, w); beyond the image it is 0."""
        where, new = self.changed[node]
        if where == window:
            return new
        seen = window.overlap(_whole(self.sizes[node]))
        fresh = seen.overlap(where)
        if fresh == seen:
            part = _inside(new, seen.seen_from(where)).permute(0, 3, 1, 2)
        else:
            part = _crop(self.known[node], self.rows, seen)
            _inside(part, fresh.seen_from(seen)).copy_(_inside(new, fresh.seen_from(where)))
        beyond = (
            seen.left - window.left,
            window.right - seen.right,
            seen.top - window.top,
            window.bottom - seen.bottom,
        )
        return F.pad(part, beyond) if any(beyond) else part

    # -- which nodes can be computed in a window ----------------------------------------------------------------------

    def _elementwise(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return isinstance(self.functions[node], _ELEMENTWISE_MODULES)
        constants = [self.functions[source]() for source in node.all_input_nodes if source.op == "get_attr"]
        same_everywhere = all(constant.dim() == 0 or constant.shape[-2:] == (1, 1) for constant in constants)
        return node.op == "call_function" and node.target in _ELEMENTWISE and same_everywhere

    def _sliding(self, node: fx.Node) -> _Sliding | None:
        if node.op != "call_module":
            return None
        module = self.net.get_submodule(str(node.target))
        layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d)]
        if len(layers) != 1 or isinstance(layers[0].padding, str):
            return None
        kernel, stride, padding, dilation = (
            _pair(getattr(layers[0], name, 1)) for name in ("kernel_size", "stride", "padding", "dilation")
        )
        if not isinstance(layers[0], nn.Conv2d):
            plain = padding == (0, 0) and not layers[0].ceil_mode and not getattr(layers[0], "return_indices", False)
            return _Sliding(kernel, stride, padding, dilation, module) if plain else None
        if layers[0].padding_mode != "zeros":
            return None
        module = copy.deepcopy(module)
        next(m for m in module.modules() if isinstance(m, nn.Conv2d)).padding = (0, 0)
        return _Sliding(kernel, stride, padding, dilation, module)


def _function(net: fx.GraphModule, node: fx.Node) -> Callable[..., Any]:
    """What a node calls with its arguments."""
    target = node.target
    if callable(target):
        return target
    if node.op == "call_module":
        return net.get_submodule(target)
    if node.op == "call_method":
        return lambda of, *args, **kwargs: getattr(of, target)(*args, **kwargs)
    if node.op == "get_attr":
        constant = operator.attrgetter(target)(net)
        return lambda: constant
    return lambda answer: answer  # of the last node


def _in_place(node: fx.Node, function: Callable[..., Any]) -> bool:
    """Whether a node may overwrite an argument."""
    inplace = node.kwargs.get("inplace", function in _IN_PLACE)
    return bool(getattr(function, "inplace", inplace))


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _sources(node: fx.Node) -> list[fx.Node]:
    """The nodes a node computes from; constants are none."""
    return [source for source in node.all_input_nodes if source.op != "get_attr"]


def _size(x: Tensor) -> Pair:
    """Height and width."""
    return x.shape[-2], x.shape[-1]


def _whole(size: Pair) -> Window:
    return Window(0, size[0], 0, size[1])


def _inside(x: Tensor, window: Window) -> Tensor:
    """A view (B, h, w, C) of a window of (B, C, H, W): in the order of memory, in which copies are ten times faster."""
    return x.permute(0, 2, 3, 1)[:, window.top : window.bottom, window.left : window.right]


def _crop(x: Tensor, rows: Tensor, window: Window) -> Tensor:
    """A copy (b, C, h, w) of a window of some rows."""
    return _inside(x, window).index_select(0, rows).permute(0, 3, 1, 2)
