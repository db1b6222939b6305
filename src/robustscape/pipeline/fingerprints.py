"""Fingerprints: everything a result depends on, as one hash (contract 4). Pure functions of configuration and code; no torch.

A job's fingerprint is known before anything runs: the configuration keys that are read, and the code that runs. The plan gives
it to Snakemake, which runs a job again when it changes. A step completes it with the content that exists only by then (the
hash of the data, the weights or the tables it reads: ``complete_fingerprint``) and writes it into the record of the result. A
comment, or a key that is not read, changes neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robustscape import catalog
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.config.checks import READS_LOGS
from robustscape.config.datasets import DatasetEntry
from robustscape.config.experiment import Experiment, Run, kind_and_name, recipe_attacks
from robustscape.config.studies import Comparison, Item, Measurement, Study, Theory
from robustscape.data.raw_files import hash_raw_files
from robustscape.pipeline.plan import Group, Plan
from robustscape.storage.provenance import code_version, config_hash, file_hash, looked_up_kinds
from robustscape.storage.run_files import HEALTH


def combine_fingerprints(fingerprints: Sequence[str]) -> str:
    """Return the fingerprint of a job that makes several results."""
    return config_hash(fingerprints)


def complete_fingerprint(fingerprint: str, contents: Sequence[Any]) -> str:
    """Return the fingerprint of a result: that of its job, and the hashes of the content that the job has read."""
    return config_hash([fingerprint, contents])


def contents_of_run(entry: Measurement | Comparison, run_record: Mapping[str, Any], weights: str) -> list[Any]:
    """Return the hashes of the files of a run that a measurement reads, as the run's record has them.

    Those are its weights (all that are kept), and for what reads the logs of training or trains again every file but its
    health; the first is that of ``weights``, None where the run is not there.
    """
    files = {name: sha256 for name, sha256 in run_record.get("files", {}).items() if name != HEALTH}
    read = files if reads_logs(entry) else {name: files[name] for name in files if name.endswith(".safetensors")}
    return [run_record.get("checkpoints", {}).get(weights), sorted(read.items())]


def reads_logs(entry: Measurement | Comparison) -> bool:
    """Return whether a measurement reads the logs of training, or trains again from what training has kept."""
    return catalog.find_entry(*kind_and_name(entry)).folder in READS_LOGS


# -- data sets and runs ------------------------------------------------------------------------------------------------


def dataset_fingerprint(entry: DatasetEntry, downloads: Path) -> str:
    """Return what a prepared data set depends on; of the files below ``downloads``, those that the data set declares."""
    module = catalog.find_entry("dataset", entry.dataset).module
    code = code_version("robustscape.pipeline.steps.prepare", module)
    files = hash_raw_files(entry, downloads)
    return config_hash([entry.model_dump(mode="json", exclude={"about"}), code, *([files] if files else [])])


def recipe_modules(experiment: Experiment, run: Run) -> dict[str, set[str]]:
    """Return the modules of the functions that a run's recipe and architecture name, by their kind in the catalogue."""
    recipe = experiment.recipes[run.recipe]
    net = experiment.architectures[run.architecture].architecture
    if run.recipe in experiment.checkpoints:
        recipe_kinds: dict[str, set[str]] = {kind: set() for kind in (*_OF_RECIPES, "attack")}
        return {**recipe_kinds, "architecture": {catalog.find_entry("architecture", net).module}}
    names: dict[str, set[str]] = {
        "method": {recipe.method, *(phase.method for phase in recipe.phases if phase.method)},
        "optimizer": {recipe.optimizer.name, *(phase.optimizer.name for phase in recipe.phases if phase.optimizer)},
        "architecture": {net},
        "probe": {probe.name for probe in recipe.probes.values()},
        "trace": {trace.name for trace in recipe.traces.values()},
        "attack": {experiment.attacks[name].attack for name in recipe_attacks(recipe)},
    }
    return {kind: {catalog.find_entry(kind, name).module for name in found} for kind, found in names.items()}


