"""The rate at which a descent step on a loss raises the mean margin, after an epoch: <-grad L, grad M>."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.loss_projections import margin_projections, weighted_projection

if TYPE_CHECKING:
    from robustscape.training.observers import ProbeContext


def margin_projection(
    context: ProbeContext,
    *,
    attack: AttackSpec,
    weights: dict[Literal["natural", "adversarial", "smoothness", "bridged"], float],
    bridges: Annotated[int, Field(ge=1)] = 2,
    split: Literal["train", "test"] = "test",
    samples: Annotated[int, Field(ge=1)] | None = None,
) -> float:
    """Return <-grad L, grad M> at the run's own eps (kim2023 figures 3.9 and 3.12); see ``evaluation.loss_projections``.

    Args:
        context: the model after an epoch, and the data.
        attack: makes x*.
        weights: of the terms that make L: {natural: 1, smoothness: 5} is TRADES' loss.
        bridges: m of the bridged term.
        split: which split.
        samples: first samples of the split; None for all.
    """
    x, y = context.subset(split, samples)
    by_term = margin_projections(context.model, x, y, attack, context.eps, context.seed, bridges)
    return weighted_projection(by_term, weights)
