"""kim2023 table 3.1: the layers behind the wav2vec encoder, read off the nets.

They are those that are trained, on torch's device without memory.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from robustscape.models.wav2vec_linear import wav2vec_linear
from robustscape.models.wav2vec_lstm import AttentiveLSTM, wav2vec_lstm


def wav2vec_classifiers(
    *,
    lstm: dict[str, Annotated[int, Field(ge=1)]],
    linear: dict[str, list[Annotated[int, Field(ge=1)]]],
    outputs: Annotated[int, Field(ge=2)] = 12,
    length: Annotated[int, Field(ge=1)] = 16000,
) -> list[dict[str, Any]]:
    """Return rows in_features and out_features by architecture and layer; they are the work's own nets.

    Args:
        lstm: name of a net with an LSTM -> its units.
        linear: name of a net of linear layers -> units of those before the last.
        outputs: number of logits.
        length: samples of a clip.
    """
    shape = (2, 1, length)
    with torch.device("meta"):
        nets: dict[str, nn.Module] = {
            name: wav2vec_lstm(shape, outputs, encoder="random-frozen", hidden=units) for name, units in lstm.items()
        }
        nets |= {
            name: wav2vec_linear(shape, outputs, encoder="random-frozen", hidden=units)
            for name, units in linear.items()
        }
    return [row for name, net in nets.items() for row in layer_rows(name, net)]


def layer_rows(name: str, net: nn.Module) -> list[dict[str, Any]]:
    """Return the rows of a net's trained layers, counted from 1."""
    sizes = [
        ("lstm_self_attention", layer.lstm.input_size, layer.lstm.hidden_size)
        if isinstance(layer, AttentiveLSTM)
        else ("linear", layer.in_features, layer.out_features)
        for layer in net.children()
        if isinstance(layer, AttentiveLSTM | nn.Linear)
    ]
    return [
        {
            "architecture": name,
            "layer": number,
            "layer_type": kind,
            "metric": metric,
            "value": value,
            "unit": "count",
            "paper_protocol": True,
        }
        for number, (kind, *features) in enumerate(sizes, 1)
        for metric, value in zip(("in_features", "out_features"), features, strict=True)
    ]
