"""What each verb of the command line does: one function a stage of the plan.

A step keeps what is already right: an output whose recorded fingerprint (configuration, code, and hashes of what it read) is
still the wanted one is not made again. Snakemake decides which jobs to look at; a job that covers several runs therefore
costs only the runs that changed.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustscape import atomic, catalog
from robustscape.config.experiment import Run
from robustscape.errors import ConfigError, unknown
from robustscape.layout import RUN_FILES, WEIGHTS
from robustscape.plan import Plan
from robustscape.provenance import code_version, config_hash, environment, file_hash

if TYPE_CHECKING:
    import pandas as pd
    import torch


def runs_named(plan: Plan, keys: Sequence[str]) -> list[Run]:
    """The runs with these keys (folders below models/)."""
    known = {run.key: run for run in plan.runs}
    for key in keys:
        if key not in known:
            raise unknown("run", key, known)
    return [known[key] for key in keys]


def _recorded(path: Path) -> dict[str, Any]:
    """A sidecar's content; empty if it is missing or damaged, so that it is made again."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _inputs(*paths: Path) -> list[dict[str, str]]:
    return [{"path": str(path), "sha256": file_hash(path)} for path in paths]


def _write_rows(csv: Path, frame: pd.DataFrame, record: dict[str, Any]) -> None:
    """A CSV and, after it, the sidecar that vouches for it."""
    atomic.write_text(csv, frame.to_csv(index=False))
    atomic.write_json(csv.with_suffix(".json"), {**record, "output": file_hash(csv), "environment": environment()})


def _is_current(csv: Path, fingerprint: str) -> bool:
    record = _recorded(csv.with_suffix(".json"))
    return csv.exists() and record.get("fingerprint") == fingerprint and record.get("output") == file_hash(csv)


# -- data -----------------------------------------------------------------------------------------------------------------


def prepare(plan: Plan, dataset: str, downloads: Path) -> None:
    """Write a data set's tensors and card."""
    from robustscape.data import prepare as prepare_data

    if dataset not in plan.experiment.datasets:
        raise unknown("data set", dataset, plan.experiment.datasets)
    prepare_data(dataset, plan.experiment.datasets[dataset], plan.data(dataset), downloads)


# -- train ----------------------------------------------------------------------------------------------------------------


def train(plan: Plan, keys: Sequence[str], device: torch.device) -> None:
    """Train runs, one after the other; states are kept until all of them are done."""
    runs = runs_named(plan, keys)
    for run in runs:
        _train(plan, run, device)
    for run in runs:
        _state(plan, run).unlink(missing_ok=True)


def _state(plan: Plan, run: Run) -> Path:
    """Where a run keeps its last epoch: outside the declared outputs, which Snakemake deletes when a job fails."""
    return plan.root / "states" / f"{run.key}.safetensors"


def _train(plan: Plan, run: Run, device: torch.device) -> None:
    import torch

    from robustscape import checkpoints
    from robustscape.data import load as load_data
    from robustscape.runs import build_model
    from robustscape.training import loop

    experiment, folder = plan.experiment, plan.model(run)
    train_split, test_split, card = load_data(plan.data(run.dataset), device)
    config, code = experiment.run_config(run), plan.run_code(run)
    fingerprint = config_hash([config, code, card["sha256"]])
    record = _recorded(folder / "run.json")
    if record.get("fingerprint") == fingerprint and _intact(folder, record):
        return
    torch.manual_seed(loop.derive(run.seed, "weights"))
    model = build_model(config, card)
    state = _state(plan, run)
    if state.exists() and checkpoints.load(state, "cpu")[1]["fingerprint"] != fingerprint:
        state.unlink()
    recipe = experiment.recipes[run.recipe]
    started = time.perf_counter()
    attacks = {name: experiment.attack(name) for name in config["attacks"]}
    result = loop.train(
        model,
        train_split,
        test_split,
        recipe,
        attacks,
        run.eps,
        run.seed,
        state=state,
        fingerprint=fingerprint,
        label=run.key,
    )
    weights = {
        "model.safetensors": checkpoints.save(folder / "model.safetensors", result.selected, {"epoch": result.epoch}),
        "last.safetensors": checkpoints.save(folder / "last.safetensors", result.last, {"epoch": recipe.epochs}),
    }
    loop.write_history(folder / "history.csv", result.history)
    atomic.write_json(
        folder / "run.json",
        {
            "command": f"robustscape --scale {plan.experiment.scale_name} train {run.key}",
            "run": run.key,
            "config": config,
            "code": code,
            "data": card["sha256"],
            "data_card": str(plan.data(run.dataset) / "card.json"),
            "fingerprint": fingerprint,
            "checkpoints": weights,
            "selected_epoch": result.epoch,
            "files": {name: file_hash(folder / name) for name in RUN_FILES if name != "run.json"},
            "epoch_seconds": [round(s, 4) for s in result.seconds],
            "seconds": round(time.perf_counter() - started, 3),
            "device": device.type,
            "environment": environment(),
        },
    )


