"""From a number to the data and back: the chain is complete, and what changed since is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up import accuracy_rows, make_item, vouch_for

from robustscape.cli.explain import explain_item
from robustscape.errors import CorruptFile, MissingData
from robustscape.report.items import write_item
from robustscape.storage import atomic, records
from robustscape.storage.provenance import file_hash

FACTORS = ["dataset", "architecture", "noise", "norm", "eps"]
RUNS = 4


def inputs(*paths: Path, root: Path) -> list[dict[str, str]]:
    return [{"path": str(path.relative_to(root)), "sha256": file_hash(path)} for path in paths]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """results/small as the steps leave it: a data set, four runs, a measurement of each, an item."""
    root = tmp_path / "results" / "small"
    data = root / "data" / "mnist2"
    atomic.write_json(data / "card.json", {"name": "mnist2", "sha256": "da7a" * 16, "licence": "BSD", "seconds": 0.5})
    sources = []
    for seed in range(RUNS):
        run = root / "models" / f"seed{seed}"
        atomic.write_bytes(run / "model.safetensors", b"weights %d" % seed)
        atomic.write_json(
            run / "run.json",
            {
                "command": f"robustscape train seed{seed}",
                "code": "ab" * 32,
                "data": "da7a" * 16,
                "data_card": str((data / "card.json").relative_to(tmp_path)),
                "seconds": 10.0,
                "device": "cpu",
                "environment": {"python": "3.11.7", "torch": "2.11.0"},
            },
        )
        csv = root / "yamada2021" / "measurements" / "accuracy" / f"seed{seed}.csv"
        atomic.write_text(csv, f"metric,value\na,{seed}\n")
        made_from = inputs(run / "model.safetensors", run / "run.json", data / "card.json", root=tmp_path)
        atomic.write_json(
            csv.with_suffix(".json"),
            {
                "command": f"robustscape evaluate seed{seed}",
                "inputs": made_from,
                "output": file_hash(csv),
                "seconds": 1.0,
            },
        )
        sources.append(csv)
    item = make_item(factors=FACTORS, options={"index": ["eps"]})
    write_item(item, accuracy_rows(), root / "yamada2021" / "table_1.csv", scale="small")
    vouch_for(root / "yamada2021" / "table_1.csv", inputs=inputs(*sources, root=tmp_path), seconds=0.25)
    return root / "yamada2021"


def test_the_chain_reaches_the_data(folder: Path) -> None:
    text = explain_item(folder, "table_1")
    steps = [
        "yamada2021/table_1: 18 numbers",
        "the first: 99.87 percent (dataset=mnist2, architecture=logistic_regression, noise=PGD, norm=L2, eps=0.0, "
        "metric=robust_train_accuracy; n = 3)",
        "command: robustscape item yamada2021/table_1",
        "command: robustscape evaluate seed0",
        "command: robustscape train seed0",
        "python 3.11.7, torch 2.11.0",
        "licence: BSD",
        "content da7ada7ada7a",
    ]
    places = [text.find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)
    indents = [len(line) - len(line.lstrip()) for line in text.splitlines() if "command:" in line][:3]
    assert indents == sorted(set(indents))


def test_many_runs_are_counted_not_listed(folder: Path) -> None:
    text = explain_item(folder, "table_1")
    assert "seed3" not in text
    assert "... and 2 more of this kind, all files unchanged" in text
    assert "robustscape train seed3" in explain_item(folder, "table_1", siblings=RUNS)


def test_what_changed_or_is_gone_is_named_even_among_the_counted(folder: Path) -> None:
    (folder / "measurements" / "accuracy" / "seed3.csv").write_text("metric,value\na,99\n")
    (folder.parent / "models" / "seed0" / "model.safetensors").unlink()
    records.cached_file_hash.cache_clear()
    text = explain_item(folder, "table_1")
    assert "seed3.csv [CHANGED since it was read]" in text and "1 of 4 files changed or missing" in text
    assert "seed0/model.safetensors [MISSING]" in text


def test_a_chain_with_an_edited_file_is_refused(folder: Path) -> None:
    records.check_chain(folder / "table_1.json")
    measured = folder / "measurements" / "accuracy" / "seed3.csv"
    measured.write_text("metric,value\na,99\n")
    with pytest.raises(CorruptFile, match=r"seed3\.csv is not the file .* `robustscape evaluate seed3` makes it again"):
        records.check_chain(folder / "table_1.json")
    measured.unlink()
    with pytest.raises(CorruptFile, match=rf"seed3\.csv is gone, .*; `robustscape run {folder.name}` makes it again"):
        records.check_chain(folder / "table_1.json")


def test_an_edited_item_is_refused(folder: Path) -> None:
    csv = folder / "table_1.csv"
    csv.write_text(csv.read_text().replace("99.87", "99.97"))
    with pytest.raises(CorruptFile, match=r"table_1\.csv is not the file that table_1\.json was written for"):
        explain_item(folder, "table_1")


def test_results_may_be_moved(folder: Path, tmp_path: Path, monkeypatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "results").rename(elsewhere / "results")
    monkeypatch.chdir(tmp_path)
    text = explain_item(elsewhere / "results" / "small" / "yamada2021", "table_1")
    assert "robustscape train seed0" in text and "MISSING" not in text


def test_damaged_records_and_missing_items(folder: Path) -> None:
    (folder / "measurements" / "accuracy" / "seed0.json").write_text("{")
    assert "seed0.json is missing or damaged" in explain_item(folder, "table_1")
    (folder / "table_1.json").unlink()
    with pytest.raises(CorruptFile, match=r"table_1\.csv has no record beside it"):
        explain_item(folder, "table_1")
    with pytest.raises(MissingData, match=r"robustscape item yamada2021/table_9"):
        explain_item(folder, "table_9")


def test_time_is_counted_once_however_many_items_share_it(folder: Path) -> None:
    record = folder / "table_1.json"
    total = 0.25 + RUNS * (1.0 + 10.0) + 0.5
    assert records.total_seconds([record]) == pytest.approx(total)
    again = folder / "table_2.json"
    again.write_text(record.read_text())
    assert records.total_seconds([record, again, folder / "missing.json"]) == pytest.approx(total + 0.25)
