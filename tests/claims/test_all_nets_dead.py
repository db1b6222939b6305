"""No claim that may be judged by dead nets holds if all nets are dead: its finding is that some fail where others train.

The claims marked ``dead_nets`` of all studies are evaluated on numbers of nets of which none learnt anything. They are close to
those of a uniform or a constant answer, and as far apart as such nets are, in any order; seeds hardly differ.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from robustscape.claims.expressions import expand_claim
from robustscape.claims.series import Series
from robustscape.claims.verdicts import _evaluate
from robustscape.config.loading import load_experiment
from robustscape.config.studies import Claim
from robustscape.report import items
from robustscape.report.level_matching import same_level
from robustscape.report.words import is_number

ROOT = Path(__file__).parents[2]
EXPERIMENT = load_experiment(ROOT / "config", "paper")

#: Metric -> its value for a dead net, and how far dead nets may be from it.
DEAD: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("train_loss", "final_train_loss", "final_train_loss_lower_bound"), (math.log(10), 0.02)),
    **dict.fromkeys(("test_accuracy", "final_test_accuracy", "test_accuracy_upper_bound", "accuracy"), (10.5, 1.5)),
    **dict.fromkeys(("accuracy_gain_lower_bound", "accuracy_gain_approx"), (0.0, 1.5)),
    **dict.fromkeys(("robust_test_error", "constant_error"), (88.65, 0.0)),
    **dict.fromkeys(("constant_classifier", "has_dead_layer"), (1.0, 0.0)),
    "zero_gradients": (100.0, 0.0),
    "gradient_before_dead": (0.0, 0.0),
    # Chapter 2 of kim2023: a net that was never robust has not collapsed, and a constant one has no distortion.
    **dict.fromkeys(("collapsed", "distortion_vanished", "distorted_interval"), (0.0, 0.0)),
    **dict.fromkeys(("distortion_defined_at_end", "right_at_both_ends"), (1.0, 0.0)),
    "distortion_at_end": (0.0, 0.0),
    "pgd7_accuracy_train_at_end": (3.0, 3.0),
}

#: Factor -> levels of a series along it.
LEVELS: dict[str, tuple[float, ...]] = {
    "epoch": (1, 300),
    "learning_rate": (1e-4, 3e-4, 1e-3),
    "eps": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.375, 0.4, 0.45, 0.5),
}


class DeadNets:
    """The readers of the claims' language, on numbers of dead nets.

    Along every factor of numbers they rise or fall together, as the draw has it, or are equal; nets that differ in a word
    (method, data set, control) do so by another amount.
    """

    def __init__(self, draw: random.Random, printed: list[dict[str, Any]]) -> None:
        self.draw, self.printed_rows = draw, printed
        self.apart = draw.choice((0.0, 1.0, 1.0))
        self.drawn: dict[Any, float] = {}

    def _once(self, key: Any, choices: tuple[float, ...]) -> float:
        return self.drawn.setdefault(key, self.draw.choice(choices))

    def value(self, metric: str, **factors: Any) -> float:
        words = tuple(sorted((name, level) for name, level in factors.items() if not is_number(level)))
        numbers = {name: float(level) for name, level in factors.items() if is_number(level)}
        place = sum(
            self._once((metric, name), (-1.0, 1.0)) * level / (1 + level) for name, level in sorted(numbers.items())
        ) / max(1, len(numbers))
        shift = self._once((metric, "words", words), (-0.5, 0.0, 0.5))
        usual, width = DEAD[metric]
        return usual + self.apart * width * (self._once((metric, words), (0.1, 0.5)) * place + shift)

    def standard_error(self, metric: str, **factors: Any) -> float:
        return 1e-6 * DEAD[metric][1]

    def sampling_error(self, metric: str, **factors: Any) -> float:
        return 1e-6 * DEAD[metric][1]

    def series(self, metric: str, along: str = "eps", **factors: Any) -> Series:
        levels = LEVELS[along]
        return Series(levels, tuple(self.value(metric, **factors, **{along: level}) for level in levels))

    def standard_error_series(self, metric: str, along: str = "eps", **factors: Any) -> Series:
        return Series(LEVELS[along], tuple(self.standard_error(metric) for _ in LEVELS[along]))

    def printed(self, metric: str, **factors: Any) -> float:
        (row,) = (
            row
            for row in self.printed_rows
            if row["metric"] == metric and all(same_level(row[name], level) for name, level in factors.items())
        )
        return float(row["value"])

    def printed_series(self, metric: str, along: str = "eps", **factors: Any) -> Series:
        raise NotImplementedError

    def unmatched(self, metric: str, **factors: Any) -> int:
        raise NotImplementedError

    def add_evidence(self, text: str) -> None:
        """What was read is of no interest here."""


def draws_that_hold(expression: str, printed: list[dict[str, Any]] = [], draws: int = 150) -> int:  # noqa: B006
    nets: Iterator[Any] = (DeadNets(random.Random(seed), printed) for seed in range(draws))
    one_line = " ".join(expression.split())
    return sum(bool(_evaluate(one_line, dead)) for dead in nets)


def about_dead_nets() -> dict[str, tuple[Claim, str | None]]:
    return {
        f"{work}/{name}: {claim.id}": (claim, item.printed)
        for work, study in EXPERIMENT.studies.items()
        for name, item in study.items.items()
        for claim in item.claims
        if claim.dead_nets
    }


@pytest.mark.parametrize("name", about_dead_nets())
def test_no_claim_holds_where_every_net_is_dead(name: str) -> None:
    claim, printed = about_dead_nets()[name]
    rows = items.read_rows(EXPERIMENT.paper / f"{printed}.csv").to_dict("records") if printed else []
    assert draws_that_hold(expand_claim(claim), rows) == 0


@pytest.mark.parametrize(
    "expression",
    [
        """all_true([last(series('train_loss', 'epoch', batch_size=2 * b)) - last(series('train_loss', 'epoch', batch_size=b))
        > combined_error(standard_error('train_loss', batch_size=2 * b), standard_error('train_loss', batch_size=b))
        for b in [64, 128, 256]])""",
        """last(series('train_loss', 'epoch', momentum=0)) > last(series('train_loss', 'epoch', momentum=0.9))
        and value('test_accuracy', momentum=0.9) > value('test_accuracy', momentum=0)""",
        """value('final_train_loss', method='SAM', batch_size=512) - value('final_train_loss', method='SAM', batch_size=64)
        - value('final_train_loss', method='SGD', batch_size=512) + value('final_train_loss', method='SGD', batch_size=64)
        > standard_error('final_train_loss', method='SAM', batch_size=512)""",
        "value('accuracy_gain_lower_bound', method='SAM') - value('accuracy_gain_approx', method='SGD') > 0.1",
        "value('robust_test_error', learning_rate=1e-3) > 80",
        "value('accuracy', attack='clean') == value('accuracy', attack='pgd50') and value('accuracy', attack='clean') < 12",
        "spearman(series('accuracy', 'eps', method='at')) <= -0.9 and spearman(series('accuracy', 'eps', method='trades')) < 0",
    ],
)
def test_claims_that_ask_for_no_trained_net_hold_for_some(expression: str) -> None:
    """So that the test above would notice a claim without such a part: the numbers do come in every order."""
    assert draws_that_hold(expression) > 0
