"""``config/config.yaml``: which scale, which works, where things are."""

from __future__ import annotations

from pydantic import Field

from robustscape.config.base import Strict


class Main(Strict):
    """The experiment's few top-level choices; each can be set on the command line."""

    scale: str = "small"
    """Name of a folder in config/scales/."""
    studies: list[str] = []
    """Works to do; empty: all of them."""
    seeds: int | None = Field(None, ge=1)
    """Maximum number of seeds of every run list, below that of the scale; null: the scale's."""
    results: str = "results"
    """Folder below which everything is written."""
    downloads: str = "downloads"
    """Folder where full data sets are looked for and downloaded to."""
    plugins: str | None = None
    """Folder with functions and configuration of your own; null: none. Seen, as all folders here, from where the command runs."""
    repository: str | None = None
    """Address of the project's repository, `https://host/owner/project`: the report links configuration and code there, at the
    commit that made an item; null: it names them."""
