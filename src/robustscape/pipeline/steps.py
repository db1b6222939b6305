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

from robustscape import catalog
from robustscape.config.experiment import Run
from robustscape.config.recipes import Recipe
from robustscape.errors import ConfigError, MissingData, unknown
from robustscape.pipeline.plan import Group, Plan, Table
from robustscape.storage import atomic
from robustscape.storage.provenance import code_version, config_hash, environment, file_hash
from robustscape.storage.run_files import FALL_FILES, WEIGHTS

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
        for suffix in (".safetensors", *(f".{file.removesuffix('.safetensors')}" for file in FALL_FILES)):
            _state(plan, run).with_suffix(suffix).unlink(missing_ok=True)


def _state(plan: Plan, run: Run) -> Path:
    """Where a run keeps its last epoch: outside the declared outputs, which Snakemake deletes when a job fails."""
    return plan.root / "states" / f"{run.key}.safetensors"


def _train(plan: Plan, run: Run, device: torch.device) -> None:
    import torch

    from robustscape.data import load as load_data
    from robustscape.evaluation.trained_run import build_model
    from robustscape.storage import checkpoints
    from robustscape.training import loop

    experiment, folder = plan.experiment, plan.model(run)
    train_split, test_split, card = load_data(plan.data(run.dataset), device)
    config, code = experiment.run_config(run), plan.run_code(run)
    fingerprint = config_hash([config, code, card["sha256"]])
    record = _recorded(folder / "run.json")
    if record.get("fingerprint") == fingerprint and _intact(folder, record):
        return
    torch.manual_seed(loop.derive_seed(run.seed, "weights"))
    model = build_model(config, card)
    state = _state(plan, run)
    if state.exists() and checkpoints.load(state, "cpu")[1]["fingerprint"] != fingerprint:
        state.unlink()
    recipe = _with_recorded(plan, run)
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
    for file, tensors in result.kept.items():
        weights[file] = checkpoints.save(folder / file, tensors, {})
    if recipe.traces:
        loop.write_history(folder / "updates.csv", result.updates)
    if recipe.fall:
        _keep_fall(state, folder)
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
            "diverged": result.diverged,
            "files": {name: file_hash(folder / name) for name in plan.run_files(run) if name != "run.json"},
            "epoch_seconds": [round(s, 4) for s in result.seconds],
            "seconds": round(time.perf_counter() - started, 3),
            "device": device.type,
            "environment": environment(),
        },
    )


def _with_recorded(plan: Plan, run: Run) -> Recipe:
    """The run's recipe; an eps schedule that another run recorded gets its values."""
    import pandas as pd

    recipe, source = plan.experiment.recipes[run.recipe], plan.experiment.recorded_run(run)
    if source is None:
        return recipe
    path, column = plan.model(source) / "history.csv", str(recipe.eps_schedule.column)
    if not path.exists():
        raise MissingData(f"{path} is not there; train that run first, run {run.key} reads it.")
    history = pd.read_csv(path)
    if column not in history:
        raise ConfigError(f"recipe {run.recipe}: {unknown('column of eps_schedule', column, list(history.columns))}")
    values = [value / run.eps for value in history[column]]
    schedule = recipe.eps_schedule.model_copy(update={"values": values})
    return recipe.model_copy(update={"eps_schedule": schedule})


def _keep_fall(state: Path, folder: Path) -> None:
    """Copy the start and the end of the epoch of a collapse beside the weights.

    A run of one epoch has no such epoch: its only state stands for both.
    """
    for file in FALL_FILES:
        kept = state.with_suffix(f".{file.removesuffix('.safetensors')}")
        atomic.write_bytes(folder / file, (kept if kept.exists() else state).read_bytes())


def _intact(folder: Path, record: dict[str, Any]) -> bool:
    files = record.get("files", {})
    return bool(files) and all((folder / n).exists() and file_hash(folder / n) == digest for n, digest in files.items())


# -- measure --------------------------------------------------------------------------------------------------------------


