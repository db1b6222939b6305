"""Models: an architecture by name with normalisation in front, and a faster form for evaluation.

A model maps inputs in [0, 1], shape (B, C, H, W), to logits (B, K). Normalisation is its first layer, so the eps, steps and
clipping of an attack are in pixel units, and its gradients flow through the normalisation.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from robustscape import catalog
from robustscape.errors import ConfigError

__all__ = [
    "Classifier",
    "Normalize",
    "NormalizeEachImage",
    "build_classifier",
    "copy_model",
    "fold_batchnorm",
    "standardised_zero",
]


Module = TypeVar("Module", bound=nn.Module)


class Normalize(nn.Module):
    """``(x - mean) / std`` per channel of inputs (B, C, ...); mean and std are buffers, so checkpoints hold them.

    >>> Normalize(0.5, 0.25)(torch.ones(1, 3, 1, 1)).flatten()
    tensor([2., 2., 2.])

    Args:
        mean: mean of each channel, or one number for all of them.
        std: standard deviation of each channel, above 0, or one number for all of them.
        dims: number of dimensions after the channel, 2 for images.

    Raises:
        ConfigError: they are no numbers, differ in length, or a standard deviation is not above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: float | Sequence[float] | Tensor, std: float | Sequence[float] | Tensor, dims: int = 2
    ) -> None:
        super().__init__()
        means, stds = _constants("mean", mean), _constants("std", std)
        if len(means) != len(stds) or not all(s > 0 for s in stds):
            raise ConfigError(
                f"normalisation needs as many means as standard deviations, all of them above 0; got mean {means} "
                f"and std {stds}."
            )
        for name, values in (("mean", means), ("std", stds)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, *[1] * dims))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def _constants(name: str, values: Any) -> list[float]:
    """A number or a sequence of numbers, finite ones, as a list.

    Raises:
        ConfigError: it is neither.
    """
    plain = values.reshape(-1).tolist() if hasattr(values, "reshape") else values  # of a tensor or an array
    try:
        numbers = [float(value) for value in (plain if isinstance(plain, Iterable) else [plain])]
    except (TypeError, ValueError):
        numbers = []
    if not numbers or isinstance(values, str) or not all(math.isfinite(number) for number in numbers):
        raise ConfigError(f"{name} of a normalisation got {values!r}, allowed is a number, or one for each channel.")
    return numbers


class NormalizeEachImage(nn.Module):
    """``(x - m) / max(s, 1 / (255 sqrt(n)))``: m and s are mean and std of the n values of each input of a batch (B, ...).

    What ``tf.image.per_image_standardization`` computes on pixels in [0, 255], here on inputs in [0, 1]: the standardisation of
    the code of Madry et al. (2018) for CIFAR-10. A gradient flows through m and s; where s is below the floor, through m only.

    Args:
        size: n, the number of values of one input.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.smallest_variance = 1 / (255**2 * size)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        centred = flat - flat.mean(1, keepdim=True)
        variance = (centred * centred).mean(1, keepdim=True).clamp(min=self.smallest_variance)
        return (centred / variance.sqrt()).reshape(x.shape)


class Classifier(nn.Sequential):
    """``net(normalize(x))``; the state dict's names begin with ``normalize.`` and ``net.``."""

    normalize: nn.Module
    net: nn.Module

    def __init__(self, normalize: nn.Module, net: nn.Module) -> None:
        super().__init__()
        self.add_module("normalize", normalize)
        self.add_module("net", net)


