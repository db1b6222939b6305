"""The reference pages of the documentation site: complete, and the same every time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from robustscape import catalog
from robustscape.cli import reference, schema_documents
from robustscape.cli.main import build_parser

ROOT = Path(__file__).parents[2]
PAGES = reference.pages()


@pytest.mark.parametrize("file", schema_documents.FILES, ids=lambda file: file.name)
def test_a_page_has_every_key_of_its_file_and_its_meaning(file: schema_documents.File) -> None:
    page = PAGES[f"reference/configuration/{file.name}.md"]
    schema = schema_documents.schema_of(file.model)
    for definition in [schema, *schema.get("$defs", {}).values()]:
        for key, value in definition.get("properties", {}).items():
            rows = [line for line in page.splitlines() if line.startswith(f"| `{key}` | ")]
            assert all(row.count("|") - row.count("\\|") == 5 for row in rows)
            assert value.get("description"), f"{definition['title']}.{key} has no docstring"
            assert any(reference._cell(value["description"]) in row for row in rows)


def test_every_kind_of_the_catalogue_is_in_the_index() -> None:
    assert all(f"({kind}.md)" in PAGES["reference/catalogue/index.md"] for kind in catalog.KINDS)


@pytest.mark.parametrize("kind", catalog.KINDS)
def test_a_page_has_every_function_of_its_kind_with_its_parameters(kind: str) -> None:
    page = PAGES[f"reference/catalogue/{kind}.md"]
    for name, entry in catalog.catalog_entries(kind).items():
        section = page.split(f"\n## `{name}`\n", 1)[1].split("\n## ")[0]
        assert all(f"| `{key}` | " in section for key in entry.parameters.model_fields)


def test_every_command_is_described() -> None:
    assert all(f"\n## `{name}`\n" in PAGES["reference/commands.md"] for name in reference.subcommands(build_parser()))


def test_every_public_module_is_in_the_library() -> None:
    listed = {name for page in PAGES.values() for name in re.findall(r"^::: (\S+)$", page, flags=re.MULTILINE)}
    public = [path for path in catalog.PACKAGE.rglob("*.py") if not path.stem.startswith("_")]
    assert listed == {".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in public}


def test_types_are_described_in_words() -> None:
    page = PAGES["reference/configuration/study.md"]
    assert "| `eps` | list of number >= 0 | required |" in page
    assert '| `norm` | `"Linf"`, `"L2"`, `"L1"` | `"Linf"` |' in PAGES["reference/configuration/attacks.md"]
    assert "| `step_size` | number > 0 or null | `null` |" in PAGES["reference/catalogue/attack.md"]


def test_links_within_a_page_lead_to_its_headings() -> None:
    for path, page in PAGES.items():
        headings = {line.lstrip("# ").lower() for line in page.splitlines() if line.startswith("#")}
        assert {part.split(")")[0] for part in page.split("](#")[1:]} <= headings, path


def test_pages_need_no_torch_and_are_the_same_in_every_process() -> None:
    program = (
        "import hashlib, sys; from robustscape.cli.reference import pages;"
        "print(hashlib.sha256(repr(pages()).encode()).hexdigest(), 'torch' in sys.modules)"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONPATH": "src", "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert printed.pop().endswith(" False\n")
