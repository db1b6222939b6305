"""``config/recipes/*.yaml``: a method with its hyper-parameters. One file, one recipe."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from robustscape.config.base import Strict, catalog_parameters


class Schedule(Strict):
    """A factor between 0 and 1 over the course of training, applied to the learning rate or to eps."""

    kind: Literal["constant", "multistep", "linear", "cosine"] = "constant"
    """constant: 1. multistep: times gamma at each milestone. linear, cosine: from `start` to `end`."""
    milestones: list[float] = []
    """Fractions of training at which `multistep` multiplies by `gamma`."""
    gamma: float = Field(0.1, gt=0, le=1)
    """Factor of a `multistep` milestone."""
    start: float = Field(1.0, ge=0, le=1)
    """Factor at the beginning (`linear`, `cosine`)."""
    end: float = Field(0.0, ge=0, le=1)
    """Factor at the end (`linear`, `cosine`)."""

    @model_validator(mode="after")
    def _milestones_in_range(self) -> Schedule:
        if any(not 0 < m < 1 for m in self.milestones) or sorted(self.milestones) != self.milestones:
            raise ValueError(f"milestones must rise within (0, 1), got {self.milestones}")
        if (self.kind == "multistep") != bool(self.milestones):
            raise ValueError("milestones belong to the schedule kind 'multistep', and it needs some")
        return self


class _Named(Strict):
    """A catalogue function and its keyword arguments."""

    name: str
    """Name in the catalogue."""
    parameters: dict[str, Any] = {}
    """Keyword arguments; see the function's docstring."""


class Optimizer(_Named):
    """The optimizer and its hyper-parameters."""

    @model_validator(mode="before")
    @classmethod
    def _check_parameters(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("name"), str):
            parameters = catalog_parameters("optimizer", data["name"], data.get("parameters") or {})
            return {**data, "parameters": parameters}
        return data


class Probe(_Named):
    """Something measured after each epoch and written to history.csv."""

    every: int = Field(1, ge=1)
    """Epochs between two measurements; the last epoch is always measured."""

    @model_validator(mode="before")
    @classmethod
    def _check_parameters(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("name"), str):
            parameters = catalog_parameters("probe", data["name"], data.get("parameters") or {})
            return {**data, "parameters": parameters}
        return data


class Augmentation(Strict):
    """Random changes of training images, drawn anew each epoch."""

    crop: int = Field(0, ge=0)
    """Zero padding before a random crop to the original size, in pixels; 0: none."""
    flip: bool = False
    """Mirror half of the images left to right."""


class Recipe(Strict):
    """How a model is trained; data set, architecture, eps and seed are the study's."""

    about: str = ""
    """Work, section, and what the work left silent."""
    extends: str | None = None
    """Name of a recipe whose keys this one starts from."""
    method: str
    """Name of a method (`robustscape list methods`)."""
    parameters: dict[str, Any] = {}
    """Keyword arguments of the method."""
    attack: str | None = None
    """Name of the training attack in config/attacks/; null for methods that need none."""
    eps_schedule: Schedule = Schedule()
    """Factor on eps over training."""
    optimizer: Optimizer
    """The optimizer."""
    lr_schedule: Schedule = Schedule()
    """Factor on the learning rate over training."""
    epochs: int = Field(ge=1)
    """Passes over the training set."""
    batch_size: int | None = Field(128, ge=1)
    """Samples of a step; null: the whole training set (full-batch descent)."""
    augmentation: Augmentation = Augmentation()
    """Random changes of training images."""
    probes: dict[str, Probe] = {}
    """Column of history.csv -> what is measured."""
    select: str = "last"
    """Which epoch becomes model.safetensors: `last`, or the probe whose highest value wins."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the model's forward and backward pass; losses and perturbations are always fp32."""
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    """Layout of images and weights; changes speed, and the last bits of results."""

    @model_validator(mode="before")
    @classmethod
    def _check_parameters(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("method"), str):
            parameters = catalog_parameters("method", data["method"], data.get("parameters") or {})
            return {**data, "parameters": parameters}
        return data

    @model_validator(mode="after")
    def _select_exists(self) -> Recipe:
        if self.select != "last" and self.select not in self.probes:
            raise ValueError(f"select must be 'last' or one of the probes {sorted(self.probes)}, got '{self.select}'")
        return self


class RecipeSizes(Strict):
    """What a scale may change of a recipe: how long it trains, nothing else."""

    epochs: int | None = Field(None, ge=1)
    """Passes over the training set."""
    batch_size: int | None = Field(None, ge=1)
    """Samples of a step, where the stand-in data set is too small for the work's batch size."""
    probe_samples: int | None = Field(None, ge=1)
    """Samples of every probe that takes `samples`."""
