"""``config/architectures.yaml``: architectures with their sizes, by the name a study uses."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from robustscape.config.base import Strict, catalog_parameters


class ArchitectureEntry(Strict):
    """A net: which one, how large, and whether it standardises its inputs."""

    architecture: str
    """Name of an architecture (`robustscape list architectures`)."""
    parameters: dict[str, Any] = {}
    """Keyword arguments of the architecture; see its docstring."""
    normalisation: Literal["dataset", "none"] = "dataset"
    """First layer of the model: `dataset` standardises by the training set's mean and std, `none` takes raw pixels."""
    about: str = ""
    """Which works use it, and what they left silent."""

    @model_validator(mode="before")
    @classmethod
    def _check_parameters(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("architecture"), str):
            parameters = catalog_parameters("architecture", data["architecture"], data.get("parameters") or {})
            return {**data, "parameters": parameters}
        return data
