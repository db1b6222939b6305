"""An LSTM with self-attention behind a frozen wav2vec encoder: LS-Large and LS-Small of kim2023 (table 3.1), and Model-W.

The work says "a long short-term memory model with self-attention followed by a fully connected layer". Additive attention here:
with h_t the LSTM's state at frame t, w = softmax_t(v . tanh(W h_t)) and the sum of w_t h_t goes through the linear layer.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.models._mel import count_outputs
from robustscape.models._wav2vec import frozen_encoder


class AttentiveLSTM(nn.Module):
    """Features (B, C, T) to (B, hidden)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, hidden, batch_first=True)
        self.project = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        states = self._states(x.transpose(1, 2))
        share = self.score(self.project(states).tanh()).softmax(1)
        return (share * states).sum(1)

    def _states(self, x: Tensor) -> Tensor:
        if self.training or not x.is_cuda:
            return self.lstm(x)[0]
        # cuDNN's LSTM has no backward pass in eval mode, in which nets are attacked.
        with torch.backends.cudnn.flags(enabled=False):
            return self.lstm(x)[0]


def wav2vec_lstm(
    shape: tuple[int, ...],
    num_classes: int,
    *,
    hidden: Annotated[int, Field(ge=1)] = 512,
    encoder: Literal["pretrained", "small-trained", "random-frozen"] = "pretrained",
    weights: str | None = None,
    sha256: str | None = None,
    channels: Annotated[int, Field(ge=1)] = 512,
    kernels: list[Annotated[int, Field(ge=1)]] = [10, 8, 4, 4, 4],  # noqa: B006  (read as a schema; never changed)
    strides: list[Annotated[int, Field(ge=1)]] = [5, 4, 2, 2, 2],  # noqa: B006
    outputs: Annotated[int, Field(ge=2)] | None = None,
) -> nn.Module:
    """Return a frozen encoder, LS(channels, hidden) and FC(hidden, logits).

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
        hidden: units of the LSTM: 512 for LS-Large, 64 for LS-Small.

    Raises:
        ConfigError: the inputs are no waveforms of bytes, or too short; sizes that do not fit together.
        MissingData: the file of weights is not there.
        CorruptFile: it has another SHA-256, or other weights than this encoder.
    """
    front, _ = frozen_encoder("wav2vec_lstm", shape, encoder, weights, sha256, channels, kernels, strides)
    head = nn.Linear(hidden, count_outputs("wav2vec_lstm", num_classes, outputs))
    return nn.Sequential(front, AttentiveLSTM(channels, hidden), head)