def _intact(folder: Path, record: dict[str, Any]) -> bool:
    files = record.get("files", {})
    return bool(files) and all((folder / n).exists() and file_hash(folder / n) == digest for n, digest in files.items())


# -- measure --------------------------------------------------------------------------------------------------------------


def measure(plan: Plan, target: str, keys: Sequence[str], device: torch.device) -> None:
    """Measure trained runs; one CSV and sidecar a run."""
    work, name = split_target(plan, target)
    study = plan.studies[work]
    if name not in study.measurements:
        raise unknown(f"measurement of {work}", name, study.measurements)
    for run in runs_named(plan, keys):
        _measure(plan, work, name, run, device)


def _measure(plan: Plan, work: str, name: str, run: Run, device: torch.device) -> None:
    import pandas as pd

    from robustscape.runs import load_run

    csv, folder, data = plan.measurement(work, name, run), plan.model(run), plan.data(run.dataset)
    entry = plan.studies[work].measurements[name]
    arguments, code = plan.measurement_arguments(work, name), plan.measurement_code(work, name, run)
    plain = json.loads(json.dumps(arguments, default=lambda value: value.model_dump(mode="json", exclude={"about"})))
    file = WEIGHTS[entry.weights]
    checkpoint = _recorded(folder / "run.json").get("checkpoints", {}).get(file)
    fingerprint = config_hash([entry.measure, plain, code, checkpoint])
    if checkpoint and _is_current(csv, fingerprint):
        return
    state = plan.root / "states" / work / name / run.key / fingerprint[:16]
    trained = load_run(folder, data, device, entry.weights, state)
    started = time.perf_counter()
    rows = catalog.load("measurement", entry.measure)(trained, **arguments)
    factors = {
        "dataset": run.dataset,
        "architecture": run.architecture,
        "recipe": run.recipe,
        "eps": run.eps,
        "seed": run.seed,
        "weights": entry.weights,
        "checkpoint": trained.checkpoint[:12],
    }
    record = {
        "command": f"robustscape --scale {plan.experiment.scale_name} measure {work}/{name} {run.key}",
        "measure": entry.measure,
        "config": plain,
        "code": code,
        "fingerprint": fingerprint,
        "inputs": _inputs(folder / file, folder / "run.json", data / "card.json"),
        "seconds": round(time.perf_counter() - started, 3),
        "device": device.type,
    }
    _write_rows(csv, pd.DataFrame([{**factors, **row} for row in rows]), record)
    shutil.rmtree(state, ignore_errors=True)


# -- theory ---------------------------------------------------------------------------------------------------------------


def theory(plan: Plan, targets: Sequence[str]) -> None:
    """Run numeric checks and toys."""
    for target in targets:
        work, name = split_target(plan, target)
        study = plan.studies[work]
        if name not in study.theory:
            raise unknown(f"theory check of {work}", name, study.theory)
        _theory(plan, work, name)


