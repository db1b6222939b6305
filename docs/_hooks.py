"""MkDocs hooks: add the generated reference pages to the site and to its navigation."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from robustscape.cli.reference import pages


def on_config(config: MkDocsConfig) -> None:
    """List the generated pages of a folder after its index wherever the navigation names that index."""
    _add_pages(config.nav or [], sorted(pages()))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def _add_pages(nav: list[object], paths: list[str]) -> None:
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else []:
            if isinstance(value, list):
                _add_pages(value, paths)
    for entry in [entry for entry in nav if isinstance(entry, str) and entry.endswith("/index.md")]:
        folder = entry.removesuffix("index.md")
        nav += [path for path in paths if path.startswith(folder) and path != entry]
