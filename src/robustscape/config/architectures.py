"""``config/architectures.yaml``: architectures with their sizes, by the name a study uses."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from robustscape.config.base import FromCatalog


class ArchitectureEntry(FromCatalog):
    """A net: which one, how large, and whether it standardises its inputs."""

    catalogue: ClassVar[tuple[str, str]] = ("architecture", "architecture")

    architecture: str
    """Name of an architecture (`robustscape list architectures`)."""
    parameters: dict[str, Any] = {}
    """Keyword arguments of the architecture; see its docstring."""
    normalisation: Literal["dataset", "none"] = "dataset"
    """First layer of the model: `dataset` standardises by the training set's mean and std, `none` takes raw pixels."""
    about: str = ""
    """The works that use it, and the details that they do not state."""
