"""The metric d of an alignment loss (ma2025 eq 6.1), one file each: a function of two batches that returns the batch's mean.

``kl`` compares logits; the others compare embeddings, the inputs of the last linear layers (appendix 6.A).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from robustscape.training.distances.ega import embedding_graph_distance
from robustscape.training.distances.hint import hint_distance
from robustscape.training.distances.kl import softened_kl
from robustscape.training.distances.nce import contrastive_distance
from robustscape.training.distances.rkd import relational_distance

Distance = Literal["kl", "rkd", "ega", "hint", "nce"]

#: Distances of the embeddings: (source's, the same projected to the witness's length, witness's) -> 0-dim.
EMBEDDING_DISTANCES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "rkd": lambda own, projected, theirs: relational_distance(own, theirs),
    "ega": embedding_graph_distance,
    "hint": lambda own, projected, theirs: hint_distance(projected, theirs),
    "nce": lambda own, projected, theirs: contrastive_distance(projected, theirs),
}

#: Distances that need the projection.
PROJECTED = {"ega", "hint", "nce"}

__all__ = ["EMBEDDING_DISTANCES", "PROJECTED", "Distance", "softened_kl"]
