"""Data sets: by name from a file or the network, checked, prepared once, then read by every job.

    prepare_dataset(name, entry, folder, downloads)    raw files -> ``data.safetensors`` + ``card.json``; needs no torch
    load_dataset(folder, device)                       -> training split, test split, card

A data set is one file in ``sets/``: a function of its own name from a directory to ``RawSplits``. The tensors stay
uint8 on the device; ``Split.inputs`` makes floats in [0, 1] of the batch that is asked for.
"""

from __future__ import annotations

from robustscape.data.prepared import Split, load_dataset, prepare_dataset
from robustscape.data.splits import RawSplits

__all__ = ["RawSplits", "Split", "load_dataset", "prepare_dataset"]
