"""Transfer of examples made on an aligned net, and on ensembles of sources and witnesses in logits: ma2025 table 6.9.

The images are those that a target and a source, ensembles too, classify correctly, and that the attack, made on each of the two,
turns into errors of the net it was made on: of each pair its own, as in table 6.3.
Cost: an attack per source (an ensemble's pass is one of every member), one per target, and the choice of learning rates.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from robustscape.attacks.ensemble import LogitEnsemble
from robustscape.config.attacks import AttackSpec
from robustscape.errors import UserError
from robustscape.evaluation.alignments import (
    base_runs,
    chosen_alignments,
    evaluated_images,
    find_base,
    row_names,
)
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun, attack_settings
from robustscape.evaluation.transfer import Outcomes, denominator_mask, transfer_outcomes


def ensemble_transfer(
    runs: list[TrainedRun],
    *,
    attack: AttackSpec,
    eps: Annotated[float, Field(gt=0)],
    targets: list[str],
    by: AttackSpec,
    by_eps: Annotated[float, Field(gt=0)],
    samples: Annotated[int, Field(ge=1)] | None = None,
    limit: Annotated[int, Field(ge=1)] | None = None,
    target_seed: int = 1,
    held_out: str = "res34",
) -> list[dict[str, Any]]:
    """Return rows error_rate (percent) by source_ensemble, target and draw (the repetition's seed).

    With two alignments of a net S towards nets W: W, S, aligned_S, S+W, 2xaligned_S and 2x(S+W), the single ones from the first.

    Args:
        runs: base nets and the aligned runs of two pairs of a source and a witness, of one data set.
        attack: makes the examples.
        eps: perturbation budget.
        targets: names of nets, whose runs have the seed ``target_seed``.
        by: attack by which learning rates are chosen.
        by_eps: its perturbation budget, one for all measurements, so that they choose the same rates.
        samples: first test images that are scanned; the last ones are kept for the choice.
        limit: at most this many images count for a target, the first ones.
        target_seed: seed of the targets.
        held_out: the net that chooses learning rates; the target's seed.

    Raises:
        UserError: there are not two alignments of one kind, or a net that is named is not among ``runs``.
    """
    base = base_runs(runs)
    chosen = chosen_alignments(runs, find_base(base, held_out, target_seed), by, by_eps)
    if len(chosen) != 2 or len({(one.source, one.witness) for one in chosen}) != 1:
        pairs = ", ".join(f"{one.source} with {one.witness}" for one in chosen)
        raise UserError(
            f"ensembles are made of two alignments of one net with one kind of witness; got {pairs or 'none'}."
        )
    first, second = chosen
    nets = {name: find_base(base, name, target_seed) for name in targets}
    x, y = evaluated_images(runs[0], samples)
    source, witness = first.source, first.witness
    rows = []
    for one, other in zip(first.repetitions, second.repetitions, strict=True):
        pair = [first.original.model, first.first_witness.model]
        sources: dict[str, tuple[TrainedRun, nn.Module]] = {
            witness: (first.first_witness, first.first_witness.model),
            source: (first.original, first.original.model),
            f"aligned_{source}": (one, one.model),
            f"{source}+{witness}": (first.original, LogitEnsemble(pair)),
            f"2xaligned_{source}": (one, LogitEnsemble([one.model, other.model])),
            f"2x({source}+{witness})": (
                first.original,
                LogitEnsemble([*pair, second.original.model, second.first_witness.model]),
            ),
        }
        outcomes = _outcomes(
            {name: net.eval() for name, (_, net) in sources.items()}, nets, x, y, attack, eps, one.seed
        )
        for target in targets:
            for name, (run, _) in sources.items():
                counted = denominator_mask(outcomes, name, f"target {target}", "pair")
                index = torch.arange(0) if counted is None else counted.nonzero().squeeze(1)[:limit]  # never None here
                rows.append(
                    {
                        **row_names(run),
                        "source_ensemble": name,
                        "target": target,
                        "draw": one.seed,
                        "metric": "error_rate",
                        "value": percent_true(~outcomes.adversarial[name, f"target {target}"][index]),
                        "unit": "percent",
                        "samples": len(index),
                        "candidates": len(y),
                        "attack": attack.attack,
                        "norm": attack.norm,
                        "attack_eps": eps,
                        "model_mode": attack.model_mode,
                        **attack_settings(attack),
                    }
                )
    return rows


def _outcomes(
    sources: dict[str, nn.Module],
    nets: dict[str, TrainedRun],
    x: torch.Tensor,
    y: torch.Tensor,
    attack: AttackSpec,
    eps: float,
    seed: int,
) -> Outcomes:
    """Return the outcomes of every source on itself and on all targets, and of every target on itself."""
    targets = {f"target {name}": net.model for name, net in nets.items()}
    parts = [
        transfer_outcomes({name: net}, {name: net, **targets}, x, y, attack, eps, seed=seed)
        for name, net in sources.items()
    ]
    parts += [
        transfer_outcomes({name: net}, {name: net}, x, y, attack, eps, seed=seed) for name, net in targets.items()
    ]
    return Outcomes(
        {name: right for part in parts for name, right in part.clean.items()},
        {pair: right for part in parts for pair, right in part.adversarial.items()},
    )
