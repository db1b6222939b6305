"""Where the items of a report come from: the runs behind them with their health and cost, their configuration, their code.

Imports no torch; nothing is computed, records and health files are read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from robustscape import catalog
from robustscape.config.experiment import Run, kind_and_name
from robustscape.config.studies import Item
from robustscape.errors import CorruptFile
from robustscape.pipeline.health import read_run_health, run_shortfalls
from robustscape.pipeline.plan import Plan
from robustscape.report.run_facts import Origins, RunFacts
from robustscape.storage.records import read_record

#: Digits of a hash of weights that a row of a measurement has.
_DIGITS = 12


def find_origins(plan: Plan) -> Origins:
    """Return the origins of all items of a plan; runs that were not trained have no facts."""
    behind: dict[tuple[str, str], tuple[str, ...]] = {}
    configured: dict[tuple[str, str], str] = {}
    code: dict[tuple[str, str], tuple[str, ...]] = {}
    runs: dict[str, Run] = {}
    for work, study in plan.studies.items():
        texts = _study_texts(plan.experiment.folder, work)
        for name, item in study.items.items():
            of_item = {planned.run.key: planned.run for table in plan.item_tables(work, item) for planned in table.runs}
            runs |= of_item
            behind[work, name] = tuple(of_item)
            configured[work, name] = _defining_file(texts, name)
            code[work, name] = _code_of_item(plan, work, item)
    facts = {key: run_facts(plan, run) for key, run in runs.items() if (plan.run_folder(run) / "run.json").exists()}
    return Origins(facts, behind, configured, code)


def run_facts(plan: Plan, run: Run) -> RunFacts:
    """Return what the records of a trained run say of it; ``problem`` says what is wrong with them, if anything is."""
    names: dict[str, Any] = {
        field: getattr(run, field) for field in ("key", "dataset", "architecture", "recipe", "eps", "seed")
    }
    record = read_record(plan.run_folder(run) / "run.json")
    try:
        health, short = read_run_health(plan, run), tuple(run_shortfalls(plan, run))
    except (CorruptFile, OSError) as error:
        return RunFacts(**names, problem=str(error))
    epochs = [float(seconds) for seconds in record.get("epoch_seconds") or []]
    return RunFacts(
        **names,
        clean=health.get("clean_accuracy"),
        robust=health.get("robust_accuracy"),
        loss=health["loss_over_chance"],
        updates=health.get("updates"),
        shortfalls=short,
        seconds=record.get("seconds"),
        epoch_seconds=sum(epochs) / len(epochs) if epochs else None,
        checkpoints=tuple(str(sha256)[:_DIGITS] for sha256 in (record.get("checkpoints") or {}).values()),
    )


def _study_texts(folder: Path, work: str) -> dict[str, str]:
    """Return the files of a study, as seen from the folder above the configuration, with their text."""
    paths = [folder / "studies" / f"{work}.yaml", *sorted((folder / "studies" / work).glob("*.yaml"))]
    return {
        f"{folder.name}/{path.relative_to(folder)}": path.read_text(encoding="utf-8") for path in paths if path.exists()
    }


def _defining_file(texts: dict[str, str], name: str) -> str:
    """Return which file of a study has an item's stanza: a key below ``items``; "" if none has."""
    stanza = re.compile(rf"^items:.*?^  {re.escape(name)}:", flags=re.MULTILINE | re.DOTALL)
    return next((path for path, text in texts.items() if stanza.search(text)), "")


def _code_of_item(plan: Plan, work: str, item: Item) -> tuple[str, ...]:
    """Return the files of the functions that measured and drew an item, each once, without plug-ins, which no commit has."""
    sources = plan.studies[work].sources
    named = [*(kind_and_name(sources[source.of]) for source in item.rows), (item.kind, item.draw)]
    paths = [catalog.find_entry(kind, name).path for kind, name in named]
    inside = [path for path in paths if path.is_relative_to(catalog.PACKAGE)]
    return tuple(dict.fromkeys(f"src/robustscape/{path.relative_to(catalog.PACKAGE)}" for path in inside))
