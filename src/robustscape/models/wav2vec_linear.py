"""Linear layers behind a frozen wav2vec encoder: FC-Large and FC-Small of kim2023 (table 3.1).

The work does not say what is between them: ReLU here.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from robustscape.models._mel import count_outputs
from robustscape.models._wav2vec import frozen_encoder


def wav2vec_linear(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    hidden: list[Annotated[int, Field(ge=1)]] = [],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    encoder: Literal["pretrained", "small-trained", "random-frozen"] = "pretrained",
    weights: str | None = None,
    sha256: str | None = None,
    channels: Annotated[int, Field(ge=1)] = 512,
    kernels: list[Annotated[int, Field(ge=1)]] = [10, 8, 4, 4, 4],  # noqa: B006  (read as a schema; never changed)
    strides: list[Annotated[int, Field(ge=1)]] = [5, 4, 2, 2, 2],  # noqa: B006
    outputs: Annotated[int, Field(ge=2)] | None = None,
) -> nn.Module:
    """Return a frozen encoder and linear layers of all its features at once: FC(channels x frames, ...), ..., FC(..., logits).

    Args:
        shape: shape of one input, (2, 1, T): high and low byte of T samples.
        num_classes: number of classes.
        encoder: where the weights of the encoder, which are not trained, come from; every row of a transfer matrix says it.
            "pretrained" and "small-trained" are read from ``weights``, "random-frozen" are the same random numbers in every run.
        weights: safetensors file with fairseq's names of wav2vec (a prefix ``feature_extractor.`` is left out, and all other
            parts), seen from the project's folder.
        sha256: SHA-256 of that file, which stands for its content in what results are made from.
        channels: of the encoder.
        kernels: samples that each of its convolutions sees.
        strides: of each.
        outputs: number of logits; None: one a class. What is more is never a label (kim2023's nets have 12 for ten words).
        hidden: units of the layers before the last: 1000 and 500 for FC-Large, none for FC-Small.

    Raises:
        ConfigError: the inputs are no waveforms of bytes, or too short; sizes that do not fit together.
        MissingData: the file of weights is not there.
        CorruptFile: it has another SHA-256, or other weights than this encoder.
    """
    front, frames = frozen_encoder("wav2vec_linear", shape, encoder, weights, sha256, channels, kernels, strides)
    sizes = [channels * frames, *hidden, count_outputs("wav2vec_linear", num_classes, outputs)]
    layers: list[nn.Module] = [nn.Flatten()]
    for size, out in itertools.pairwise(sizes):
        layers += [nn.Linear(size, out), nn.ReLU()]
    return nn.Sequential(front, *layers[:-1])
