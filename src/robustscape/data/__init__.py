"""Data sets: read from files or the network by name, verified, prepared once, then loaded by every job.

    prepare_dataset(name, entry, folder, downloads)    raw files -> ``data.safetensors`` + ``card.json``; needs no torch
    load_dataset(folder, device)                       -> training split, test split, card

A data set is one file in ``sets/``: a function of its own name from a directory to ``RawSplits``. The tensors stay
uint8 on the device; ``Split.inputs`` converts the requested batch to floats in [0, 1].
"""

from __future__ import annotations

from robustscape.data.prepared import Split, load_dataset, prepare_dataset
from robustscape.data.splits import RawSplits

__all__ = ["RawSplits", "Split", "load_dataset", "prepare_dataset"]
