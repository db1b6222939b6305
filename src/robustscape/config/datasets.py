"""``config/datasets.yaml``: data sets with their sizes, by the name a study or a scale uses."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from robustscape.config.base import FromCatalog

Count = Annotated[int, Field(ge=1, strict=True)]


class DatasetEntry(FromCatalog):
    """A data set: which one, how much of it, and at what resolution."""

    catalogue: ClassVar[tuple[str, str]] = ("dataset", "dataset")

    dataset: str
    """Name of a data set (`robustscape list datasets`)."""
    parameters: dict[str, Any] = {}
    """Keyword arguments of the data set; see its docstring."""
    train: Count | None = None
    """Training samples, a fixed stratified subset; null for all."""
    test: Count | None = None
    """Test samples, likewise."""
    pool: Count = 1
    """Factor by which images are made smaller, by means of pool x pool pixels; 1 leaves them."""
    about: str = ""
    """The works that use it, or the data set that it stands in for."""