def training_modules(experiment: Experiment, run: Run) -> set[str]:
    """Return the modules that train a run and measure its health: the step, and the functions its recipe names."""
    step = "outside" if run.recipe in experiment.checkpoints else "align" if experiment.aligned_runs(run) else "train"
    return {f"robustscape.pipeline.steps.{step}"}.union(*recipe_modules(experiment, run).values())


def training_code(experiment: Experiment, run: Run) -> str:
    """Return the version of the code that trains a run and measures its health."""
    version = code_version(*training_modules(experiment, run))
    recorded = experiment.recorded_run(run)
    read = [*([recorded] if recorded else []), *experiment.aligned_runs(run)]
    return config_hash([version, *(training_code(experiment, source) for source in read)]) if read else version


def run_fingerprint(experiment: Experiment, run: Run) -> str:
    """Return what a trained run depends on, the content of its data aside."""
    return config_hash([experiment.run_config(run), training_code(experiment, run)])


def trained_fingerprint(experiment: Experiment, run: Run, data: str | None, origins: Sequence[str | None] = ()) -> str:
    """Return the fingerprint of a trained run.

    Args:
        experiment: of the run.
        run: the run.
        data: SHA-256 of its prepared data.
        origins: of an aligned run the hashes of the weights that it starts from and reads, in their order.
    """
    return complete_fingerprint(run_fingerprint(experiment, run), [data, *origins])


# -- measurements, comparisons, theory ---------------------------------------------------------------------------------


