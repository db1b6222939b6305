"""Flat nets and hierarchical networks of equal training under attacks on the meta-class: ma2025 section 5.6, tables 5.2-5.7.

A flat net is one run; a hierarchical network (HAR, ``models.hierarchical``) is put together from a run on meta labels and a run
on each meta-class. Both are attacked, as wholes, with the same steps:

    untargeted      PGD on the leaf class (of HAR: "PGD-HAR")
    hierarchical    algorithm 5.1, towards every leaf class outside the meta-class
    meta            of HAR alone, "PGD-Meta": PGD on its meta-classifier
    group_loss      PGD on the summed probability of the meta-class, for any net; not in the work
    worst_case      a sample counts as broken if any of these breaks its meta-class; not in the work

As in the work, untargeted and meta see all samples, the costly hierarchical attack a part of them, the attacked samples; so do
group_loss and worst_case. What compares them is of the same samples: untargeted_of_attacked and meta_of_attacked are the same
adversarial examples, of the attacked samples alone.

An untargeted step may leave a meta-class towards which no target succeeds: where hierarchical PGD leaves more samples right than
untargeted PGD does of the same ones, the column ``flag_weaker_than_untargeted`` is 1; worst_case is below both by construction.

Cost: of each network 1 forward pass and PGD (twice for HAR) of all samples, and of the attacked ones PGD and hierarchical PGD,
which is up to as many PGDs as there are classes outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import device_of
from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.group_loss_pgd import group_loss_pgd
from robustscape.attacks.hierarchical_pgd import Trial, for_each_target
from robustscape.attacks.pgd import pgd
from robustscape.attacks.pgd_meta import pgd_meta
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.errors import ConfigError
from robustscape.evaluation._meta_classes import (
    CLEAN,
    CLEAN_OF_ATTACKED,
    accuracy_rows,
    chance_row,
    fixed_places,
    hierarchy_of,
    leaf_superclasses,
    logits_of,
    meta_right,
)
from robustscape.evaluation.harness.craft import attacked_form, batches, craft, default_batch_size
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns
from robustscape.models.hierarchical import HierarchicalNetwork

#: Criterion of ``hierarchical_pgd`` -> the metric of the samples that survive it. The first is the one of the tables.
METRIC_OF_CRITERION = {
    "superclass": "meta_accuracy",
    "target_superclass": "meta_accuracy_target_meta",
    "target": "meta_accuracy_strict",
}

#: Parameters of PGD that its variants for meta-classes share.
_SHARED = ("steps", "step_size", "rel_step_size")


@dataclass(frozen=True)
class Network:
    """What is attacked: a flat net or a hierarchical network."""

    name: str
    """"flat" or "har"."""
    model: nn.Module
    columns: dict[str, Any]
    """The columns by which its rows name its runs."""


@dataclass(frozen=True)
class Samples:
    """Test samples and how they are attacked."""

    x: Tensor
    y: Tensor
    places: Tensor
    """Their places in the test split, which their random streams belong to."""
    superclass: list[int]
    eps: float
    seed: int

    def select(self, places: Tensor) -> Samples:
        """Return those at ``places`` of the split, if these are all of it."""
        return Samples(self.x[places], self.y[places], places, self.superclass, self.eps, self.seed)


def hierarchical_robustness(
    runs: list[TrainedRun],
    *,
    attacks: Suite,
    eps: float,
    samples: Annotated[int, Field(ge=1)] | None = None,
    attacked_samples: Annotated[int, Field(ge=1)] | None = None,
) -> list[dict[str, Any]]:
    """Return rows meta_accuracy (percent) by network, attack family and attack, and what goes with them.

    The column ``network`` is flat or har; ``attack_family`` is clean or one of those above; ``attack`` is clean,
    clean_of_attacked (of those samples alone) or PGD with its steps, such as pgd200. Clean and untargeted rows have the metrics
    of ``_meta_classes.accuracy_rows``, and the flat net's clean ones the share of errors that chance keeps in their meta-class.
    Hierarchical ones have three readings of success (see ``hierarchical_pgd``): meta_accuracy, where any wrong meta-class is
    one, as "it remains correct at the meta-class level" says; meta_accuracy_target_meta; and meta_accuracy_strict, algorithm 5.1
    as printed. In all three a sample whose clean prediction lies in a wrong meta-class counts as broken. Rows of the network
    ``paired`` count the samples whose meta-class one network alone has right under hierarchical PGD: only_har_right and
    only_flat_right.

    Args:
        runs: one seed and one way to train: a run on all leaf classes, whose test split is used, and, for HAR, one on meta labels
            and one on each meta-class.
        attacks: PGD with several numbers of steps; each gives the steps, step size, norm and range of all attacks.
        eps: perturbation budget of all of them.
        samples: first test samples, which the clean rows and those of untargeted and meta are of; None for all.
        attacked_samples: as many of them, drawn once and for all, see the other attacks; None for all.

    Raises:
        ConfigError: the runs are not those of one flat net and at most one whole hierarchical network, or an attack is not PGD.
    """
    _refuse_other_attacks(attacks)
    flat = _flat_run(runs)
    networks = [Network("flat", flat.model, {k: flat.names[k] for k in ("dataset", "architecture")})]
    parts = [run for run in runs if run is not flat]
    if parts:
        networks.append(_hierarchical_network(flat, parts))
    x, y = flat.subset("test", samples)
    whole = Samples(x, y, torch.arange(len(y)), leaf_superclasses(flat), eps, flat.seed)
    attacked = whole.select(fixed_places(len(y), attacked_samples).to(y.device))
    rows: list[dict[str, Any]] = []
    survivors: dict[str, dict[str, Tensor]] = {}
    for network in networks:
        clean = logits_of(network.model, x, y)
        chance = [chance_row(y, whole.superclass)] if network.name == "flat" else []
        of_whole = [*accuracy_rows(clean, y, whole.superclass), *chance]
        of_attacked = accuracy_rows(clean[attacked.places], attacked.y, whole.superclass)
        rows += [{**_of(network, CLEAN, CLEAN, whole), **row} for row in of_whole]
        rows += [{**_of(network, CLEAN, CLEAN_OF_ATTACKED, attacked), **row} for row in of_attacked]
        right = meta_right(clean[attacked.places], attacked.y, whole.superclass)
        for _, spec in attacks.attacks:
            found = _attack_network(network, whole, attacked, right, spec)
            rows += found.rows
            survivors.setdefault(_name(spec), {})[network.name] = found.hierarchical
    for attack, of_networks in survivors.items():
        rows += _paired_rows(of_networks, attack, len(attacked.y))
    return rows


# -- which runs --------------------------------------------------------------------------------------------------------


def _refuse_other_attacks(attacks: Suite) -> None:
    for name, spec in attacks.attacks:
        if spec.attack != pgd.__name__:
            raise ConfigError(f"hierarchical_robustness: attack '{name}' is {spec.attack}; allowed is pgd.")


def _flat_run(runs: Sequence[TrainedRun]) -> TrainedRun:
    flat = [run for run in runs if hierarchy_of(run)[1] == "leaves"]
    if len(flat) != 1:
        raise ConfigError(
            f"hierarchical_robustness: {len(flat)} of the runs are trained on all leaf classes; there must be one flat net in a "
            "group (see 'by')."
        )
    return flat[0]


def _hierarchical_network(flat: TrainedRun, parts: Sequence[TrainedRun]) -> Network:
    """Return the network made of runs on the meta labels and on each meta-class of the data of ``flat``."""
    hierarchy = hierarchy_of(flat)[0]
    wanted = ["meta", *range(len(hierarchy))]
    if any(hierarchy_of(run)[0] != hierarchy for run in parts):
        raise ConfigError("hierarchical_robustness: the runs are of several hierarchies.")
    by_part = {hierarchy_of(run)[1]: run for run in parts}
    if len(by_part) != len(parts) or set(by_part) != set(wanted):
        has = ", ".join(str(hierarchy_of(run)[1]) for run in parts)
        raise ConfigError(
            "hierarchical_robustness: a hierarchical network needs one run of each of the parts meta and 0 to "
            f"{len(hierarchy) - 1}; the runs are of {has}."
        )
    sizes = [len(leaves) for leaves in hierarchy.values()]
    model = HierarchicalNetwork(by_part["meta"].model, [by_part[i].model for i in range(len(sizes))], sizes).eval()
    # Rows of several runs name no data set, so that all of them count for their health.
    columns = {"dataset": None, "architecture": by_part["meta"].names["architecture"]}
    return Network("har", model.to(flat.device), columns)


# -- attacks on one network --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Attacked:
    rows: list[dict[str, Any]]
    hierarchical: Tensor
    """The samples whose meta-class survives hierarchical PGD, bool (N,)."""


def _attack_network(network: Network, whole: Samples, attacked: Samples, clean: Tensor, spec: AttackSpec) -> _Attacked:
    """Return the rows of all attacks with the steps of ``spec``.

    Args:
        network: what is attacked.
        whole: the samples that untargeted and meta see.
        attacked: those of them that the others see.
        clean: which of ``attacked`` have the right meta-class clean, bool.
        spec: PGD.
    """
    superclass = whole.superclass

    def crafted(attack: AttackSpec, samples: Samples) -> Tensor:
        x, y = samples.x, samples.y
        points = craft(network.model, x, y, attack, samples.eps, seed=samples.seed, index=samples.places)
        return logits_of(network.model, points, y)

    def columns(family: str, samples: Samples) -> dict[str, Any]:
        protocol = protocol_columns(spec, samples.eps, "test", len(samples.y))
        return {**protocol, **_of(network, family, _name(spec), samples)}

    def survive(attack: str, samples: Samples) -> Tensor:
        return meta_right(crafted(variant_of(spec, attack, superclass), samples), samples.y, superclass)

    untargeted = crafted(spec, whole)
    part = untargeted[attacked.places]
    right = {CLEAN: clean, "untargeted": meta_right(part, attacked.y, superclass)}
    rows = [{**columns("untargeted", whole), **row} for row in accuracy_rows(untargeted, whole.y, superclass)]
    rows += [
        {**columns("untargeted_of_attacked", attacked), **row} for row in accuracy_rows(part, attacked.y, superclass)
    ]

    survivors = hierarchical_survivors(network.model, attacked, spec, clean)
    right["hierarchical"] = survivors["superclass"]
    weaker = int(survivors["superclass"].sum() > right["untargeted"].sum())
    for criterion, metric in METRIC_OF_CRITERION.items():
        flag = {"flag_weaker_than_untargeted": weaker} if metric == "meta_accuracy" else {}
        rows.append({**columns("hierarchical", attacked), **_percent(metric, survivors[criterion]), **flag})

    right["group_loss"] = survive(group_loss_pgd.__name__, attacked)
    rows.append({**columns("group_loss", attacked), **_percent("meta_accuracy", right["group_loss"])})
    if isinstance(network.model, HierarchicalNetwork):
        of_whole = survive(pgd_meta.__name__, whole)
        right["meta"] = of_whole[attacked.places]
        rows.append({**columns("meta", whole), **_percent("meta_accuracy", of_whole)})
        rows.append({**columns("meta_of_attacked", attacked), **_percent("meta_accuracy", right["meta"])})
    survive_all = torch.stack(list(right.values())).all(0)
    rows.append({**columns("worst_case", attacked), **_percent("meta_accuracy", survive_all)})
    return _Attacked(rows, survivors["superclass"])


def variant_of(spec: AttackSpec, attack: str, superclass: list[int]) -> AttackSpec:
    """Return an attack on the superclass with the steps, step size, start, norm and range of a PGD."""
    parameters = {key: spec.parameters[key] for key in (*_SHARED, "random_start")}
    protocol = {"norm": spec.norm, "bounds": spec.bounds, "model_mode": spec.model_mode}
    return AttackSpec.model_validate(
        {"attack": attack, **protocol, "parameters": {**parameters, "superclass": superclass}}
    )


def hierarchical_survivors(
    model: nn.Module, samples: Samples, spec: AttackSpec, clean: Tensor, *, batch_size: int | None = None
) -> dict[str, Tensor]:
    """Return criterion of ``hierarchical_pgd`` -> the samples that survive it, bool (N,), from the same trials.

    Samples whose clean prediction lies in a wrong meta-class are none of them. Every tried point is checked (contract 8).

    Args:
        model: log-probabilities or logits (B, C) from inputs (B, ...).
        samples: what is attacked.
        spec: PGD, with the steps towards a target.
        clean: which samples have the right meta-class clean, bool (N,).
        batch_size: samples of a pass; None: what suits the device.
    """
    attacked = attacked_form(model, samples.x, samples.y, "fp32", train=spec.model_mode == "train")
    survive = {criterion: clean.clone() for criterion in METRIC_OF_CRITERION}
    if samples.eps == 0:
        return survive
    threat, device = ThreatModel(spec.norm, samples.eps, spec.bounds), device_of(attacked, samples.x)
    for batch in batches(torch.arange(len(samples.y)), batch_size or default_batch_size(model, samples.x)):
        x, y = samples.x[batch].to(device), samples.y[batch].to(device)

        def visit(trial: Trial, batch: Tensor = batch, x: Tensor = x, y: Tensor = y) -> Tensor:
            threat.check(trial.point, x[trial.rows])
            successes = trial.successes(samples.superclass, y)
            for criterion, met in successes.items():
                survive[criterion][batch[trial.rows[met].to(batch.device)].to(clean.device)] = False
            return successes["target"]

        for_each_target(
            attacked,
            x,
            y,
            threat,
            SampleGenerator.seeded(samples.seed, samples.places[batch.to(samples.places.device)], device),
            visit,
            superclass=samples.superclass,
            **{key: spec.parameters[key] for key in _SHARED},
        )
    attacked.refuse_nan("hierarchical_pgd")
    return survive


# -- rows --------------------------------------------------------------------------------------------------------------


def _name(spec: AttackSpec) -> str:
    return f"{spec.attack}{spec.parameters['steps']}"


def _of(network: Network, family: str, attack: str, samples: Samples) -> dict[str, Any]:
    """Return the columns that say what a row is of."""
    named = {"network": network.name, "attack_family": family, "attack": attack}
    return {**network.columns, **named, "split": "test", "samples": len(samples.y), "seed": samples.seed}


def _percent(metric: str, mask: Tensor) -> dict[str, Any]:
    return {"metric": metric, "value": percent_true(mask), "unit": "percent"}


def _paired_rows(survivors: dict[str, Tensor], attack: str, count: int) -> Iterator[dict[str, Any]]:
    """Yield the two counts of a McNemar test of the networks under hierarchical PGD, if there are two."""
    if "har" not in survivors:
        return
    har, flat = survivors["har"], survivors["flat"]
    named = {
        "dataset": None,
        "architecture": None,
        "network": "paired",
        "attack_family": "hierarchical",
        "attack": attack,
    }
    for metric, mask in (("only_har_right", har & ~flat), ("only_flat_right", flat & ~har)):
        yield {**named, "samples": count, "metric": metric, "value": int(mask.sum()), "unit": "1"}
