"""Model alignment (ma2025 chapter 6): a source is fine-tuned until its outputs are those of independently trained witnesses.

    min_theta  1 / (B |W|) sum_n sum_w d( z_s(x_n), z_w(x_n) )

There is no loss of the labels. The witnesses are frozen, in eval mode, and see the same images as the source, which is in
training mode. The run starts from the weights of another run and reads those of its witnesses (``config.alignments``). Cost:
1 forward and 1 backward pass of the source, 1 forward pass of each witness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.errors import ConfigError
from robustscape.models.embeddings import embeddings
from robustscape.training.aligning import AligningNet
from robustscape.training.attack import TrainingAttack
from robustscape.training.distances import EMBEDDING_DISTANCES, softened_kl
from robustscape.training.methods._photographs import cropped_and_mirrored


def alignment(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: TrainingAttack,
    *,
    nets: str,
    source: str,
    witness: str,
    source_seed: int = 0,
    witness_seeds: list[int] = [1],  # noqa: B006  (read from the syntax tree as a schema; never changed)
    distance: Literal["kl", "rkd", "ega", "hint", "nce"] = "kl",
    temperature: Annotated[float, Field(gt=0)] = 4.0,
    crops: bool = False,
) -> AlignmentObjective:
    """Return the loss above as an objective; the outputs of the witnesses are found once, before the step.

    Args:
        model: the source with its witnesses.
        x: inputs (B, ...).
        y: not read.
        attack: not called.
        nets: recipe of whose variants the source and the witnesses are runs.
        source: variant that is the source's recipe; its architecture is the run's.
        witness: variant that is the recipe of the witnesses.
        source_seed: seed of the source.
        witness_seeds: seeds of the witnesses, one or several.
        distance: d; see ``training.distances``.
        temperature: of the distance "kl".
        crops: crop photographs at random, to a random size, and mirror half of them (``methods/_photographs.py``).

    Raises:
        ConfigError: the model has no witnesses: something else than a run of such a recipe trains it.
    """
    if not isinstance(model, AligningNet):
        raise ConfigError("method 'alignment' trains a net towards witnesses, and this net has none.")
    if crops:
        x = cropped_and_mirrored(x)
    if distance == "kl":
        return AlignmentObjective(
            lambda: model(x), model.witness_logits(x), lambda own, _, theirs: softened_kl(own, theirs, temperature)
        )
    compare, maps = EMBEDDING_DISTANCES[distance], model.projections
    return AlignmentObjective(
        lambda: embeddings(model.net, x),
        model.witness_embeddings(x),
        lambda own, place, theirs: compare(maps[place](own), theirs),
    )


@dataclass(frozen=True)
class AlignmentObjective:
    """The mean over the witnesses of the distance to each, at the model's current weights.

    Args:
        own: returns the source's logits or embeddings (B, ...), by a forward pass.
        outputs: those of each witness.
        distance: called with the source's, the witness's place and the witness's; a mean over the batch, 0-dim.
    """

    own: Callable[[], Tensor]
    outputs: list[Tensor]
    distance: Callable[[Tensor, int, Tensor], Tensor]

    def __call__(self) -> Tensor:
        """Return the mean over batch and witnesses, 0-dim."""
        own = self.own()
        return torch.stack([self.distance(own, place, theirs) for place, theirs in enumerate(self.outputs)]).mean()
