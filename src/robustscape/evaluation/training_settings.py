"""What a run was trained with, read from its record and from its net: ma2025 table 4.2. No pass of the model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from torch import nn

from robustscape.evaluation.trained_run import TrainedRun
from robustscape.models import Classifier


def training_settings(run: TrainedRun) -> list[dict[str, Any]]:
    """Return rows initial_learning_rate, epochs, batch_size and parameters (of the net that was built, frozen ones too).

    The learning rate is the one that was used; where the scale multiplied the recipe's, the column ``lr_factor`` says by what.
    A rate that warms up is the one it rises to. The column ``structure`` has the net's layers in words.

    Args:
        run: the trained model and its record.
    """
    recipe = run.config["recipe"]
    values = {
        "initial_learning_rate": float(recipe["optimizer"]["parameters"]["lr"]),
        "epochs": recipe["epochs"],
        "batch_size": recipe["batch_size"],
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
    }
    structure = layer_listing(run.model)
    return [{"metric": metric, "value": value, "unit": "1", "structure": structure} for metric, value in values.items()]


def layer_listing(model: nn.Module) -> str:
    """Return the layers of a net in the order in which it has them, in the work's notation: Conv(i, o, k), FN(i, o), ReLU.

    Neighbouring blocks of one kind are counted. Reshaping and identities are left out. Of a net that is no ``nn.Sequential`` a
    function in its forward pass, such as a pooling, is no layer and is not seen.

    >>> layer_listing(nn.Sequential(nn.Conv2d(1, 16, 4), nn.ReLU(), nn.Flatten(), nn.Linear(400, 10)))
    'Conv(1, 16, 4) - ReLU - FN(400, 10)'
    """
    net = model.net if isinstance(model, Classifier) else model
    parts = list(net.children()) or [net]
    words = [text for part in parts for text in _layer_texts(part)]
    counted = [(text, len(list(same))) for text, same in itertools.groupby(words)]
    return " - ".join(text if count == 1 else f"{count} {text}" for text, count in counted)


def _layer_texts(layer: nn.Module) -> Iterator[str]:
    """A text for each layer; those of a sequence one by one."""
    match layer:
        case nn.Sequential():
            for part in layer:
                yield from _layer_texts(part)
        case nn.Flatten() | nn.Identity():
            pass
        case nn.Conv2d():
            height, width = layer.kernel_size
            side = f"{width}" if height == width else f"{height}x{width}"
            yield f"Conv({layer.in_channels}, {layer.out_channels}, {side})"
        case nn.Linear():
            yield f"FN({layer.in_features}, {layer.out_features})"
        case nn.BatchNorm2d():
            yield f"BN({layer.num_features})"
        case _:
            yield type(layer).__name__
