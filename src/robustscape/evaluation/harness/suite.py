"""Attacks evaluated together: a sample counts as robust when none of them breaks it.

The worst case is taken per sample, and an attack runs only on the samples that no attack before it has broken. That is
the protocol of AutoAttack (Croce & Hein 2020); with the suite ``autoattack`` of config/suites.yaml it is the same
evaluation. The order decides which samples an attack is tried on, and so each attack's columns and cost; which samples are
robust in the end does not depend on it.

With a state folder nothing is lost: every batch is a file of its own, written atomically, and the same call picks up
where it was killed. Batches of a resumed evaluation may have another size.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robustscape import catalog
from robustscape.attacks.base.gradients import Classifier, device_of, misclassified, predict
from robustscape.attacks.base.search import SearchModel
from robustscape.attacks.base.threat import ThreatModel
from robustscape.config.attacks import AttackSpec, Suite
from robustscape.errors import AttackError, CorruptFile, UserError
from robustscape.evaluation.harness import flags, inputs
from robustscape.evaluation.harness.craft import (
    attacked_form,
    batches,
    checked_arrays,
    craft_batch,
    default_batch_size,
    quickest_precision,
)
from robustscape.evaluation.harness.outcome import Outcome
from robustscape.evaluation.percentages import percent_true_fp32
from robustscape.numbers import pretty_number
from robustscape.storage import atomic, checkpoints
from robustscape.storage.provenance import code_version, config_hash

SuiteProgress = Callable[[str, int, int], None]

CLEAN = "clean"

#: The file of a state folder that holds the model's logits of all samples, and how far they may differ between machines,
#: threads and batch sizes, relative to the largest.
LOGITS, SAME_LOGITS = "logits.safetensors", 1e-3


@dataclass(frozen=True)
class SuiteResult:
    """The outcome of every attack, and the samples that are robust against all of them."""

    suite: str
    eps: float | Tensor
    seed: int
    precision: str
    outcomes: tuple[Outcome, ...]
    """The clean inputs first, then the attacks in their order."""
    x_adv: Tensor
    """The adversarial input where one was found, else the clean one."""
    flags: dict[str, float | bool] = field(default_factory=dict)
    """Signs that the number may mislead; see ``flags``."""

    @property
    def robust(self) -> Tensor:
        """The samples that no attack has broken, bool (N,)."""
        return self.robust_after(len(self.outcomes))

    def robust_after(self, count: int) -> Tensor:
        """The samples that none of the first ``count`` outcomes has broken, bool (N,)."""
        return ~torch.stack([outcome.broken for outcome in self.outcomes[:count]]).any(0)

    @property
    def clean_accuracy(self) -> float:
        """Percent."""
        return percent_true_fp32(self.robust_after(1))

    @property
    def robust_accuracy(self) -> float:
        """Percent, of all samples."""
        return percent_true_fp32(self.robust)

    @property
    def samples(self) -> int:
        """Their number, N."""
        return len(self.x_adv)

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows: for the clean inputs, every attack and the whole suite, accuracy and cost."""
        samples = len(self.x_adv)
        shared = {
            "suite": self.suite,
            "attack_eps": "per sample" if isinstance(self.eps, Tensor) else self.eps,
            "samples": samples,
            "precision": self.precision,
            **self.flags,
        }
        table: list[dict[str, Any]] = []

        def add(attack: str, norm: str, order: int, numbers: Mapping[str, tuple[float, str]]) -> None:
            for metric, (value, unit) in numbers.items():
                table.append(
                    {"attack": attack, "norm": norm, "order": order, **shared}
                    | {"metric": metric, "value": value, "unit": unit}
                )

        def cost(*outcomes: Outcome) -> dict[str, tuple[float, str]]:
            per_sample = 1 / max(samples, 1)
            return {
                "seconds": (sum(o.seconds for o in outcomes), "seconds"),
                "forward_passes": (sum(o.forwards for o in outcomes) * per_sample, "1"),
                "backward_passes": (sum(o.backwards for o in outcomes) * per_sample, "1"),
            }

        for order, outcome in enumerate(self.outcomes):
            metric = "robust_accuracy" if order else "clean_accuracy"
            add(
                outcome.name,
                outcome.spec.norm if outcome.spec else "none",
                order,
                {
                    metric: (percent_true_fp32(self.robust_after(order + 1)), "percent"),
                    "attempted": (float(outcome.attempted.sum()), "1"),
                    "broken": (float(outcome.broken.sum()), "1"),
                    **cost(outcome),
                },
            )
        norms = "+".join(sorted({o.spec.norm for o in self.outcomes if o.spec}))
        whole = {"robust_accuracy": (self.robust_accuracy, "percent"), **cost(*self.outcomes)}
        add(self.suite, norms, len(self.outcomes), whole)
        return table


