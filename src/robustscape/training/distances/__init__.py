"""The metric d of an alignment loss (ma2025 eq 6.1), one file each: a function of two batches that returns a number.

``kl`` compares logits; the others compare embeddings, the inputs of the last linear layers, of which the source's is mapped
to the length of the witness's by a learned linear map (appendix 6.A, for all of them).
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

#: Distances of the embeddings: (the source's, projected to the witness's length, and the witness's) -> 0-dim.
EMBEDDING_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "rkd": relational_distance,
    "ega": embedding_graph_distance,
    "hint": hint_distance,
    "nce": contrastive_distance,
}

__all__ = ["EMBEDDING_DISTANCES", "Distance", "softened_kl"]