def build_classifier(
    architecture: str,
    parameters: Mapping[str, Any],
    shape: Sequence[int],
    num_classes: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    *,
    per_image: bool = False,
) -> Classifier:
    """Return a newly initialised classifier of inputs in [0, 1]. Initial weights come from torch's global generator.

    >>> model = build_classifier("mlp", {"hidden": [4]}, shape=(1, 8, 8), num_classes=10)
    >>> model(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])

    Args:
        architecture: a name in the catalogue (``robustscape list architectures``).
        parameters: keyword arguments of the architecture.
        shape: shape of one input, e.g. (1, 28, 28).
        num_classes: number of logits.
        mean: mean of each channel, or one for all, in [0, 1]; None: no normalisation by constants (for works that train and
            attack on raw pixels).
        std: standard deviation of each channel, or one for all; None if and only if ``mean`` is None.
        per_image: standardise each input by its own mean and standard deviation instead; ``mean`` and ``std`` must be None.

    Raises:
        ConfigError: unknown architecture, or one that cannot take this shape or number of classes; a normalisation that does
            not fit the inputs, or two of them.
    """
    net = catalog.load_function("architecture", architecture)(tuple(shape), num_classes, **parameters)
    if mean is None or std is None:
        if mean is not std:
            raise ConfigError(
                f"normalisation needs both a mean and a standard deviation, or neither; got mean {mean} and std {std}."
            )
        return Classifier(NormalizeEachImage(math.prod(shape)) if per_image else nn.Identity(), net)
    if per_image:
        raise ConfigError("inputs are normalised by constants or each by its own values; got both.")
    if len(mean) not in (1, shape[0]):
        raise ConfigError(
            f"normalisation has {len(mean)} channels, but inputs of shape {tuple(shape)} have {shape[0]}."
        )
    return Classifier(Normalize(mean, std, dims=len(shape) - 1), net)


def standardised_zero(model: nn.Module) -> Tensor | float:
    """Return the input that the first layer of ``model`` standardises to 0, (C, 1, 1) or (1, 1, 1); 0 for raw inputs.

    >>> float(standardised_zero(Classifier(Normalize([0.25], [0.5]), nn.Flatten())))
    0.25

    Raises:
        ConfigError: each image is standardised by its own values, so that there is no such input.
    """
    first = model.normalize if isinstance(model, Classifier) else None
    if isinstance(first, NormalizeEachImage):
        raise ConfigError(
            "cutout fills its square with the value that standardisation sends to 0, and an architecture with "
            "'normalisation: per_image' has none; choose another normalisation, or no cutout."
        )
    return first.mean if isinstance(first, Normalize) else 0.0


def copy_model(model: Module) -> Module:
    """Return a deep copy of ``model``.

    Unlike ``copy.deepcopy`` it copies modules that keep a computed tensor beside their parameters, as ``weight_norm`` and
    ``spectral_norm`` of torch.nn.utils do: it is computed anew in every pass, so its value is enough.
    """
    memo: dict[int, Any] = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return copy.deepcopy(model, memo)


def fold_batchnorm(model: nn.Module) -> nn.Module:
    """Return an eval-mode copy of ``model`` whose batch normalisations are folded into the convolutions before them.

    In eval mode batch normalisation is an affine map of each channel, z -> a z + b with a = gamma / sqrt(var + eps),
    and a convolution followed by one is a convolution with weights a W and bias b. The copy computes the same
    function up to float rounding (about 1e-6 relative), with fewer passes over memory. Batch normalisations that follow
    anything else than a convolution (as in pre-activation blocks) stay. The copy is for evaluation only: its weights are
    not the model's, so do not train it or measure its curvature.

    A model that torch.fx cannot trace (control flow on values), or whose code makes tensors of its own, which tracing would
    freeze, is returned as a plain eval-mode copy.
    """
    model = copy_model(model).eval()
    try:
        traced = torch.fx.symbolic_trace(model)
    except Exception:  # tracing runs the model's code on symbols, which may fail in any way
        return model
    reads = Counter(_module_read(node) for node in traced.graph.nodes)
    if any(node.op == "get_attr" and "_tensor_constant" in str(node.target) for node in traced.graph.nodes):
        return model
    for node in list(traced.graph.nodes):
        norm = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        if type(norm) is not nn.BatchNorm2d or norm.running_mean is None or _has_hooks(norm):
            continue
        before = node.all_input_nodes[0]
        convolution = traced.get_submodule(str(before.target)) if before.op == "call_module" else None
        if type(convolution) is not nn.Conv2d or _has_hooks(convolution):
            continue
        if len(before.users) > 1 or reads[_module_read(before)] > 1:  # elsewhere this normalisation does not follow
            continue
        traced.set_submodule(str(before.target), fuse_conv_bn_eval(convolution, norm))
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.eval()


def _module_read(node: torch.fx.Node) -> str:
    """The module that a node calls, or a parameter of which it reads; "": none."""
    target = str(node.target)
    return target.rpartition(".")[0] if node.op == "get_attr" else target if node.op == "call_module" else ""


def _has_hooks(module: nn.Module) -> bool:
    """Return whether calling ``module`` also runs hooks, such as one that computes its weight."""
    return bool(module._forward_hooks or module._forward_pre_hooks)