@torch.inference_mode(False)  # in which a caller may be, and in which there are no gradients
def run_suite(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    suite: Suite,
    eps: float | Tensor,
    *,
    seed: int,
    batch_size: int | None = None,
    precision: str = "fp32",
    state_dir: Path | None = None,
    progress: SuiteProgress | None = None,
    known: Known | None = None,
) -> SuiteResult:
    """Evaluate ``model`` under every attack of ``suite``, worst case per sample.

    Whether a sample is broken is decided by passing the finished adversarial input through the model once more, in eval
    mode, after it was checked (ball, range, finite). Deterministic; batch size, threads and state folder change nothing
    beyond float rounding.

    Args:
        model: logits (B, C) from inputs (B, ...).
        x: inputs (N, ...).
        y: labels (N,).
        suite: attacks in their order, cheapest and strongest first.
        eps: perturbation budget, or one per sample (N,).
        seed: of the samples' random streams.
        batch_size: samples of a pass; None: what suits the device.
        precision: of the attacks' search: "fp32"; a name of ``attacks/precision/``, such as "bf16"; "auto": the quickest on
            this machine, which the result names. Whether a sample is broken is always decided in fp32.
        state_dir: where finished batches are kept; None: nowhere.
        progress: called with (attack, samples done, samples to do) at an attack's start and after each batch.
        known: what is known of a smaller budget; its points are checked, and break their samples, before any attack runs.

    Raises:
        AttackError: inputs, labels or the model are not as described, a loss is not defined for so few classes, an attack
            returned an illegal batch, or the model NaN.
        ConfigError: a budget, a batch size or a number of samples that is none.
        UserError: ``state_dir`` holds another evaluation.
    """
    specs, seed = [spec for _, spec in suite.attacks], inputs.check_seed(seed)
    x, y, eps = checked_arrays(x, y, specs, eps)
    inputs.check_count(len(x), "the number of samples")
    inputs.check_budget_fits(eps, specs, x[0].numel())
    state = _State(state_dir)
    judge = attacked_form(model, x, y, "fp32", batch_size=batch_size)
    inputs.count_classes(judge, x, y, specs)
    if precision == "auto":
        precision = state.precision() or quickest_precision(model, x, y)
    batch_size = batch_size or default_batch_size(model, x)
    state.claim(lambda: _fingerprint(model, x, y, suite, eps, seed, precision, known), judge, x, batch_size)
    forms: dict[Literal["eval", "train"], SearchModel] = {
        mode: judge
        if mode == "eval" and precision == "fp32"
        else attacked_form(model, x, y, precision, train=mode == "train", batch_size=batch_size)
        for mode in sorted({"eval", *(spec.model_mode for spec in specs)})
    }
    shared = _Evaluation(forms, x, y, eps, seed, batch_size, progress)
    seen = flags.spread_rows(len(x))
    device = device_of(judge, x)
    x_seen, y_seen = x[seen].to(device), y[seen].to(device)
    before = flags.all_logits(judge, x_seen, batch_size)  # of a model that changes with time

    x_adv = x.clone()
    outcomes: list[Outcome] = []
    robust = torch.ones(len(x), dtype=torch.bool)
    stages: list[tuple[str, AttackSpec | None]] = [(CLEAN, None), *suite.attacks]
    if known is not None:
        stages.insert(1, (known.name, None))
    for order, (name, spec) in enumerate(stages):
        record = _Record(state, f"{order:02d}-{name}", x_adv)
        carried = known if known is not None and order == 1 else None
        threat = None if spec is None else ThreatModel(spec.norm, eps, spec.bounds)
        record.resume(carried.x_adv if carried else x, threat)
        _evaluate_stage(shared, name, spec, record, robust & carried.broken if carried else robust, carried)
        outcomes.append(record.outcome(name, spec))
        robust = robust & ~outcomes[-1].broken

    result = SuiteResult(suite.name, eps, seed, precision, tuple(outcomes), x_adv)
    signs = flags.of_model(
        forms["eval"],
        x_seen,
        y_seen,
        flags.losses_followed(outcomes),
        batch_size=batch_size,
        before=before,
        verdicts=flags.Verdicts(x_adv[seen].to(device), ~result.robust[seen].to(device)),
    )
    return replace(result, flags=signs | flags.of_outcomes(outcomes))


