"""ma2025 figure 4.7: gradient descent, signGD, RMSProp and Adam on the regression with an irrelevant frequency."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.ma2025._frequency_regression import (
    Array,
    a_and_b,
    adversarial_risk,
    covariance,
    dct_matrix,
    descent_error,
    minimiser_risk,
    standard_risk,
    to_frequency,
    to_spatial,
)
from robustscape.theory.ma2025._generic_optimizer import ADAM, RMSPROP, SIGN_DESCENT
from robustscape.theory.ma2025._sign_descent import descent_before_oscillation
from robustscape.theory.ma2025.irrelevant_weight_growth import predicted_ratio

#: In the order of the panels.
OPTIMIZERS = ("gd", "signgd", "adam", "rmsprop")
GRADIENTS = ("population", "sampled")
CLOSED_FORM = "closed_form"
#: Standard risk below which training counts as done.
DONE = 1e-3

Rows = list[dict[str, Any]]


def four_optimizers(
    *,
    variances: tuple[float, float, float] = (0.01, 0.0025, 0.0),
    target: tuple[float, float, float] = (5.0, 10.0, 0.0),
    start: tuple[float, float, float] = (0.01, -0.01, 0.02),
    rate: Annotated[float, Field(gt=0)] = 0.01,
    samples: Annotated[int, Field(ge=2)] = 1000,
    steps: Annotated[int, Field(ge=1000)] = 200_000,
    eps: Annotated[float, Field(gt=0)] = 2**0.5,
    points: Annotated[int, Field(ge=3)] = 160,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return errors |e~_i| and risks over iterations, with the gradient of the population and of fresh samples, and closed forms.

    Training is in the spatial domain. The optimizers have PyTorch's defaults but for the learning rate; signGD and RMSProp
    are the general form (4.2), Adam has its bias correction too. All see the same samples. Closed forms are (4.12) for
    gradient descent, the path before T for signGD, and its risk (4.17) from T on. Of each: first_oscillation, the first
    iteration with |e~_0| < sqrt(3) eta; iterations_to_learn, the first with a standard risk below 1e-3; irrelevant_change,
    the largest |w~_2(t) - w~_2(0)|; irrelevant_reversal, by how much e~_2 turns back before T; drift_after_oscillation; final
    risks; risk_ratio, the final adversarial risk over that of gradient descent. ``setting`` and ``stated_value`` are what the
    work prints.

    Args:
        variances: s, of the input in the frequency domain; s_2 = 0.
        target: w~*.
        start: w~(0).
        rate: learning rate of all.
        samples: of an iteration.
        steps: iterations; the work does not say how many.
        eps: radius of the adversarial risk.
        points: iterations drawn, evenly spaced in their logarithm.
        seed: of the samples.
    """
    s, goal, first = (np.array(part) for part in (variances, target, start))
    moments = sampled_moments(s, samples, steps, np.random.default_rng(seed))
    path = to_frequency(train_optimizers(to_spatial(first - goal), s, moments, rate))
    drawn = np.unique(np.geomspace(1, steps, points).round().astype(int))
    rows: Rows = []
    forms = closed_forms(path, s, rate)
    for kind, gradient in enumerate(GRADIENTS):
        for number, optimizer in enumerate(OPTIMIZERS):
            errors, common = path[:, kind, number], {"optimizer": optimizer, "gradient": gradient, "unit": "1"}
            rows += _curve_rows(errors, goal, s, eps, drawn, common)
            rows += _outcome_rows(errors, goal, s, rate, eps, common)
            if gradient == "population" and optimizer in forms:
                form = forms[optimizer]
                off = float(np.abs(errors[: len(form)] - form).max())
                rows.append({**common, "metric": "largest_closed_form_error", "value": off})
                own = {**common, "gradient": CLOSED_FORM}
                rows += _curve_rows(form, goal, s, eps, drawn[drawn < len(form)], own)
    limit = minimiser_risk(np.where(s > 0, goal, forms["signgd"][-1] + goal), eps)
    after = drawn[drawn >= len(forms["signgd"])]
    own = {"optimizer": "signgd", "gradient": CLOSED_FORM, "unit": "1"}
    rows += [{**own, "metric": "adversarial_risk", "iteration": int(t), "value": float(limit)} for t in after]
    rows.append({**own, "metric": "final_adversarial_risk", "value": float(limit)})
    rows += _ratio_rows(rows)
    return rows + _stated_rows(rows, s, goal, first, rate, samples, eps)


def sampled_moments(s: Array, samples: int, steps: int, generator: np.random.Generator) -> Array:
    """Return X^T X / n of ``steps`` fresh draws of n ``samples`` in the spatial domain (steps, 3, 3), s_2 = 0.

    Two relevant frequencies: X~^T X~ has a Wishart distribution, drawn by its Bartlett factor in place of the n inputs.
    """
    top, low = (np.sqrt(generator.chisquare(samples - lost, steps)) for lost in (0, 1))
    factor = np.zeros((steps, 3, 3))
    factor[:, 0, 0] = math.sqrt(s[0]) * top
    factor[:, 1, 0] = math.sqrt(s[1]) * generator.standard_normal(steps)
    factor[:, 1, 1] = math.sqrt(s[1]) * low
    c = dct_matrix(3)
    spatial = c.T @ factor
    return np.asarray(spatial @ spatial.transpose(0, 2, 1) / samples)


