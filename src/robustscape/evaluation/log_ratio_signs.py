"""How often an attack lowers the true class and raises its target, over all images, right ones and wrong ones.

kim2023 proposition 3.2 assumes p_y > p_y* and p_t < p_t* for t = argmax_{i != y} p_i*, and section 3.3.2 (figure 3.8) says that
log alpha_y = log(p_y / p_y*) is always positive and log alpha_t always negative "for all test examples". ``margins`` counts the
same among the images that are classified correctly; its module is also part of the probes of training, and each of the two
makes its own x*. Cost: the attack and 2 forward passes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.margins import Examples, measure_examples
from robustscape.evaluation.percentages import percent_true
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns


def log_ratio_signs(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    eps: Literal["run"] | float = "run",
    rel_eps: Annotated[float, Field(gt=0)] = 1.0,
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "test",
) -> list[dict[str, Any]]:
    """Return the row ``log_alpha_signs_of_all_images``: percent of all images with log alpha_y >= 0 and log alpha_t <= 0.

    A ratio of 1 counts as having the sign: a probability that single precision rounds to 1 is 1 at both points.

    Args:
        run: the trained model and its data.
        attack: makes x*.
        eps: its perturbation budget; "run" for the run's own.
        rel_eps: factor on eps.
        samples: first samples of the split; None for all.
        split: which split.
    """
    attack_eps, (x, y) = rel_eps * run.attack_eps(eps), run.subset(split, samples)
    found = measure_examples(run.model, x, craft(run.model, x, y, attack, attack_eps, seed=run.seed), y)
    shared = {**protocol_columns(attack, attack_eps, split, len(y)), "rel_eps": rel_eps}
    row = {"metric": "log_alpha_signs_of_all_images", "value": percent_of_expected_signs(found), "unit": "percent"}
    return [{**shared, **row}]


def percent_of_expected_signs(found: Examples) -> float:
    """Return how many of all images have both log ratios with the signs that an attack should give them, in percent."""
    return percent_true((found.log_alpha_true >= 0) & (found.log_alpha_target <= 0))
