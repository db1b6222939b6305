"""Trained runs, the argument of every measurement, and the columns of a row that state its attack protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robustscape.config.attacks import AttackSpec
from robustscape.data import Split, load_dataset
from robustscape.devices import memory_format
from robustscape.errors import ConfigError, CorruptFile, MissingData, unknown_name
from robustscape.models import build_classifier
from robustscape.storage import checkpoints
from robustscape.storage.run_files import WEIGHTS

SPLITS: tuple[Literal["train"], Literal["test"]] = ("train", "test")


@dataclass(frozen=True)
class ModelWithData:
    """A model in eval mode with its data set, perturbation budget and seed: what probes and measurements share."""

    model: nn.Module
    train: Split
    test: Split
    eps: float
    """Perturbation budget of training, in input units."""
    seed: int

    def subset(self, split: Literal["train", "test"], samples: int | None) -> tuple[Tensor, Tensor]:
        """Return inputs (n, ...) and labels (n,) of the first ``samples`` of a split, or of all of it."""
        return (self.train if split == "train" else self.test).first(samples)


@dataclass(frozen=True)
class TrainedRun(ModelWithData):
    """A trained run, loaded, on one device."""

    device: torch.device
    num_classes: int
    path: Path
    """The run's folder."""
    config: dict[str, Any]
    """The configuration that run.json records."""
    checkpoint: str
    """Content hash of the weights."""
    state: Path | None = None
    """Folder where a long measurement may keep what it has done, so that it can resume; None: nowhere."""

    @property
    def name(self) -> str:
        """The run's folder below ``models/``: data set, architecture, recipe, eps and seed."""
        return "/".join(self.path.parts[-5:])

    @property
    def names(self) -> dict[str, Any]:
        """The columns by which a row of a comparison names its run."""
        named = {key: self.config[key]["name"] for key in ("dataset", "architecture", "recipe")}
        return {**named, "eps": self.eps, "seed": self.seed}

    def attack_eps(self, eps: float | Literal["run"]) -> float:
        """Return an attack's perturbation budget: ``eps`` itself, or the run's own if it is "run"."""
        return self.eps if eps == "run" else float(eps)

    def kept(self, fraction: float) -> dict[str, torch.Tensor]:
        """Return the state dict after a fraction of training, one of those in the recipe's ``keep``.

        Raises:
            ConfigError: the recipe keeps no such weights.
        """
        recipe = self.config["recipe"]
        if fraction not in recipe["keep"]:
            raise unknown_name(f"fraction kept by recipe {recipe['name']}", str(fraction), map(str, recipe["keep"]))
        file = f"epoch{max(1, round(fraction * recipe['epochs']))}.safetensors"
        return checkpoints.load_checkpoint(self.path / file, self.device)[0]


def attack_settings(attack: AttackSpec) -> dict[str, Any]:
    """Return the parameters of an attack that every row states; Auto-PGD's iterations are its steps."""
    found = {key: attack.parameters.get(key) for key in ("steps", "restarts", "step_size", "rel_step_size")}
    return found | {"steps": found["steps"] or attack.parameters.get("iterations")}


def protocol_columns(attack: AttackSpec, eps: float, split: str | None, samples: int | None) -> dict[str, Any]:
    """Return the protocol columns of a row: attack, norm, eps, steps, legal range, mode of BatchNorm, split, samples."""
    return {
        "attack": attack.attack,
        "norm": attack.norm,
        "attack_eps": eps,
        **attack_settings(attack),
        "clip": attack.bounds is not None,
        "model_mode": attack.model_mode,
        "split": split,
        "samples": samples,
    }


def load_run(
    folder: Path, data_folder: Path, device: torch.device, weights: str = "selected", state: Path | None = None
) -> TrainedRun:
    """Load a trained run and its data set.

    Args:
        folder: the run's.
        data_folder: the prepared data set's.
        device: where the model and the data go.
        weights: "selected" (the epoch the recipe chose), "last", or "as_trained" (the selected ones with the batch statistics
            that training left, of recipes that have them estimated anew).
        state: see ``TrainedRun.state``.

    Raises:
        MissingData: there is no finished run.
        CorruptFile: a file is damaged, or the weights are not those that run.json describes.
    """
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingData(f"there is no finished run in {folder}; train it first (robustscape train).") from None
    except ValueError:
        record = None
    if not isinstance(record, dict) or not {"config", "checkpoints"} <= set(record):
        raise CorruptFile(f"{folder / 'run.json'} is not the record of a run; delete it and train the run again.")
    config = record["config"]
    train, test, card = load_dataset(data_folder, device)
    file = WEIGHTS[weights]
    tensors, metadata = checkpoints.load_checkpoint(folder / file, device)
    if metadata["sha256"] != record["checkpoints"].get(file):
        raise CorruptFile(f"{folder / file} does not belong to the run.json beside it.")
    model = build_model(config, card).to(device)
    model.load_state_dict(tensors)
    model.to(memory_format=memory_format(config["recipe"]["memory_format"]))  # type: ignore[call-overload]
    model.eval()
    return TrainedRun(
        model=model,
        train=train,
        test=test,
        eps=config["eps"],
        seed=config["seed"],
        device=device,
        num_classes=card["num_classes"],
        path=folder,
        config=config,
        checkpoint=metadata["sha256"],
        state=state,
    )


def require_one_dataset(comparison: str, runs: Sequence[TrainedRun]) -> None:
    """Refuse runs of several data sets, for a comparison on the same samples, which is named.

    Raises:
        ConfigError: with their names.
    """
    names = sorted({run.config["dataset"]["name"] for run in runs})
    if len(names) > 1:
        raise ConfigError(f"{comparison}: the runs must share a data set, got {', '.join(names)}.")


def build_model(config: dict[str, Any], card: dict[str, Any]) -> nn.Module:
    """Return an untrained model of a run's architecture for a data set's input shape, input normalisation included.

    Args:
        config: a run's configuration, with ``architecture``.
        card: of the data set: shape, num_classes, mean and std.
    """
    entry = config["architecture"]
    normalisation = entry["normalisation"]
    values = card if normalisation == "dataset" else normalisation if isinstance(normalisation, dict) else {}
    return build_classifier(
        entry["architecture"],
        entry["parameters"],
        card["shape"],
        card["num_classes"],
        values.get("mean"),
        values.get("std"),
        per_image=normalisation == "per_image",
    )