def measure(plan: Plan, words: Sequence[str], device: torch.device) -> None:
    """Measure trained runs; one CSV and sidecar a run.

    Args:
        plan: of the experiment.
        words: ``work/measurement``, the runs it is made of, perhaps another measurement and its runs, and so on.
        device: where to measure.
    """
    target: tuple[str, str] | None = None
    for word in words:
        if word.count("/") == 1:
            target = split_target(plan, word)
            if target[1] not in plan.studies[target[0]].measurements:
                raise unknown(f"measurement of {target[0]}", target[1], plan.studies[target[0]].measurements)
        elif target is None:
            raise ConfigError(f"measure: expected WORK/MEASUREMENT before the first run, got '{word}'.")
        else:
            _measure(plan, *target, runs_named(plan, [word])[0], device)


def _measure(plan: Plan, work: str, name: str, run: Run, device: torch.device) -> None:
    import pandas as pd

    from robustscape.evaluation.trained_run import load_run

    csv, folder, data = plan.measurement(work, name, run), plan.model(run), plan.data(run.dataset)
    entry = plan.studies[work].measurements[name]
    arguments, code = plan.arguments(work, name), plan.measurement_code(work, name, [run])
    file = WEIGHTS[entry.weights]
    trained_as = _recorded(folder / "run.json")
    checkpoint = trained_as.get("checkpoints", {}).get(file)
    fingerprint = config_hash([entry.measure, _plain(arguments), code, checkpoint])
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
        **_warnings(trained_as),
    }
    record = {
        "command": f"robustscape --scale {plan.experiment.scale_name} measure {work}/{name} {run.key}",
        "measure": entry.measure,
        "config": _plain(arguments),
        "code": code,
        "fingerprint": fingerprint,
        "inputs": _inputs(folder / file, folder / "run.json", data / "card.json"),
        "seconds": round(time.perf_counter() - started, 3),
        "device": device.type,
    }
    _write_rows(csv, pd.DataFrame([{**factors, **row} for row in rows]), record)
    shutil.rmtree(state, ignore_errors=True)


def _warnings(*records: dict[str, Any]) -> dict[str, bool]:
    """What every number of these runs must carry: a run that diverged was measured as it was before that epoch."""
    return {"flag_diverged": True} if any(record.get("diverged") for record in records) else {}


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments as JSON."""
    plain: dict[str, Any] = json.loads(
        json.dumps(arguments, default=lambda value: value.model_dump(mode="json", exclude={"about"}))
    )
    return plain


def compare(plan: Plan, target: str, device: torch.device) -> None:
    """Measure runs together; one CSV and sidecar a group of runs."""
    work, name = split_target(plan, target)
    if name not in plan.studies[work].comparisons:
        raise unknown(f"comparison of {work}", name, plan.studies[work].comparisons)
    for group in plan.groups(work, name):
        _compare(plan, work, name, group, device)


def _compare(plan: Plan, work: str, name: str, group: Group, device: torch.device) -> None:
    import pandas as pd

    from robustscape.evaluation.trained_run import load_run

    csv, entry = plan.comparison(work, name, group), plan.studies[work].comparisons[name]
    runs, file = list(dict.fromkeys(planned.run for planned in group.runs)), WEIGHTS[entry.weights]
    arguments, code = plan.arguments(work, name), plan.measurement_code(work, name, runs)
    records = [_recorded(plan.model(run) / "run.json") for run in runs]
    checkpoints = [record.get("checkpoints", {}).get(file) for record in records]
    fingerprint = config_hash([entry.compare, _plain(arguments), code, checkpoints])
    if all(checkpoints) and _is_current(csv, fingerprint):
        return
    state = plan.root / "states" / work / name / group.label / fingerprint[:16]
    trained = [load_run(plan.model(run), plan.data(run.dataset), device, entry.weights, state) for run in runs]
    started = time.perf_counter()
    rows = catalog.load("comparison", entry.compare)(trained, **arguments)
    record = {
        "command": f"robustscape --scale {plan.experiment.scale_name} compare {work}/{name}",
        "measure": entry.compare,
        "config": _plain(arguments),
        "code": code,
        "fingerprint": fingerprint,
        "inputs": _inputs(*(path for run in runs for path in (plan.model(run) / file, plan.model(run) / "run.json"))),
        "seconds": round(time.perf_counter() - started, 3),
        "device": device.type,
    }
    factors = {
        **group.factors,
        "weights": entry.weights,
        "checkpoint": config_hash(checkpoints)[:12],
        **_warnings(*records),
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

    from robustscape.claims.checks import tally
    from robustscape.report import items

    study, frames = plan.studies[work], []
    for source in study.items[name].rows:
        if source.of in study.theory:
            frame = items.read(plan.theory(work, source.of))
            frame = frame if "metric" in frame else tally(frame)
            # A toy with the work's own constants says so itself.
            found = [frame.assign(stand_in="", paper_protocol=frame.get("paper_protocol", False))]
        else:
            found = [_named(items.read(table.path), table) for table in plan.tables(work, source.of)]
        rows = pd.concat(found, ignore_index=True)
        for column, wanted in source.where.items():
            if column not in rows:
                raise ConfigError(f"item {work}/{name}: where: {unknown('column', column, rows.columns)}")
            rows = rows[rows[column].isin(wanted if isinstance(wanted, list) else [wanted])]
        frames.append(rows.assign(**source.label))
    return pd.concat(frames, ignore_index=True)


def _named(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """A file's rows under the names the work uses, and what stood in for what."""
    named = {"dataset": table.common("dataset"), "architecture": table.common("architecture")}
    if "eps" in frame:
        radii = {planned.run.eps: planned.eps for planned in table.runs}
        frame = frame.assign(eps=[radii.get(value, value) for value in frame["eps"]])
    # A comparison names the runs it speaks of in columns of its own.
    stand_ins = {planned.run.architecture: planned.architecture for planned in table.runs}
    stand_ins |= {planned.run.dataset: planned.dataset for planned in table.runs}
    words = frame.select_dtypes(include=["object", "string"]).columns.difference(["metric", "unit"])
    frame = frame.assign(**{column: frame[column].replace(stand_ins) for column in words})
    return frame.assign(
        **{column: value for column, value in named.items() if value is not None},
        stand_in="; ".join(dict.fromkeys(planned.stand_in for planned in table.runs if planned.stand_in)),
        paper_protocol=table.paper_protocol,
    )