@dataclass(frozen=True)
class Known:
    """Samples that are broken within a smaller budget, and so within every larger one."""

    name: str
    """Of the stage, such as "smaller eps"."""
    broken: Tensor
    """Bool (N,)."""
    x_adv: Tensor
    """The points that broke them, (N, ...)."""


@dataclass(frozen=True)
class _Evaluation:
    """What all stages of an evaluation have in common."""

    forms: dict[Literal["eval", "train"], SearchModel]
    """Mode of the model -> the model as attacks see it; the one in eval mode judges."""
    x: Tensor
    y: Tensor
    eps: float | Tensor
    seed: int
    batch_size: int
    progress: SuiteProgress | None


def _evaluate_stage(
    shared: _Evaluation, name: str, spec: AttackSpec | None, record: _Record, robust: Tensor, known: Known | None = None
) -> None:
    """Attack the samples ``robust``, bool (N,), that ``record`` has not seen; without ``spec`` inputs are clean, or ``known``."""
    pieces = batches((robust & ~record.attempted).nonzero().squeeze(1), shared.batch_size)
    if shared.progress is not None and pieces:
        shared.progress(name, int((record.attempted & robust).sum()), int(robust.sum()))
    for batch in pieces:
        record.add(batch, *_attack_batch(shared, name, spec, batch, known))
        if shared.progress is not None:
            shared.progress(name, int(record.attempted.sum()), int(robust.sum()))