def _theory(plan: Plan, work: str, name: str) -> None:
    import pandas as pd

    entry, csv = plan.studies[work].theory[name], plan.theory(work, name)
    fingerprint = plan.theory_fingerprint(work, name)
    if _is_current(csv, fingerprint):
        return
    parameters, _ = plan.experiment.sized(work, name, entry)
    started = time.perf_counter()
    rows = catalog.load("theory", entry.check)(**parameters)
    record = {
        "command": f"robustscape --scale {plan.experiment.scale_name} theory {work}/{name}",
        "check": entry.check,
        "config": parameters,
        "code": code_version(catalog.find("theory", entry.check).module),
        "fingerprint": fingerprint,
        "inputs": [],
        "seconds": round(time.perf_counter() - started, 3),
    }
    _write_rows(csv, pd.DataFrame(rows), record)


# -- items, claims, report ------------------------------------------------------------------------------------------------


def item_rows(plan: Plan, work: str, name: str) -> pd.DataFrame:
    """All rows behind an item, with the work's factors and what stood in for them."""
    import pandas as pd

    from robustscape.report import items
    from robustscape.report.checks import tally

    study, frames = plan.studies[work], []
    for source in study.items[name].rows:
        if source.of in study.theory:
            frame = items.read(plan.theory(work, source.of))
            found = [(frame if "metric" in frame else tally(frame)).assign(stand_in="", paper_protocol=False)]
        else:
            found = []
            for entry in plan.labelled(work, source.of):
                stand_ins = [
                    f"{own} for {theirs}"
                    for own, theirs in (
                        (entry.run.dataset, entry.dataset),
                        (entry.run.architecture, entry.architecture),
                    )
                    if own != theirs
                ]
                frame = items.read(entry.path).rename(columns={"eps": "epsilon"})
                found.append(
                    frame.assign(
                        dataset=entry.dataset,
                        architecture=entry.architecture,
                        stand_in=", ".join(stand_ins),
                        paper_protocol=entry.paper_protocol,
                    )
                )
        rows = pd.concat(found, ignore_index=True)
        for column, wanted in source.where.items():
            if column not in rows:
                raise ConfigError(f"item {work}/{name}: where: {unknown('column', column, rows.columns)}")
            rows = rows[rows[column].isin(wanted if isinstance(wanted, list) else [wanted])]
        frames.append(rows.assign(**source.label))
    return pd.concat(frames, ignore_index=True)


def item(plan: Plan, target: str) -> None:
    """Make a table or figure, and the sidecar that says from what."""
    import pandas as pd

    from robustscape.report import items

    work, name = split_target(plan, target)
    if name not in plan.studies[work].items:
        raise unknown(f"item of {work}", name, plan.studies[work].items)
    stanza, csv = plan.studies[work].items[name], plan.item(work, name)
    started = time.perf_counter()
    printed = items.read(plan.experiment.paper / f"{stanza.printed}.csv") if stanza.printed else None
    paths = items.make(stanza, item_rows(plan, work, name), csv, printed=printed, scale=plan.experiment.scale_name)
    made = [_recorded(path.with_suffix(".json")).get("seconds", 0) for path in plan.sources(work, stanza)]
    atomic.write_json(
        csv.with_suffix(".json"),
        {
            "command": f"robustscape --scale {plan.experiment.scale_name} item {target}",
            "config": stanza.model_dump(mode="json"),
            "code": code_version("robustscape.report.items", catalog.find(stanza.kind, stanza.draw).module),
            "inputs": _inputs(*plan.sources(work, stanza)),
            "outputs": _inputs(*paths),
            "seconds": round(time.perf_counter() - started, 3),
            "seconds_of_measurements": round(sum(made), 3),
            "environment": environment(),
            "versions": {"pandas": pd.__version__},
        },
    )


def claims(plan: Plan) -> None:
    """Judge every claim of the plan's works."""
    import pandas as pd

    from robustscape.report.claims import COLUMNS, verdicts

    rows = verdicts(plan.studies, plan.root, plan.experiment.scale_name)
    atomic.write_text(plan.claims, pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False))


def report(plan: Plan) -> None:
    """Write the page."""
    from robustscape.report import page

    page.write(plan.studies, plan.root, plan.experiment.scale_name)


def split_target(plan: Plan, target: str) -> tuple[str, str]:
    """``work/name`` in two; the work must be one of the plan's."""
    work, _, name = target.partition("/")
    if work not in plan.studies or not name:
        raise unknown("target (work/name)", target, [f"{w}/..." for w in plan.studies])
    return work, name
