"""A run while it is trained, and the file from which it resumes after an epoch.

Random streams belong to (seed, purpose, epoch), so the file needs no generator states: weights, optimizer, log and kept
weights are everything the next epoch depends on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.data import Split
from robustscape.errors import CorruptFile
from robustscape.storage import checkpoints
from robustscape.training.attack import TrainingAttack
from robustscape.training.closure import Closure
from robustscape.training.phases import Phases
from robustscape.training.recorder import Recorder

Weights = dict[str, Tensor]


@dataclass
class Log:
    """The logs of all epochs so far, as JSON values."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """One row per finished epoch, the columns of history.csv."""
    seconds: list[float] = field(default_factory=list)
    """Wall time of each epoch, probes aside."""
    updates: list[dict[str, Any]] = field(default_factory=list)
    """One row per recorded update, the columns of updates.csv."""
    best: dict[str, Any] | None = None
    """The row of the best epoch, if the recipe selects one by a probe."""


@dataclass
class Training:
    """A run while it is trained: its inputs, its moving parts, and what it has produced so far."""

    model: nn.Module
    train: Split
    test: Split
    recipe: Recipe
    attacks: dict[str, AttackSpec]
    eps: float
    seed: int
    make_attack: Callable[[int, Tensor, float], TrainingAttack]
    """(epoch, sample numbers, progress in [0, 1)) -> the attack of a batch."""
    phases: Phases
    closure: Closure
    recorder: Recorder
    log: Log
    weights: dict[str, Weights]
    """The weights before the first update ("initial", if there are traces), of the best epoch ("best"), those that the recipe
    keeps, by file name, and the buffers that the last epoch's updates left ("buffers", if statistics are estimated anew)."""
    fingerprint: str
    batch_size: int
    """Samples per update."""
    steps: int
    """Updates per epoch."""
    cutout_fill: Tensor | float
    """What a square of cutout holds, per channel (C, 1, 1): the input that the model standardises to 0."""


def copy_weights(model: nn.Module) -> Weights:
    """A detached copy of the parameters and buffers of ``model``."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def copy_buffers(model: nn.Module) -> Weights:
    """A detached copy of what ``copy_weights`` copies besides the parameters: BatchNorm's running statistics."""
    parameters = {name for name, _ in model.named_parameters()}
    return {name: tensor for name, tensor in copy_weights(model).items() if name not in parameters}


def save_state(training: Training, path: Path) -> None:
    """Write everything the next epoch needs to one file, which is either whole or not there."""
    tensors, groups = checkpoints.flatten_optimizer(training.phases.optimizer)
    parts = {"optimizer": tensors, "model": training.model.state_dict(), **training.weights}
    flat = {f"{part}/{name}": tensor for part, content in parts.items() for name, tensor in content.items()}
    metadata = {"fingerprint": training.fingerprint, **asdict(training.log), "optimizer": groups}
    checkpoints.save_checkpoint(path, flat, metadata)


@dataclass(frozen=True)
class SavedState:
    """The content of a state file."""

    log: Log
    model: Weights
    optimizer: Weights
    optimizer_description: dict[str, Any]
    """The part of the optimizer's state that is no tensor; see ``checkpoints.restore_optimizer``."""
    weights: dict[str, Weights]
    """See ``Training.weights``."""


def load_state(path: Path, device: torch.device, fingerprint: str) -> SavedState:
    """Return the content of a state file.

    Raises:
        CorruptFile: the file is damaged, or is the state of another run.
    """
    tensors, metadata = checkpoints.load_checkpoint(path, device)
    if metadata["fingerprint"] != fingerprint:
        raise CorruptFile(f"{path} is the state of another run; delete it to start again.")
    parts: dict[str, Weights] = {"model": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = tensor
    log = Log(**{f.name: metadata[f.name] for f in fields(Log)})
    return SavedState(log, parts.pop("model"), parts.pop("optimizer"), metadata["optimizer"], parts)
