"""Operations, weights and activations of networks, counted by torch on tensors without content. This module imports torch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from robustscape.config.architectures import ArchitectureEntry
from robustscape.models import build_classifier
from robustscape.pipeline.cost.sizes import DataSize, NetSize, data_size, net_key
from robustscape.pipeline.plan import Plan


def count_net(entry: ArchitectureEntry, data: DataSize) -> NetSize:
    """Return the size of an architecture for the inputs of a data set; nothing is computed."""
    with torch.device("meta"):
        net = build_classifier(entry.architecture, entry.parameters, data.shape, data.classes, None, None).eval()
        x = torch.empty(1, *data.shape)
    kept = 0

    def count_output(module: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal kept
        kept += output.numel()

    leaves = [module for module in net.modules() if not list(module.children())]
    handles = [leaf.register_forward_hook(count_output) for leaf in leaves]
    with FlopCounterMode(display=False) as counter:
        net(x)
    for handle in handles:
        handle.remove()
    weights = sum(tensor.numel() for tensor in net.state_dict().values())
    return NetSize(counter.get_total_flops(), weights, kept, len(leaves))


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