def train_optimizers(error: Array, s: Array, moments: Array, rate: float) -> Array:
    """Return the errors (steps + 1, 2, 4, 3) of ``OPTIMIZERS`` from ``error`` (3,), in the spatial domain.

    The second axis is ``GRADIENTS``: Sigma e, and the second moment of each step's samples times e, of ``moments`` (steps, 3,
    3).
    """
    path = np.empty((len(moments) + 1, 2, 4, 3))
    path[0] = error
    settings = (SIGN_DESCENT, ADAM, RMSPROP)
    memories = [setting.start(path[0, :, 0]) for setting in settings]
    both = np.stack([covariance(s), moments[0]])
    for t, moment in enumerate(moments):
        both[1] = moment
        gradient = path[t] @ both
        path[t + 1, :, 0] = path[t, :, 0] - rate * gradient[:, 0]
        for number, setting in enumerate(settings):
            step, memories[number] = setting.step(memories[number], gradient[:, number + 1])
            path[t + 1, :, number + 1] = path[t, :, number + 1] - rate * step
    return path


def closed_forms(path: Array, s: Array, rate: float) -> dict[str, Array]:
    """Return the errors e~ (t, 3) of gradient descent (4.12) at every step of ``path``, and of signGD up to T."""
    start = path[0, 0, 0]
    last = first_oscillation(path[:, 0, OPTIMIZERS.index("signgd")], rate)
    return {
        "gd": descent_error(start, s, rate, np.arange(len(path))),
        "signgd": descent_before_oscillation(start, s, rate, np.arange(last + 1)),
    }


def first_oscillation(errors: Array, rate: float) -> int:
    """Return T, the first iteration with |e~_0| < sqrt(3) eta, of errors (t, 3); the last one if there is none."""
    inside = np.abs(errors[:, 0]) < math.sqrt(3) * rate
    return int(inside.argmax()) if inside.any() else len(errors) - 1


def _curve_rows(errors: Array, goal: Array, s: Array, eps: float, drawn: Any, common: dict[str, Any]) -> Rows:
    """Rows of |e~_i| and of both risks at the iterations ``drawn``, to six digits."""
    rows: Rows = []
    for t in drawn.tolist():
        now = errors[t]
        numbers: list[tuple[dict[str, Any], float]] = [
            ({"metric": "abs_freq_error", "frequency": f"e{i}"}, abs(float(now[i]))) for i in range(3)
        ]
        numbers.append(({"metric": "standard_risk"}, float(standard_risk(now, s))))
        numbers.append(({"metric": "adversarial_risk"}, float(adversarial_risk(now, goal, s, eps))))
        rows += [{**common, **one, "iteration": t, "value": float(f"{value:.6g}")} for one, value in numbers]
    return rows


def _outcome_rows(errors: Array, goal: Array, s: Array, rate: float, eps: float, common: dict[str, Any]) -> Rows:
    """Rows of what a whole path does."""
    last = first_oscillation(errors, rate)
    moves = np.diff(errors[: last + 1, 2])
    way = np.sign(moves.sum())
    learnt = standard_risk(errors, s) < DONE
    numbers = {
        "first_oscillation": last,
        "iterations_to_learn": int(learnt.argmax()) if learnt.any() else len(errors),
        "irrelevant_change": float(np.abs(errors[:, 2] - errors[0, 2]).max()),
        "irrelevant_reversal": float((-way * moves).max()),
        "drift_after_oscillation": float(np.abs(errors[last:, 2] - errors[last, 2]).max()),
        "final_standard_risk": float(standard_risk(errors[-1], s)),
        "final_adversarial_risk": float(adversarial_risk(errors[-1], goal, s, eps)),
    }
    return [{**common, "metric": name, "value": float(value)} for name, value in numbers.items()]


def _ratio_rows(rows: Rows) -> Rows:
    """Rows of each optimizer's final adversarial risk over that of gradient descent, with the same gradient."""
    final = {(r["gradient"], r["optimizer"]): r["value"] for r in rows if r["metric"] == "final_adversarial_risk"}
    return [
        {"optimizer": o, "gradient": g, "metric": "risk_ratio", "value": final[g, o] / final[g, "gd"], "unit": "1"}
        for g in GRADIENTS
        for o in OPTIMIZERS[1:]
    ]


def _stated_rows(rows: Rows, s: Array, goal: Array, first: Array, rate: float, samples: int, eps: float) -> Rows:
    """Rows of the settings and of the numbers that the work states, under its names; the ratio is that with samples."""
    a, b = (abs(float(part)) for part in a_and_b(first - goal, s))
    low, high = predicted_ratio(goal, s, "B" if a < b else "A")
    (ratio,) = [
        r["value"] for r in rows if (r["metric"], r.get("optimizer"), r["gradient"]) == ("risk_ratio", "signgd", "sampled")
    ]  # fmt: skip
    settings = {
        **{f"sigma{i}_sq": s[i] for i in range(3)},
        **{f"w{i}_star": goal[i] for i in range(3)},
        **{f"w{i}_init": first[i] for i in range(3)},
        "learning_rate": rate,
        "samples_per_iteration": samples,
        "eps_adv_risk": eps,
    }
    stated = {
        "abs_A0": a,
        "abs_B0": b,
        "risk_ratio_lower_bound": low,
        "risk_ratio_upper_bound": high,
        "risk_ratio_signgd_over_gd": ratio,
    }
    return [
        {
            "quantity": name,
            "metric": metric,
            "value": float(value),
            "unit": "count" if name == "samples_per_iteration" else "1",
            "paper_protocol": True,
        }
        for metric, numbers in (("setting", settings), ("stated_value", stated))
        for name, value in numbers.items()
    ]
