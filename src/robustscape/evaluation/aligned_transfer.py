"""Transfer of examples made on sources before and after alignment: ma2025 tables 6.3 to 6.8 and 6.10, figure 6.1.

Examples are made once on each source, original and aligned, and evaluated on all targets (``evaluation.transfer``). Repetitions
are those of the alignment; in each, the attack on the original starts from the repetition's seed too. Image sets:

- ``pair``: images that source and target classify correctly and that the attack, made on either, turns into errors of its own
  net (section 6.5.1);
- ``pair_parity``: what the authors' published code selects in its place: images that pass an even number of these four tests;
- ``both_right``: images that source and target classify correctly (table 6.8, whose attacks do not exist for all targets);
- ``all``.

``common_images`` takes, for original and aligned source alike, the images that count for both. Cost: for each source and
repetition an attack per entry of the suite and a pass per target; for ``pair`` and ``pair_parity`` also an attack on each target;
and the choice of learning rates (``evaluation.alignments``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.config.attacks import AttackSpec, Suite
from robustscape.evaluation.alignments import (
    Alignment,
    base_runs,
    chosen_alignments,
    evaluated_images,
    find_base,
    row_names,
)
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun, attack_settings
from robustscape.evaluation.transfer import Outcomes, denominator_mask, transfer_outcomes

Images = Literal["pair", "pair_parity", "both_right", "all"]


def aligned_transfer(
    runs: list[TrainedRun],
    *,
    attacks: Suite,
    eps: Annotated[float, Field(gt=0)],
    targets: list[str],
    by: AttackSpec,
    by_eps: Annotated[float, Field(gt=0)],
    names: dict[str, str] = {},  # noqa: B006  (read from the syntax tree as a schema; never changed)
    samples: Annotated[int, Field(ge=1)] | None = None,
    limit: Annotated[int, Field(ge=1)] | None = None,
    target_seed: int = 1,
    held_out: str = "res34",
    images: list[Literal["pair", "pair_parity", "both_right", "all"]] = ["pair", "pair_parity"],  # noqa: B006
    common_images: list[bool] = [False, True],  # noqa: B006
    mean_over_targets: bool = False,
) -> list[dict[str, Any]]:
    """Return rows error_rate (percent) of originals and aligned sources, and error_rate_change (percentage points).

    Columns: source, witness ("none" for the original), witnesses (their number), alignment_loss ("none" or the distance), model
    ("original", "aligned" or "aligned_minus_original"), attack, target, images, common_images, draw (the repetition's seed), and
    candidates, the number of images that were scanned. Also white_box_error, percent of the images that a target classifies
    correctly which the attack made on itself turns into errors.

    Args:
        runs: base nets and aligned ones, of one data set.
        attacks: the attacks that make the examples.
        eps: perturbation budget.
        targets: names of nets, whose runs have the seed ``target_seed``.
        by: attack by which learning rates are chosen.
        by_eps: its perturbation budget, one for all measurements, so that they choose the same rates.
        names: attack in the suite -> its name in the column ``attack``.
        samples: first test images that are scanned; the last ones are kept for the choice.
        limit: at most this many images count for a pair, the first ones.
        target_seed: seed of the targets.
        held_out: the net that chooses learning rates; the target's seed.
        images: image sets; see above.
        common_images: whether original and aligned source share the images; several are all made.
        mean_over_targets: also a row mean_error_rate_over_targets of each.

    Raises:
        UserError: a net that is named is not among ``runs``.
    """
    base = base_runs(runs)
    chosen = chosen_alignments(runs, find_base(base, held_out, target_seed), by, by_eps)
    nets = {name: find_base(base, name, target_seed) for name in targets}
    x, y = evaluated_images(runs[0], samples)
    rows: list[dict[str, Any]] = []
    for entry, spec in attacks.attacks:
        shared = {
            "attack": names.get(entry, entry),
            "attack_function": spec.attack,
            "norm": spec.norm,
            "attack_eps": eps,
            "model_mode": spec.model_mode,
            **attack_settings(spec),
            "candidates": len(y),
        }
        scored = _Scores(nets, x, y, spec, eps, white_box=bool({"pair", "pair_parity"} & set(images)))
        pairs = [PairRows(alignment, run, scored) for alignment in chosen for run in alignment.repetitions]
        found = [row for pair in pairs for row in pair.rows(images, common_images, limit, mean_over_targets)]
        # The original of a source is the same whatever it is aligned with, on images of its own.
        distinct = {tuple(sorted((k, str(v)) for k, v in row.items())): row for row in [*found, *scored.own_rows()]}
        rows += [{**row, **shared} for row in distinct.values()]
    return rows


class _Scores:
    """Outcomes of sources on all targets, each made once."""

    def __init__(
        self, nets: dict[str, TrainedRun], x: Tensor, y: Tensor, attack: AttackSpec, eps: float, *, white_box: bool
    ) -> None:
        self.nets, self.attack, self.eps, self._x, self._y = nets, attack, eps, x, y
        self._white_box = white_box
        self._on_targets: dict[tuple[str, int], Outcomes] = {}
        self._of_sources: dict[tuple[str, int], Outcomes] = {}

    def merged(self, run: TrainedRun, seed: int) -> Outcomes:
        """Return the outcomes of examples made on ``run`` on itself ("source") and all targets, and of the targets' own."""
        key = (run.name, seed)
        if key not in self._of_sources:
            models = {"source": run.model, **{name: net.model for name, net in self.nets.items()}}
            self._of_sources[key] = transfer_outcomes(
                {"source": run.model}, models, self._x, self._y, self.attack, self.eps, seed=seed
            )
        parts = [self._of_sources[key], *(self._own(name, seed) for name in self.nets if self._white_box)]
        return Outcomes(
            {name: right for part in parts for name, right in part.clean.items()},
            {pair: right for part in parts for pair, right in part.adversarial.items()},
        )

    def _own(self, name: str, seed: int) -> Outcomes:
        """Return the outcomes of the examples made on a target on itself."""
        if (name, seed) not in self._on_targets:
            model = {name: self.nets[name].model}
            self._on_targets[name, seed] = transfer_outcomes(
                model, model, self._x, self._y, self.attack, self.eps, seed=seed
            )
        return self._on_targets[name, seed]

    def own_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the white-box errors of the targets."""
        for (name, seed), outcomes in self._on_targets.items():
            right = outcomes.clean[name]
            yield {
                **row_names(self.nets[name]),
                "target": name,
                "draw": seed,
                "metric": "white_box_error",
                "value": percent_true(~outcomes.adversarial[name, name][right]),
                "unit": "percent",
                "samples": int(right.sum()),
            }


@dataclass(frozen=True)
class PairRows:
    """An aligned run and its original, scored on all targets."""

    alignment: Alignment
    run: TrainedRun
    scored: _Scores

    def rows(
        self, images: Iterable[Images], common: Iterable[bool], limit: int | None, mean_over_targets: bool
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows of both and of their difference, and their means over the targets."""
        seed = self.run.seed
        before, after = (self.scored.merged(run, seed) for run in (self.alignment.original, self.run))
        for kind in images:
            for shared in common:
                rates: dict[str, list[float]] = {}
                for target in self.scored.nets:
                    masks = [image_mask(outcomes, target, kind) for outcomes in (before, after)]
                    if shared:
                        masks = [masks[0] & masks[1]] * 2
                    place = {"target": target, "images": kind, "common_images": shared}
                    values = {}
                    for model, outcomes, mask in zip(("original", "aligned"), (before, after), masks, strict=True):
                        index = mask.nonzero().squeeze(1)[:limit]
                        values[model] = percent_true(~outcomes.adversarial["source", target][index])
                        rates.setdefault(model, []).append(values[model])
                        yield self._row(model, shared, values[model], samples=len(index)) | place
                    change = values["aligned"] - values["original"]
                    yield self._row("aligned_minus_original", shared, change) | place
                if mean_over_targets:
                    for model, found in rates.items():
                        mean = {"metric": "mean_error_rate_over_targets", "images": kind, "common_images": shared}
                        yield self._row(model, shared, sum(found) / len(found)) | mean

    def _row(self, model: str, shared: bool, value: float, samples: int | None = None) -> dict[str, Any]:
        """A row about the original where ``model`` says so, else about the aligned run; its target is not said."""
        of_original = model == "original"
        # On images of its own an original has one row, whatever it is aligned with.
        said = not of_original or shared
        alignment = self.alignment
        return {
            **row_names(alignment.original if of_original else self.run),
            "source": alignment.source,
            "witness": alignment.witness if said else "none",
            "witnesses": len(alignment.witness_seeds) if said else 0,
            "alignment_loss": alignment.distance if said else "none",
            "model": model,
            "chosen_lr": None if of_original else alignment.lr,
            "draw": self.run.seed,
            "metric": "error_rate_change" if model == "aligned_minus_original" else "error_rate",
            "value": value,
            "unit": "percentage_points" if model == "aligned_minus_original" else "percent",
            "samples": samples,
        }


def image_mask(outcomes: Outcomes, target: str, images: Images) -> Tensor:
    """Return which images count for the pair of "source" and ``target``, bool (N,)."""
    if images == "both_right":
        return outcomes.clean["source"] & outcomes.clean[target]
    mask = denominator_mask(outcomes, "source", target, images)
    return torch.zeros_like(outcomes.clean[target]) if mask is None else mask
