"""Margins and smoothness of every example, and the decomposition of the error that follows from them.

kim2023 part B of chapter 3, equations 3.16, 3.20 and 3.25. M(x) = p_y(x) - max_{i != y} p_i(x) is positive where x is
classified correctly. With x* from an attack, the signs of (M(x), M(x*)) make four quadrants: I robust, II (wrong, yet right when
attacked), III wrong, IV right but not robust. Then

    R_nat = II + III,    R_bdy = IV,    R_rob = R_nat + R_bdy

so that a sample counts as robust only if it is right at both points.

Proposition 3.2 assumes p_y > p_y* and p_t < p_t* for t = argmax_{i != y} p_i*, and section 3.3.2 (figure 3.8) says that
log alpha_y = log(p_y / p_y*) is always positive and log alpha_t always negative "for all test examples". Cost: the attack and 2
forward passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.gradients import Classifier, frozen_copy, predict
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation._method_columns import method_columns
from robustscape.evaluation.harness.craft import BATCH_SIZE, craft
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.smoothness import divergence, log_ratios
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns


@dataclass(frozen=True)
class Examples:
    """Five quantities of N samples, each (N,): margins at x and x*, KL(p(x) || p(x*)), log alpha of true and target class."""

    clean: Tensor
    attacked: Tensor
    kl: Tensor
    log_alpha_true: Tensor
    log_alpha_target: Tensor


def margins(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    eps: Literal["run"] | float = "run",
    rel_eps: Annotated[float, Field(gt=0)] = 1.0,
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "test",
    examples: bool = True,
) -> list[dict[str, Any]]:
    """Return the means of the quantities of ``Examples``, and errors in percent; with ``examples`` also rows per sample.

    Args:
        run: the trained model and its data.
        attack: makes x*.
        eps: its perturbation budget; "run" for the run's own.
        rel_eps: factor on eps.
        samples: first samples of the split; None for all.
        split: which split.
        examples: whether each sample has rows of its own, with its number as ``index``.
    """
    attack_eps, (x, y) = rel_eps * run.attack_eps(eps), run.subset(split, samples)
    found = measure_examples(run.model, x, craft(run.model, x, y, attack, attack_eps, seed=run.seed), y)
    shared = {**method_columns(run), **protocol_columns(attack, attack_eps, split, len(y)), "rel_eps": rel_eps}
    measured = {
        "margin": found.clean,
        "margin_attacked": found.attacked,
        "kl_smoothness": found.kl,
        "log_alpha_true": found.log_alpha_true,
        "log_alpha_target": found.log_alpha_target,
        "minus_log_alpha_target": -found.log_alpha_target,  # as figure 3.8 draws it
    }
    rows = [
        {"metric": f"mean_{name}", "value": v.double().mean().item(), "unit": _unit(name)}
        for name, v in measured.items()
    ]
    mean_kl = found.kl.double().mean().item()
    rows.append({"metric": "inverse_mean_kl", "value": 1 / mean_kl if mean_kl else float("inf"), "unit": "1"})
    rows += [{"metric": name, "value": value, "unit": "percent"} for name, value in error_decomposition(found).items()]
    if examples:
        rows += [
            {"index": i, "metric": name, "value": value, "unit": _unit(name)}
            for name, values in measured.items()
            for i, value in enumerate(values.tolist())
        ]
    return [{**shared, **row} for row in rows]


def measure_examples(model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Examples:
    """Return the five quantities at ``x`` and ``x_adv`` (N, ...), with labels ``y`` (N,), of a model in eval mode."""
    net = frozen_copy(model, x)
    log_p, log_q = (
        torch.cat([predict(net, part) for part in points.split(BATCH_SIZE)]).log_softmax(1) for points in (x, x_adv)
    )
    true, target = log_ratios(log_p, log_q, y)
    return Examples(
        probabilistic_margin(log_p.exp(), y),
        probabilistic_margin(log_q.exp(), y),
        divergence(log_p, log_q),
        true,
        target,
    )


def probabilistic_margin(p: Tensor, y: Tensor) -> Tensor:
    """Return M = p_y - max_{i != y} p_i of each sample, (N,) in [-1, 1], from probabilities (N, C); differentiable."""
    others = p.scatter(1, y[:, None], -torch.inf)
    return p.gather(1, y[:, None]).squeeze(1) - others.amax(1)


def error_decomposition(found: Examples) -> Mapping[str, float]:
    """Return errors, accuracy, quadrant II, and how often the log ratios have the signs that an attack should give them.

    In percent of all samples; the log ratios also in percent of those classified correctly, NaN without any. A ratio of 1
    counts as having its sign: a probability that single precision rounds to 1 is 1 at both points.
    """
    right, right_attacked = found.clean > 0, found.attacked > 0
    robust = right & right_attacked
    expected = (found.log_alpha_true >= 0) & (found.log_alpha_target <= 0)
    masks = {
        "natural_error": ~right,
        "boundary_error": right & ~right_attacked,
        "robust_error": ~robust,
        "quadrant_2": ~right & right_attacked,
        "accuracy": robust,
        "log_alpha_signs_of_all_images": expected,
    }
    result = {name: percent_true(mask) for name, mask in masks.items()}
    return {**result, "log_alpha_signs_as_expected": percent_true(expected[right])}


def _unit(name: str) -> str:
    return "1" if name.startswith("margin") else "nats"
