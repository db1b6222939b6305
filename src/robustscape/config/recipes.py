"""``config/recipes/*.yaml``: a method with its hyper-parameters, and its variants."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from robustscape.config.base import FromCatalog, Strict
from robustscape.numbers import Number


class Schedule(Strict):
    """A factor over the course of training, applied to the learning rate or to eps."""

    kind: Literal["constant", "multistep", "linear", "cosine", "exponential", "triangle", "recorded"] = "constant"
    """constant: 1. multistep: times gamma at each milestone. linear, cosine, exponential: from `start` to `end`. triangle: up
    to 1 and down again. recorded: what another run had."""
    milestones: list[Number] = []
    """Fractions of training at which `multistep` multiplies by `gamma`, such as `100/110`."""
    gamma: float = Field(0.1, gt=0, le=1)
    """Factor of a `multistep` milestone."""
    start: float = Field(1.0, ge=0)
    """Factor at the beginning (`linear`, `cosine`, `exponential`, `triangle`)."""
    end: float = Field(0.0, ge=0)
    """Factor at the end (`linear`, `cosine`, `exponential`, `triangle`)."""
    peak: float = Field(0.5, gt=0, lt=1)
    """Fraction at which the factor of a `triangle` is 1."""
    clip: float | None = Field(None, gt=0)
    """The factor is never above this; null: no bound."""
    restarts: list[float] = []
    """Fractions of training at which the schedule begins anew."""
    warmup: float = Field(0.0, ge=0, lt=1)
    """Fraction of training over which the learning rate rises linearly to the schedule's first one, before the schedule, which
    then runs through what is left (its own fractions are of that). Of w steps of it the first has 1/(w + 1), not 0, and the one
    after the last has all. Not for eps, which rises by `kind: linear, start: 0`."""
    hold: Literal["step", "epoch"] = "step"
    """`step`: the factor changes with every step. `epoch`: it is that of the epoch's first step."""
    recipe: str | None = None
    """`recorded`: the run of this recipe (same data set, architecture, eps and seed) is read, and trained before."""
    column: str | None = None
    """`recorded`: the column of its history.csv; divided by eps it is the factor of each epoch."""
    values: list[float] = []
    """`recorded`: filled in by the program."""

    @model_validator(mode="after")
    def _consistent(self) -> Schedule:
        for name, fractions in (("milestones", self.milestones), ("restarts", self.restarts)):
            if any(not 0 < m < 1 for m in fractions) or sorted(fractions) != fractions:
                raise ValueError(f"{name} must rise within (0, 1), got {fractions}")
        if (self.kind == "multistep") != bool(self.milestones):
            raise ValueError("milestones belong to the schedule kind 'multistep', and it needs some")
        if self.kind == "exponential" and not (self.start > 0 and self.end > 0):
            raise ValueError(f"'exponential' needs start and end above 0, got {self.start} and {self.end}")
        if (self.kind == "recorded") != (self.recipe is not None and self.column is not None):
            raise ValueError("recipe and column belong to the schedule kind 'recorded', and it needs both")
        return self


class _Named(FromCatalog):
    """A catalogue function and its keyword arguments."""

    name: str
    """Name in the catalogue."""
    parameters: dict[str, Any] = {}
    """Keyword arguments; see the function's docstring."""


class Optimizer(_Named):
    """The optimizer and its hyper-parameters."""

    catalogue: ClassVar[tuple[str, str]] = ("optimizer", "name")


class Probe(_Named):
    """Something measured after each epoch and written to history.csv."""

    catalogue: ClassVar[tuple[str, str]] = ("probe", "name")

    every: int = Field(1, ge=1)
    """Epochs between two measurements; the last epoch is always measured."""
    as_trained: bool = False
    """True: with the batch statistics that training left, in recipes that have them estimated anew (`recalibrate`)."""


class Trace(_Named):
    """Something recorded at single updates and written to updates.csv."""

    catalogue: ClassVar[tuple[str, str]] = ("trace", "name")


class TracedUpdates(Strict):
    """The updates that are recorded."""

    first: int | None = Field(None, ge=0)
    """Number of updates at the beginning; null: all."""
    last: int = Field(0, ge=0)
    """Number of updates at the end."""


