"""Contract 5: a result is read only if its record vouches for it, by every reader there is."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_up import vouch_for

import robustscape
from robustscape.errors import CorruptFile
from robustscape.storage.provenance import file_hash
from robustscape.storage.records import check_recorded, find_record

SOURCE = Path(robustscape.__file__).parent

#: Functions that read a table, or the health of a run, without asking its record, and why they may.
UNCHECKED = {
    ("report/items.py", "read_rows"): "the function itself; its callers are below",
    (
        "report/items.py",
        "draw_item",
    ): "called by write_item, which has just written it, and by the page, which has asked",
    ("report/shown_item.py", "_read_item"): "it asks for all files of the item before",
    ("cli/result_pages.py", "_scale_page"): "published tables, which are kept in git",
    ("cli/result_pages.py", "_claims"): "published verdicts, likewise",
    (
        "pipeline/steps/item.py",
        "_make_item",
    ): "printed numbers, which no record is about: their hash is in the fingerprint",
}


def readers() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call that reads a CSV or a run's health: (file, function, call)."""
    for path in sorted(SOURCE.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
                        "read_csv",
                        "read_rows",
                    ):
                        yield str(path.relative_to(SOURCE)), function.name, node


def test_every_reader_of_a_table_asks_its_record() -> None:
    found = list(readers())
    assert len(found) > 8
    unchecked = {(file, name) for file, name, call in found if "check_recorded" not in ast.unparse(call)}
    assert unchecked == set(UNCHECKED)


def test_the_health_of_a_run_is_read_in_one_place_that_asks_its_record() -> None:
    texts = {path: path.read_text() for path in SOURCE.rglob("*.py")}
    places = [path for path, text in texts.items() if re.search(r"\bHEALTH\b", text) and "json.loads" in text]
    assert [str(path.relative_to(SOURCE)) for path in places] == ["pipeline/health.py"]
    assert "check_recorded(path).read_text(" in places[0].read_text()


@pytest.fixture
def results(tmp_path: Path) -> dict[str, Path]:
    """One file of each kind, with the record that vouches for it."""
    table = tmp_path / "m" / "seed0.csv"
    item, picture = tmp_path / "w" / "figure_1.csv", tmp_path / "w" / "figure_1.svg"
    history, weights = tmp_path / "run" / "history.csv", tmp_path / "run" / "model.safetensors"
    for path in (table, item, picture, history, weights):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"a,b\n1,{path.stem}\n")
    record = {"command": "robustscape evaluate w/m", "output": file_hash(table)}
    table.with_suffix(".json").write_text(json.dumps(record))
    vouch_for(item)
    files = {path.name: file_hash(path) for path in (history, weights)}
    (history.parent / "run.json").write_text(json.dumps({"command": "robustscape train r", "files": files}))
    return {"table": table, "item": item, "picture": picture, "history": history, "weights": weights}


@pytest.mark.parametrize("kind", ["table", "item", "picture", "history", "weights"])
def test_a_file_is_whole_edited_gone_or_without_a_record(results: dict[str, Path], kind: str) -> None:
    path = results[kind]
    assert check_recorded(path) == path
    text = path.read_text()
    path.write_text(text.replace("1", "2", 1))
    with pytest.raises(CorruptFile, match=rf"{path.name} is not the file that .*json was written for.*`robustscape "):
        check_recorded(path)
    path.write_text(text)
    record = find_record(path)
    assert record is not None
    for damaged in ("{", "[]", "{}", "null"):
        whole = record.read_text()
        record.write_text(damaged)
        with pytest.raises(CorruptFile, match=f"{path.name} has no record beside it"):
            check_recorded(path)
        record.write_text(whole)
    path.unlink()
    with pytest.raises(CorruptFile, match=f"{path.name} is gone"):
        check_recorded(path)


def test_a_file_that_a_run_does_not_list_is_refused(results: dict[str, Path]) -> None:
    stranger = results["history"].with_name("updates.csv")
    stranger.write_text("update\n1\n")
    with pytest.raises(CorruptFile, match=r"updates\.csv is not the file"):
        check_recorded(stranger)
