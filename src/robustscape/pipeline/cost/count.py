"""Operations, weights and activations of networks, counted by torch on tensors without content. This module imports torch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from robustscape.config.architectures import ArchitectureEntry
from robustscape.models import build_classifier
from robustscape.pipeline.cost.sizes import DataSize, NetSize, data_size, has_frozen_encoder, net_key, sized_parameters
from robustscape.pipeline.plan import Plan


def count_net(entry: ArchitectureEntry, data: DataSize) -> NetSize:
    """Return the size of an architecture for the inputs of a data set; nothing is computed."""
    with torch.device("meta"):
        net = build_classifier(entry.architecture, sized_parameters(entry), data.shape, data.classes, None, None).eval()
        x = torch.empty(1, *data.shape)
    net.to("meta")  # what a net makes on the CPU whatever it is told: the filters of a spectrogram
    net.requires_grad_(not has_frozen_encoder(entry))
    with FlopCounterMode(display=False) as counter:
        net(x)
    leaves = sum(not list(module.children()) for module in net.modules())
    weights = sum(tensor.numel() for tensor in net.state_dict().values())
    return NetSize(counter.get_total_flops(), weights, kept_numbers(net, x.requires_grad_()), leaves)


def kept_numbers(net: nn.Module, x: Tensor) -> int:
    """Return how many numbers a forward pass keeps for the gradients, those of the network itself aside."""
    own = {id(tensor) for tensor in net.state_dict(keep_vars=True).values()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        base = tensor if tensor._base is None else tensor._base
        if id(base) not in own:
            kept[id(base)] = base
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(x)
    return sum(tensor.numel() for tensor in kept.values())


def count_nets(plans: Iterable[Plan]) -> dict[tuple[str, ...], NetSize]:
    """Return every network of some plans, by ``net_key``; those whose data set has no known size are left out."""
    found: dict[tuple[str, ...], NetSize] = {}
    for plan in plans:
        experiment = plan.experiment
        for dataset, architecture in sorted({(run.dataset, run.architecture) for run in plan.runs}):
            data = data_size(experiment.datasets[dataset], plan.data_folder(dataset))
            entry = experiment.architectures[architecture]
            if data is not None and net_key(entry, data) not in found:
                found[net_key(entry, data)] = count_net(entry, data)
    return found