class Phase(FromCatalog):
    """Another way to train from some epoch on; keys that are not given stay as they are."""

    catalogue: ClassVar[tuple[str, str]] = ("method", "method")

    at: float = Field(gt=0, lt=1)
    """Fraction of training, rounded to an epoch."""
    method: str | None = None
    """Name of a method, with `parameters`."""
    parameters: dict[str, Any] = {}
    """Keyword arguments of the method."""
    optimizer: Optimizer | None = None
    """The optimizer from here on."""
    keep_state: bool = False
    """True: the new optimizer takes over the state of the old one (momentum)."""


class KeepCollapse(Strict):
    """Keeps the state at the start of the epoch of the last collapse, so that this epoch can be trained again."""

    probe: str
    """Column of history.csv with the accuracy under a multi-step attack, measured every epoch."""
    single: str
    """Column of history.csv with the accuracy under the single step, measured every epoch."""
    share: float = Field(0.3, gt=0, lt=1)
    """Robustness is lost below this share of its highest value so far. Without a collapse: the epoch of the largest drop."""
    distortion: str | None = None
    """Column of history.csv with the distortion, measured every epoch: the weights after the first epoch since the collapse in
    which it is below 1 % are kept, too; the last ones if there is none."""


class Augmentation(Strict):
    """Random changes of training images, drawn anew each epoch."""

    crop: int = Field(0, ge=0)
    """Zero padding before a random crop to the original size, in pixels; 0: none."""
    flip: bool = False
    """Mirror half of the images left to right."""
    cutout: int = Field(0, ge=0)
    """Side of a square at a random place, in pixels, cut off at the border; 0: none. It holds the value that the architecture's
    normalisation sends to 0 (the mean colour of the data set), as if it were cut out after that, and black for raw pixels."""