def item(plan: Plan, targets: Sequence[str]) -> None:
    """Make tables and figures, each with the sidecar that says from what."""
    for target in targets:
        work, name = split_target(plan, target)
        if name not in plan.studies[work].items:
            raise unknown(f"item of {work}", name, plan.studies[work].items)
        _item(plan, work, name)


def _item(plan: Plan, work: str, name: str) -> None:
    import pandas as pd

    from robustscape.report import items

    stanza, csv = plan.studies[work].items[name], plan.item(work, name)
    sources = _inputs(*plan.sources(work, stanza))
    fingerprint = config_hash([plan.item_fingerprint(work, name), [source["sha256"] for source in sources]])
    old = _recorded(csv.with_suffix(".json"))
    files = [path for path in plan.item_files(work, name) if path.suffix != ".json"]
    if (
        old.get("fingerprint") == fingerprint
        and all(path.exists() for path in files)
        and old["outputs"] == _inputs(*files)
    ):
        return
    started = time.perf_counter()
    printed = items.read(plan.experiment.paper / f"{stanza.printed}.csv") if stanza.printed else None
    items.make(stanza, item_rows(plan, work, name), csv, printed=printed, scale=plan.experiment.scale_name)
    made = [_recorded(path.with_suffix(".json")).get("seconds", 0) for path in plan.sources(work, stanza)]
    atomic.write_json(
        csv.with_suffix(".json"),
        {
            "command": f"robustscape --scale {plan.experiment.scale_name} item {work}/{name}",
            "config": stanza.model_dump(mode="json"),
            "code": code_version("robustscape.report.items", catalog.find(stanza.kind, stanza.draw).module),
            "fingerprint": fingerprint,
            "inputs": sources,
            "outputs": _inputs(*files),
            "seconds": round(time.perf_counter() - started, 3),
            "seconds_of_measurements": round(sum(made), 3),
            "environment": environment(),
            "versions": {"pandas": pd.__version__},
        },
    )


def claims(plan: Plan) -> None:
    """Judge every claim of the plan's works."""
    import pandas as pd

    from robustscape.claims.claims import COLUMNS, verdicts

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
