"""The result of ``robustscape.evaluate``: accuracies, each attack's share, examples, flags with reasons, the protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from robustscape.config.attacks import AttackSpec, Suite
from robustscape.config.shipped import find_suite
from robustscape.evaluation.harness import flags
from robustscape.evaluation.harness.suite import SuiteResult, to_robustbench
from robustscape.evaluation.percentages import percent_true
from robustscape.numbers import pretty_number
from robustscape.storage import atomic
from robustscape.storage.provenance import environment

if TYPE_CHECKING:
    import pandas as pd

#: The norms in which RobustBench has leaderboards.
LEADERBOARDS = ("Linf", "L2")

#: A flag of the data: it is of the clean accuracy, so that attacks and gradients say nothing of it.
CHANCE = "flag_chance_accuracy"
CHANCE_REASON = (
    "the clean accuracy is that of chance: averaged over the classes it is no more than a constant answer gives; are the labels "
    "those that the model was trained with (their order, from 0 on), the weights loaded, the inputs on its scale?"
)

#: Fewest samples of which chance can be told from a good answer, and standard errors above it.
_LEAST_JUDGED, _ERRORS = 8, 2.0


def at_chance(right: Tensor, labels: Tensor) -> bool:
    """Return true if the accuracy, averaged over classes, is up to two standard errors that of a constant or a random answer.

    That is 1 / K for the K classes among the labels, however many samples each has; no average in the upper half between it and
    1 is called chance. Of labels that are all the same, and of fewer than 8 samples, nothing can be told.

    Args:
        right: whether a sample is classified correctly, bool (N,).
        labels: int64 (N,).

    >>> labels = torch.arange(100) % 10
    >>> at_chance(torch.arange(100) < 12, labels), at_chance(torch.arange(100) < 40, labels)
    (True, False)
    """
    counts = torch.bincount(labels.cpu()).double()
    hits = torch.bincount(labels.cpu(), weights=right.cpu().double())
    hits, counts = hits[counts > 0], counts[counts > 0]
    if len(labels) < _LEAST_JUDGED or len(counts) < 2:
        return False
    chance = 1 / len(counts)
    error = math.sqrt(float((chance * (1 - chance) / counts).sum())) / len(counts)
    return float((hits / counts).mean()) <= min(chance + _ERRORS * error, (1 + chance) / 2)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """A model under a suite of attacks at one perturbation budget; percentages are of all samples."""

    result: SuiteResult
    """The outcome of every attack, per sample."""
    labels: Tensor
    """(N,)."""
    protocol: dict[str, Any]
    """Norm, eps, samples, seed, precision, attacks with all their parameters, hashes of model and data, versions."""

    @property
    def clean_accuracy(self) -> float:
        """Percent."""
        return percent_true(self.result.robust_after(1))

    @property
    def robust_accuracy(self) -> float:
        """Percent: samples that are classified correctly and that no attack has broken."""
        return percent_true(self.robust)

    @property
    def eps(self) -> float | Tensor:
        """The perturbation budget, a number or one per sample."""
        return self.result.eps

    @property
    def robust(self) -> Tensor:
        """The samples that no attack has broken, bool (N,)."""
        return self.result.robust

    @property
    def x_adv(self) -> Tensor:
        """Adversarial examples (N, ...): the point that broke a sample, the clean input where none did."""
        return self.result.x_adv

    @property
    def flags(self) -> dict[str, float | bool]:
        """Signs that the numbers may mislead, by name; ``reasons`` has those that are raised, in words."""
        return {**self.result.flags, CHANCE: at_chance(self.result.robust_after(1), self.labels)}

    @property
    def reasons(self) -> dict[str, str]:
        """The flags that are raised, and what each means."""
        words = {**flags.REASONS, CHANCE: CHANCE_REASON}
        return {name: words[name] for name, value in self.flags.items() if flags.unreliable({name: value})}

    @property
    def attacks(self) -> list[dict[str, Any]]:
        """For the clean inputs and each attack in its order: samples attempted, broken, accuracy after it, passes, seconds."""
        rows = []
        samples = self.result.samples
        for order, outcome in enumerate(self.result.outcomes):
            rows.append(
                {
                    "attack": outcome.name,
                    "attempted": int(outcome.attempted.sum()),
                    "broken": int(outcome.broken.sum()),
                    "accuracy": percent_true(self.result.robust_after(order + 1)),
                    "forward_passes": outcome.forwards / samples,
                    "backward_passes": outcome.backwards / samples,
                    "seconds": outcome.seconds,
                }
            )
        return rows

    def table(self) -> pd.DataFrame:
        """Return ``attacks`` as a pandas table; accuracies in percent, passes per sample of the whole set."""
        import pandas as pd

        return pd.DataFrame(self.attacks)

    def robustbench(self, **names: Any) -> dict[str, Any] | None:
        """Return the result in RobustBench's field names; ``names`` are those of ``to_robustbench``.

        None where RobustBench has no leaderboard to which it could belong: it has those of Linf and L2, not of L1, and a file of
        fields does not say its norm. ``autoattack_acc`` is there if the attacks and their parameters are those of AutoAttack.
        """
        norm = self.protocol["norm"]
        if norm not in LEADERBOARDS:
            return None
        specs = [outcome.spec for outcome in self.result.outcomes if outcome.spec is not None]
        published = [spec for _, spec in find_suite("autoattack", norm).attacks]
        name = self.result.suite.removesuffix(f"_{norm.lower()}")
        if [_settings(spec) for spec in specs] == [_settings(spec) for spec in published]:
            name = "autoattack"
        elif name == "autoattack":
            name = "own_autoattack"
        blank = {"dataset": "", "architecture": "", "name": ""}
        fields = to_robustbench(replace(self.result, suite=name), **(blank | names))
        return fields | {"unreliable": bool(self.reasons)}

    def to_dict(self, **names: Any) -> dict[str, Any]:
        """Return everything but the tensors, ready for JSON; what cannot be told is None. ``names`` go to ``robustbench``."""
        return {
            "clean_accuracy": self.clean_accuracy,
            "robust_accuracy": self.robust_accuracy,
            "eps": "per sample" if isinstance(self.eps, Tensor) else self.eps,
            "attacks": self.attacks,
            "flags": {name: None if _is_nan(value) else value for name, value in self.flags.items()},
            "reasons": self.reasons,
            "unreliable": bool(self.reasons),
            "protocol": self.protocol,
            "robustbench": self.robustbench(**names),
        }

    def to_json(self, path: str | Path | None = None, **names: Any) -> str:
        """Return ``to_dict`` as JSON, and write it to ``path`` if there is one."""
        return _written(self.to_dict(**names), path)

    def save_adversarial(self, path: str | Path) -> None:
        """Write the examples as safetensors: x_adv (N, ...), y (N,), broken (N,) and which attack broke each (N,), -1: none."""
        import safetensors.torch

        attack = torch.full((self.result.samples,), -1, dtype=torch.int64)
        for order, outcome in enumerate(self.result.outcomes):
            attack[outcome.broken] = order
        tensors = {"x_adv": self.x_adv, "y": self.labels, "broken": ~self.robust, "broken_by": attack}
        names = {"attacks": json.dumps([outcome.name for outcome in self.result.outcomes])}
        content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        atomic.write_bytes(path, safetensors.torch.save(content, names))

    def __str__(self) -> str:
        eps = "eps per sample" if isinstance(self.eps, Tensor) else f"eps {pretty_number(self.eps)}"
        head = (
            f"{self.result.suite}, {self.protocol['norm']}, {eps}, {self.result.samples} samples: "
            f"clean accuracy {self.clean_accuracy:.2f} %, robust accuracy {self.robust_accuracy:.2f} %"
        )
        return "\n".join([head, *(f"{name}: {why}" for name, why in self.reasons.items())])

    #: In a notebook the same lines, not the tensors.
    __repr__ = __str__


@dataclass(frozen=True, repr=False)
class EvaluationSeries:
    """A model under a suite at several budgets, in the order in which they were given; robust accuracy never rises with eps."""

    evaluations: tuple[Evaluation, ...]

    def __iter__(self) -> Iterator[Evaluation]:
        return iter(self.evaluations)

    def __len__(self) -> int:
        return len(self.evaluations)

    def __getitem__(self, position: int) -> Evaluation:
        return self.evaluations[position]

    @property
    def eps(self) -> list[float]:
        """The budgets."""
        return [float(evaluation.eps) for evaluation in self]

    @property
    def clean_accuracy(self) -> float:
        """Percent; the same at every budget."""
        return self.evaluations[0].clean_accuracy

    @property
    def robust_accuracy(self) -> list[float]:
        """Percent, at each budget."""
        return [evaluation.robust_accuracy for evaluation in self]

    def table(self) -> pd.DataFrame:
        """Return the tables of all budgets, one below the other, with a column ``eps``."""
        import pandas as pd

        return pd.concat([e.table().assign(eps=e.eps) for e in self], ignore_index=True)

    def to_dict(self, **names: Any) -> dict[str, Any]:
        """Return everything but the tensors, ready for JSON."""
        return {
            "clean_accuracy": self.clean_accuracy,
            "eps": self.eps,
            "robust_accuracy": self.robust_accuracy,
            "evaluations": [evaluation.to_dict(**names) for evaluation in self],
        }

    def to_json(self, path: str | Path | None = None, **names: Any) -> str:
        """Return ``to_dict`` as JSON, and write it to ``path`` if there is one."""
        return _written(self.to_dict(**names), path)

    def __str__(self) -> str:
        return "\n".join(str(evaluation) for evaluation in self)

    __repr__ = __str__


def describe_protocol(result: SuiteResult, suite: Suite, data: str, model: str | None) -> dict[str, Any]:
    """Return everything by which an evaluation can be repeated: what was asked, of what, with what.

    Args:
        result: of the suite.
        suite: with its attacks.
        data: SHA-256 of inputs and labels.
        model: SHA-256 of the weights, None for a function or a model without any.
    """
    specs = [spec for _, spec in suite.attacks]
    return {
        "suite": suite.name,
        "norm": "+".join(sorted({spec.norm for spec in specs})),
        "eps": "per sample" if isinstance(result.eps, Tensor) else result.eps,
        "samples": result.samples,
        "seed": result.seed,
        "precision": result.precision,
        "attacks": [{"name": name, **_settings(spec)} for name, spec in suite.attacks],
        "model_sha256": model,
        "data_sha256": data,
        "environment": environment(),
    }


def _settings(spec: AttackSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude={"about"}, exclude_none=True)


def _is_nan(value: float | bool) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _written(content: dict[str, Any], path: str | Path | None) -> str:
    if path is not None:
        atomic.write_json(path, content)
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