class Recipe(FromCatalog):
    """The training of a model; the study gives data set, architecture, eps and seed."""

    catalogue: ClassVar[tuple[str, str]] = ("method", "method")

    about: str = ""
    """Work, section, and what the work left silent."""
    extends: str | None = None
    """Name of a recipe whose keys this one starts from. A key written here replaces that key as a whole, mappings too; a key with
    dots, such as `optimizer.parameters.lr`, replaces that one value and leaves the rest."""
    variants: dict[str, dict[str, Any]] = {}
    """Name -> the keys that differ from this recipe's, replaced as under `extends`. The variant `v` of a recipe `r` is `r-v`."""
    factors: dict[str, Any] = {}
    """Column -> what items call this recipe there, e.g. `method: AT`. An item that has the column among its factors gets it where
    a measurement has no such column. `'{optimizer.parameters.lr}'` stands for the value of that key."""
    method: str
    """Name of a method (`robustscape list methods`)."""
    parameters: dict[str, Any] = {}
    """Keyword arguments of the method."""
    attack: str | None = None
    """Name of the training attack in config/attacks/; null for methods that need none."""
    eps_schedule: Schedule = Schedule()
    """Factor on eps over training."""
    optimizer: Optimizer
    """The optimizer."""
    lr_schedule: Schedule = Schedule()
    """Factor on the learning rate over training."""
    phases: list[Phase] = []
    """Changes of method or optimizer during training."""
    epochs: int = Field(ge=1)
    """Passes over the training set."""
    batch_size: int | None = Field(128, ge=1)
    """Samples of a step; null: the whole training set (full-batch descent)."""
    augmentation: Augmentation = Augmentation()
    """Random changes of training images."""
    recalibrate: int = Field(0, ge=0)
    """Batches from which BatchNorm's running statistics are estimated anew after every epoch, for weights that no pass has seen
    (Entropy-SGD): the epoch's first ones, attacked at the weights it ends with. 0: they are what training left. It changes
    accuracies, so recipes that are compared all have it, or none; the selected weights are kept with what training left, too
    (`weights: as_trained` of a measurement)."""
    probes: dict[str, Probe] = {}
    """Column of history.csv -> what is measured."""
    traces: dict[str, Trace] = {}
    """Column of updates.csv -> what is recorded."""
    traced_updates: TracedUpdates = TracedUpdates()
    """At which updates the traces are taken."""
    keep: list[float] = []
    """Fractions of training after which the weights are kept, beside the selected and the last ones."""
    keep_collapse: KeepCollapse | None = None
    """The rule by which the state before a collapse is kept; null: nothing is kept."""
    if_diverged: Literal["fail", "record"] = "fail"
    """Response to an epoch that leaves a loss or weights that are not finite. `fail`: an error; `record`: the run ends with the
    weights from before that epoch, and all its numbers are flagged."""
    select: str = "last"
    """The epoch whose weights become model.safetensors: `last`, or the name of the probe whose highest value selects it."""
    precision: Literal["fp32", "tf32", "bf16"] | None = None
    """Arithmetic of an update and its attack; weights, perturbations, probes and health are fp32. Null: the scale's, or fp32."""
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    """Layout of images and weights; changes speed, and the last bits of results."""

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.select != "last" and self.select not in self.probes:
            raise ValueError(f"select must be 'last' or one of the probes {sorted(self.probes)}, got '{self.select}'")
        if self.eps_schedule.warmup:
            raise ValueError("warmup belongs to lr_schedule; in eps_schedule write kind 'linear' with start 0")
        rule = self.keep_collapse
        for column in (rule.probe, rule.single, *([rule.distortion] if rule.distortion else [])) if rule else ():
            if column not in self.probes or self.probes[column].every != 1:
                raise ValueError(f"keep_collapse needs probes that are measured every epoch, got '{column}'")
        if rule and self.if_diverged == "record":
            raise ValueError(
                "keep_collapse keeps an epoch to train it again, so if_diverged must be 'fail', got 'record'"
            )
        for column, probe in self.probes.items():
            if probe.as_trained and not self.recalibrate:
                raise ValueError(
                    f"probe '{column}' got as_trained, but without recalibrate every probe is; delete the key"
                )
        if any(not 0 < fraction < 1 for fraction in self.keep):
            raise ValueError(f"keep takes fractions of training within (0, 1), got {self.keep}")
        if len(set(self.keep)) < len(self.keep):
            raise ValueError(f"keep takes each fraction of training once, got {self.keep}")
        starts = [phase.at for phase in self.phases]
        if sorted(starts) != starts:
            raise ValueError(f"phases must be in the order of their 'at', got {starts}")
        return self

    def epoch(self, fraction: float) -> int:
        """The epoch, counted from 1, at whose end a fraction of training is done."""
        return max(1, round(fraction * self.epochs))

    @property
    def kept_files(self) -> list[str]:
        """Files of the weights that ``keep`` asks for."""
        return [f"epoch{self.epoch(fraction)}.safetensors" for fraction in self.keep]

    def in_force(self, epoch: int) -> InForce:
        """Method and optimizer of an epoch, counted from 0."""
        now = InForce(0, self.method, self.parameters, self.optimizer, False)
        for number, phase in enumerate(self.phases, 1):
            if self.epoch(phase.at) <= epoch:
                method, parameters = (phase.method, phase.parameters) if phase.method else (now.method, now.parameters)
                now = InForce(number, method, parameters, phase.optimizer or now.optimizer, phase.keep_state)
        return now


class InForce(NamedTuple):
    """The method, its parameters and the optimizer of one epoch."""

    phase: int
    """0 before the first of the recipe's phases."""
    method: str
    parameters: dict[str, Any]
    optimizer: Optimizer
    keep_state: bool


class RecipeSizes(Strict):
    """The sizes of a recipe that a scale may change: how it gets trained in less time, and on what sizes it is probed.

    They are chosen by the health of the nets alone, never by looking at verdicts.
    """

    epochs: int | None = Field(None, ge=1)
    """Passes over the training set."""
    batch_size: int | None = Field(None, ge=1)
    """Samples of a step, where the stand-in data set is too small for the work's batch size."""
    lr_factor: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Factor on the optimizer's `lr`, in phases too: fewer and smaller batches need another rate."""
    inner_steps: int | None = Field(None, ge=1)
    """Batches of an outer update, of every optimizer that takes `inner_steps` (Entropy-SGD's L)."""
    recalibrate: int | None = Field(None, ge=1)
    """Batches from which a recipe that has `recalibrate` estimates BatchNorm's statistics."""
    augmentation: Augmentation | None = None
    """In the pixels of the stand-in; the works' are for images of 32 x 32."""
    traced_updates: int | None = Field(None, ge=1)
    """Upper bound of the updates recorded at the beginning and at the end."""
    probe_points: int | None = Field(None, ge=1)
    """Points of every probe that takes `points`."""
    probe_samples: int | None = Field(None, ge=1)
    """Samples of every probe that takes `samples`."""