def plain_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments as JSON-ready values, without the remarks (``about``) of attacks."""
    return {name: _plain_argument(value) for name, value in arguments.items()}


def _plain_argument(value: Any) -> Any:
    if isinstance(value, AttackSpec):
        return value.model_dump(mode="json", exclude={"about"})
    if isinstance(value, Suite):
        return {"name": value.name, "attacks": [[name, _plain_argument(spec)] for name, spec in value.attacks]}
    if isinstance(value, Mapping):
        return plain_arguments(value)
    return [_plain_argument(v) for v in value] if isinstance(value, (list, tuple)) else value


#: Kinds of functions that code names by a recipe, where it looks for them.
_OF_RECIPES = {"method", "optimizer", "probe", "trace"}


def measurement_modules(
    experiment: Experiment, entry: Measurement | Comparison, arguments: Mapping[str, Any], runs: Iterable[Run]
) -> set[str]:
    """Return the modules that measure runs: the step, the measurement, its attacks, the runs' architectures.

    What the measurement finds through the catalogue by the runs' recipes counts too: optimizers that are timed, or all that
    trains where an epoch is trained again. The code of a lower precision counts only where the arguments ask for one.
    """
    step = "compare" if isinstance(entry, Comparison) else "evaluate"
    modules = {f"robustscape.pipeline.steps.{step}", catalog.find_entry(*kind_and_name(entry)).module}
    looked_up = looked_up_kinds(*modules) & _OF_RECIPES
    modules |= {catalog.find_entry("attack", spec.attack).module for spec in _attack_specs(arguments.values())}
    for run in runs:
        named = recipe_modules(experiment, run)
        kinds = {"architecture", *looked_up, *(["attack"] if "method" in looked_up else [])}
        modules = modules.union(*(named[kind] for kind in kinds))
    precision = arguments.get("precision", "fp32")
    if precision != "fp32":
        modules.add(catalog.find_entry("precision", precision).module)
    return modules


def measurement_code(
    experiment: Experiment, entry: Measurement | Comparison, arguments: Mapping[str, Any], runs: Iterable[Run]
) -> str:
    """Return the version of the code that measures runs."""
    return code_version(*measurement_modules(experiment, entry, arguments, runs))


def _attack_specs(values: Iterable[Any]) -> list[AttackSpec]:
    """Return the attack specifications among the arguments of a measurement."""
    found = []
    for value in values:
        if isinstance(value, AttackSpec):
            found.append(value)
        elif isinstance(value, Suite):
            found += [spec for _, spec in value.attacks]
        elif isinstance(value, (list, tuple)):
            found += _attack_specs(value)
    return found


def measurement_fingerprint(experiment: Experiment, entry: Measurement, arguments: Mapping[str, Any], run: Run) -> str:
    """Return what a measurement of a run depends on, the content of its weights aside.

    Args:
        experiment: the configuration.
        entry: the measurement's stanza.
        arguments: its keyword arguments at this scale (``Plan.arguments``).
        run: the run that is measured.
    """
    code = measurement_code(experiment, entry, arguments, [run])
    return config_hash([entry.measure, entry.weights, plain_arguments(arguments), code])


def comparison_fingerprint(
    experiment: Experiment, entry: Comparison, arguments: Mapping[str, Any], group: Group
) -> str:
    """Return what a comparison of a group of runs depends on, the content of their weights aside."""
    code = measurement_code(experiment, entry, arguments, group.runs)
    keys = [run.key for run in group.runs]
    return config_hash([entry.compare, entry.weights, group.factors, keys, plain_arguments(arguments), code])


def theory_modules(entry: Theory) -> set[str]:
    """Return the modules of a theory check: the step, and the check."""
    return {"robustscape.pipeline.steps.theory", catalog.find_entry("theory", entry.check).module}


def theory_code(entry: Theory) -> str:
    """Return the version of the code of a theory check."""
    return code_version(*theory_modules(entry))


def theory_fingerprint(entry: Theory, parameters: Mapping[str, Any]) -> str:
    """Return what a theory check depends on; ``parameters`` are those of the scale."""
    return config_hash([entry.check, dict(parameters), theory_code(entry)])


# -- items, claims, report ---------------------------------------------------------------------------------------------


def item_modules(item: Item) -> set[str]:
    """Return the modules that make a table or figure: the step, and the drawing."""
    return {"robustscape.pipeline.steps.item", catalog.find_entry(item.kind, item.draw).module}


def item_code(item: Item) -> str:
    """Return the version of the code that makes a table or figure."""
    return code_version(*item_modules(item))


def item_fingerprint(plan: Plan, work: str, name: str) -> str:
    """Return what an item depends on, the content of its tables aside."""
    item, experiment = plan.studies[work].items[name], plan.experiment
    labels = [
        [[p.dataset, p.architecture, p.eps, p.run.key, experiment.factors[p.run.recipe]] for p in table.runs]
        + [table.paper_protocol, sorted(experiment.recipe_names(work, source.runs or []))]
        for source in item.rows
        for table in plan.tables(work, source.of)
    ]
    health = experiment.scale.health if any(table.runs for table in plan.item_tables(work, item)) else None
    return config_hash([item.model_dump(mode="json", exclude={"claims"}), labels, health, item_code(item)])


def claims_fingerprint(studies: Mapping[str, Study]) -> str:
    """Return what the verdicts depend on, the content of the items aside."""
    claims = [
        [work, name, claim.model_dump(mode="json")]
        for work, study in studies.items()
        for name, item in study.items.items()
        for claim in item.claims
    ]
    return config_hash([claims, code_version("robustscape.pipeline.steps.claims")])


def report_fingerprint(studies: Mapping[str, Study]) -> str:
    """Return what the report page depends on, the content of items and verdicts aside."""
    texts = [
        [
            s.title,
            s.reference,
            [[i.title, i.caption, [[c.holds, c.let, c.given] for c in i.claims]] for i in s.items.values()],
        ]
        for s in studies.values()
    ]
    templates = [file_hash(path) for path in sorted((catalog.PACKAGE / "report" / "templates").iterdir())]
    return config_hash([texts, templates, code_version("robustscape.pipeline.steps.report")])