def _attack_batch(
    shared: _Evaluation, name: str, spec: AttackSpec | None, batch: Tensor, known: Known | None
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Return which samples of the batch are misclassified, bool (B,), at which inputs (B, ...), and the cost."""
    forms, judge = shared.forms.values(), shared.forms["eval"]
    device = device_of(judge, shared.x)
    for form in forms:
        form.reset_counts()
    started = time.perf_counter()
    found, labels = (shared.x if known is None else known.x_adv)[batch], shared.y[batch]
    if spec is not None:
        threat = ThreatModel(spec.norm, shared.eps, spec.bounds).select(batch)
        found = craft_batch(shared.forms[spec.model_mode], found, labels, spec, threat, shared.seed, batch).to(shared.x)
    passed = found.to(device, copy=True)
    wrong = misclassified(judge.confirm(passed), labels.to(device)).cpu()
    if not torch.equal(passed, found.to(device)):
        raise inputs.changed_in_place("the model")
    judge.refuse_nan(name)
    cost = {
        "seconds": time.perf_counter() - started,
        "forwards": sum(form.forwards for form in forms),
        "backwards": sum(form.backwards for form in forms),
    }
    return wrong, found, cost


class _State:
    """The folder of an evaluation that can be resumed; without a folder nothing is kept.

    ``evaluation.json`` describes the evaluation; ``<stage>/<number>.safetensors`` are finished batches.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.evaluation = ""
        """The hash of what ``claim`` described; every batch that is kept bears it."""

    def claim(
        self, describe_evaluation: Callable[[], dict[str, Any]], judge: SearchModel, x: Tensor, batch_size: int
    ) -> None:
        """Describe this evaluation in the folder; refuse a folder that describes another one, or another model.

        Weights do not tell models apart (a function has none, and equal weights may be used in another way), so the logits of all
        samples are part of the description, compared up to rounding and the model's own randomness. They cost one pass.

        Raises:
            CorruptFile: what the folder has is damaged.
            UserError: it is of another evaluation, or of another model.
        """
        if self.folder is None:
            return
        path, wanted = self.folder / "evaluation.json", describe_evaluation()
        if not path.exists():
            logits = _all_logits(judge, x, batch_size)
            checkpoints.save_checkpoint(self.folder / LOGITS, {"logits": logits}, {})
            atomic.write_json(path, wanted)
            self.evaluation = _evaluation_hash(wanted, logits)
            return
        found = self._read(path)
        for key, value in wanted.items():
            if key == "known" and found.get(key) != value:
                raise UserError(
                    f"the state in '{self.folder}' was made with other smaller budgets before it, of which samples are known "
                    "to be broken. Delete this folder alone, or name another one for the new list of budgets."
                )
            if found.get(key) != value:
                raise UserError(
                    f"the state in '{self.folder}' is of another evaluation: '{key}' was {found.get(key)!r} and is "
                    f"now {value!r}. Delete the folder or name another one."
                )
        self.evaluation = _evaluation_hash(wanted, _compared_logits(self.folder, judge, x, batch_size))

    def precision(self) -> str | None:
        """The precision in which an earlier call searched, if there was one."""
        path = None if self.folder is None else self.folder / "evaluation.json"
        if path is None or not path.exists():
            return None
        precision = self._read(path).get("precision")
        if not isinstance(precision, str):
            raise CorruptFile(f"'{path}' names no precision. Delete the folder '{self.folder}' and evaluate again.")
        return precision

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise CorruptFile(f"'{path}' is not JSON. Delete the folder '{self.folder}' and evaluate again.") from None
        if not isinstance(found, dict):
            raise CorruptFile(
                f"'{path}' describes no evaluation, it holds a {type(found).__name__}. Delete the folder '{self.folder}' and "
                "evaluate again."
            )
        return found

    def files(self, stage: str) -> list[Path]:
        """Finished batches of a stage, in their order."""
        return [] if self.folder is None else sorted((self.folder / stage).glob("*.safetensors"))


class _Record:
    """The state of one stage: the samples it ran on, those it has broken, and its cost."""

    def __init__(self, state: _State, stage: str, x_adv: Tensor) -> None:
        self.state, self.stage, self.x_adv = state, stage, x_adv
        self.attempted = torch.zeros(len(x_adv), dtype=torch.bool)
        self.broken = torch.zeros(len(x_adv), dtype=torch.bool)
        self.cost: dict[str, float] = {"seconds": 0.0, "forwards": 0, "backwards": 0}
        self.files = state.files(stage)

    def resume(self, start: Tensor, threat: ThreatModel | None) -> None:
        """Take over the finished batches, each checked as if it had been made now.

        Args:
            start: the inputs of the stage (N, ...): the clean ones, or the points of a smaller budget.
            threat: of the attack; None: the stage attacks nothing, and its points are its inputs.

        Raises:
            CorruptFile: a batch is of another evaluation, or its points are illegal.
        """
        for path in self.files:
            tensors, metadata = checkpoints.load_checkpoint(path)
            batch, broken, found = tensors["batch"], tensors["broken"], tensors["x_adv"]
            fault = "" if metadata.get("evaluation") == self.state.evaluation else "it is of another evaluation"
            rows = batch[broken]
            if not fault and threat is None and not torch.equal(found, start[rows].cpu()):
                fault = "its points are not the inputs of the stage"
            elif not fault and threat is not None:
                try:
                    threat.select(rows).check(found, start[rows].cpu())
                except AttackError as error:
                    fault = str(error).rstrip(".")
            if fault:
                raise CorruptFile(
                    f"'{path}' does not belong here: {fault}. Delete the folder '{self.state.folder}' and evaluate again."
                )
            self._note(batch, broken, found, metadata)

    def add(self, batch: Tensor, wrong: Tensor, found: Tensor, cost: dict[str, float]) -> None:
        """Add a finished batch; it is written first, if there is a folder."""
        found = found[wrong.to(found.device)]
        if self.state.folder is not None:
            path = self.state.folder / self.stage / f"{len(self.files):06d}.safetensors"
            metadata = {**cost, "evaluation": self.state.evaluation}
            checkpoints.save_checkpoint(path, {"batch": batch, "broken": wrong, "x_adv": found}, metadata)
            self.files.append(path)
        self._note(batch, wrong, found, cost)

    def _note(self, batch: Tensor, wrong: Tensor, found: Tensor, cost: Mapping[str, float]) -> None:
        self.attempted[batch] = True
        self.broken[batch[wrong]] = True
        self.x_adv[batch[wrong]] = found.to(self.x_adv)
        for key in self.cost:
            self.cost[key] += cost[key]

    def outcome(self, name: str, spec: AttackSpec | None) -> Outcome:
        """The finished stage."""
        cost = self.cost
        return Outcome(
            name, spec, self.attempted, self.broken, cost["seconds"], int(cost["forwards"]), int(cost["backwards"])
        )


def _evaluation_hash(description: Mapping[str, Any], logits: Tensor) -> str:
    """The hash of everything that determines the result, the model's answers (N, C) included."""
    return config_hash({**description, "logits": checkpoints.content_hash({"logits": logits})})


def _compared_logits(folder: Path, judge: SearchModel, x: Tensor, batch_size: int) -> Tensor:
    """Return the logits (N, C) that the folder keeps; refuse them if they are not those of ``judge``.

    Raises:
        CorruptFile: they are missing or damaged.
        UserError: they are of another model.
    """
    path, logits = folder / LOGITS, _all_logits(judge, x, batch_size)
    if not path.exists():
        raise CorruptFile(f"'{path}' is missing. Delete the folder '{folder}' and evaluate again.")
    try:
        before = checkpoints.load_checkpoint(path)[0]["logits"]
    except CorruptFile as error:
        raise CorruptFile(f"{error} Of a state that means: delete the folder '{folder}' and evaluate again.") from None
    noise = (logits - _all_logits(judge, x, batch_size)).abs().amax()
    allowed = SAME_LOGITS * before.abs().amax() + 10 * noise
    if before.shape != logits.shape or not ((before == logits) | ((before - logits).abs() <= allowed)).all():
        raise UserError(
            f"the state in '{folder}' is of another model: its logits differ, though its weights, if any, are the same (or "
            "the answers depend on the batch, and batches have another size). Delete the folder or name another one."
        )
    return before


def _all_logits(judge: SearchModel, x: Tensor, batch_size: int) -> Tensor:
    """The logits of all samples (N, C), on the CPU."""
    device = device_of(judge, x)
    return torch.cat([predict(judge, piece.to(device)).cpu() for piece in x.split(batch_size)])


def _fingerprint(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    suite: Suite,
    eps: float | Tensor,
    seed: int,
    precision: str,
    known: Known | None = None,
) -> dict[str, Any]:
    """Everything that determines the result, as JSON, but for the model's code: its answers stand for it (``claim``)."""
    code = {catalog.find_entry("attack", spec.attack).module for _, spec in suite.attacks}
    if precision != "fp32":
        code.add(catalog.find_entry("precision", precision).module)
    weights = model.state_dict() if isinstance(model, nn.Module) else {}
    return {
        "suite": suite.name,
        "attacks": [[name, spec.model_dump(mode="json", exclude={"about"})] for name, spec in suite.attacks],
        "eps": checkpoints.content_hash({"eps": eps}) if isinstance(eps, Tensor) else repr(eps),
        "seed": seed,
        "precision": precision,
        "code": code_version(*code),
        "data": checkpoints.content_hash({"x": x, "y": y}),
        "model": checkpoints.content_hash(weights),
        "known": checkpoints.content_hash({"broken": known.broken, "x_adv": known.x_adv}) if known else None,
    }


def to_robustbench(
    result: SuiteResult,
    *,
    dataset: str,
    architecture: str,
    name: str,
    authors: str = "",
    venue: str = "",
    link: str = "",
    additional_data: bool = False,
    forward_passes: int = 1,
) -> dict[str, Any]:
    """The result in the field names of RobustBench's model_info/<dataset>/<norm>/<id>.json (percentages are strings).

    ``autoattack_acc`` is given only for a suite named ``autoattack``; any other suite's number is ``<suite>_acc``,
    since it must not be taken for AutoAttack's. ``unreliable`` is true when a flag is raised.
    """
    eps = "per sample" if isinstance(result.eps, Tensor) else pretty_number(result.eps)
    return {
        "link": link,
        "name": name,
        "authors": authors,
        "additional_data": additional_data,
        "number_forward_passes": forward_passes,
        "dataset": dataset,
        "venue": venue,
        "architecture": architecture,
        "eps": eps,
        "clean_acc": f"{result.clean_accuracy:.2f}",
        f"{result.suite}_acc": f"{result.robust_accuracy:.2f}",
        "unreliable": flags.unreliable(result.flags),
    }
