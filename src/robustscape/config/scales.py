"""``config/scales/<scale>/*.yaml``: sizes and stand-ins; the rules, methods, attacks and seeds are the same at every scale.

``common.yaml`` holds what all works share, ``<work>.yaml`` what one work adds. Later patterns win, and a work's come last.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PrivateAttr

from robustscape.config.base import Strict
from robustscape.config.recipes import RecipeSizes
from robustscape.numbers import Budget


class MeasurementSizes(Strict):
    """The sizes of a measurement or theory check that a scale may change."""

    samples: int | None = Field(None, ge=1)
    """Data points measured on."""
    attacked_samples: int | None = Field(None, ge=1)
    """The first of them that attacks see, where a measurement has both: clean accuracy stays on all `samples`."""
    hessian_samples: int | None = Field(None, ge=1)
    """Those of a Hessian, where a measurement has others besides."""
    points: int | None = Field(None, ge=2)
    """Grid points of a curve or of a side of a surface."""
    directions: int | None = Field(None, ge=1)
    """Random directions."""
    draws: int | None = Field(None, ge=1)
    """Monte Carlo draws."""
    updates: int | None = Field(None, ge=1)
    """Updates of a net that a measurement trains itself."""
    eps: Budget | None = None
    """Budget of the attacks of a measurement that states its own: where runs are trained at a stand-in for the work's eps."""
    by_eps: Budget | None = None
    """The same of the examples by which a measurement chooses learning rates."""
    smooth: int | None = Field(None, ge=1)
    """Values of a running mean: small batches need more of them."""
    suite: str | None = None
    """Suite of attacks; the rows name the one that ran."""


class StandIns(Strict):
    """Stand-ins, in some of a study's runs, for the data sets, architectures and eps of the work."""

    datasets: dict[str, str] = {}
    """The work's data set -> an entry of datasets.yaml."""
    architectures: dict[str, str] = {}
    """The work's architecture -> an entry of architectures.yaml."""
    eps: dict[Budget, Budget] = {}
    """The work's eps in training -> the one used: small images need another eps."""
    seeds: int | None = Field(None, ge=1)
    """Maximum number of seeds of these runs; null: the scale's `seeds`."""


class StageResources(Strict):
    """The resources that a job of a stage asks the scheduler for."""

    threads: int = Field(1, ge=1)
    """CPU threads."""
    mem_mb: int = Field(2000, ge=100)
    """Memory in MB, at least."""
    runtime: int = Field(30, ge=1)
    """Minutes, at least."""
    gpu: int = Field(0, ge=0, le=1)
    """GPUs."""
    slots: int = Field(1, ge=1)
    """Jobs of the stage that may share a GPU of one machine: small networks leave most of it idle."""
    partition: str | None = None
    """Partition of the cluster; null: the profile's."""


#: Stages that the resources of a scale must name, and those that get theirs where they are not named.
_LIKE: dict[str, str] = {
    "landscape": "evaluate",
    "compare": "evaluate",
    "prepare": "item",
    "theory": "item",
    "claims": "item",
    "report": "item",
}


class Resources(Strict):
    """The resources that jobs of this scale ask the scheduler for, by stage."""

    tflops: float | None = Field(None, gt=0)
    """10^12 operations that a job is taken to do in a second. With it, jobs ask for twice the time that they are estimated to
    take, and for the memory; null: for what stands below."""
    longest: int | None = Field(None, ge=1)
    """Minutes that the cluster lets a job run, at most; a longer one goes on in the next attempt. null: no limit."""
    train: StageResources = StageResources()
    """Training."""
    evaluate: StageResources = StageResources()
    """Measurements."""
    item: StageResources = StageResources()
    """Tables and figures."""
    landscape: StageResources | None = None
    """Measurements of landscapes; null: as `evaluate`."""
    compare: StageResources | None = None
    """Comparisons of runs; null: as `evaluate`."""
    prepare: StageResources | None = None
    """Data sets; null: as `item`."""
    theory: StageResources | None = None
    """Theory checks; null: as `item`."""
    claims: StageResources | None = None
    """Verdicts; null: as `item`."""
    report: StageResources | None = None
    """The report page; null: as `item`."""

    def of_stage(self, stage: str) -> StageResources:
        """The resources of a job of a stage (a command of `robustscape`)."""
        own: StageResources | None = getattr(self, stage)
        return own or self.of_stage(_LIKE[stage])

    @property
    def stages(self) -> dict[str, StageResources]:
        """Stage -> its resources."""
        return {stage: self.of_stage(stage) for stage in ("train", "evaluate", "item", *_LIKE)}


class HealthThresholds(Strict):
    """Thresholds below which a run counts as under-trained; null: no gate.

    They are shares of the way from chance to perfection. Chance is an accuracy of 100 / C percent and a loss of ln C, for C
    classes.
    """

    clean: float | None = Field(None, ge=0, lt=1)
    """Least clean test accuracy: 0.4 is 46 % for 10 classes and 70 % for 2."""
    robust: float | None = Field(None, ge=0, lt=1)
    """Least test accuracy under the recipe's own training attack, where there is one: 0.1 is 19 % for 10 classes."""
    loss: float | None = Field(None, gt=0, le=1)
    """Largest training loss (cross-entropy, under the training attack) over ln C: 0.9 is a tenth of the way."""


class Rehearsal(Strict):
    """Random inputs and short attacks, with which all else that is the works' own is tried before anybody waits for it."""

    samples: int = Field(ge=2)
    """Random inputs of each part of a data set, in the shape of the real ones: the size of a batch, too, where that is larger."""
    steps: int = Field(ge=1)
    """Steps, iterations, queries and restarts of an attack, at most."""


class WorkSizes(Strict):
    """The stand-ins and sizes of one work at a scale; its patterns need no name of the work."""

    stand_ins: dict[str, StandIns] = {}
    """Run list, or pattern with *, -> stand-ins of those runs, before those of `common.yaml`; later patterns win."""
    recipes: dict[str, RecipeSizes] = {}
    """Recipe without `<work>_`, or pattern with *, -> its sizes."""
    measurements: dict[str, MeasurementSizes] = {}
    """Measurement, comparison or theory check, or pattern with *, -> its sizes."""


class Scale(Strict):
    """The settings that all works share at a scale.

    Patterns are `<work>/<run list>`, `<work>_<recipe>` and `<work>/<measurement>`.
    """

    about: str
    """Purpose of the scale."""
    datasets: dict[str, str] = {}
    """The work's data set -> the entry of datasets.yaml that stands in for it."""
    architectures: dict[str, str] = {}
    """The work's architecture -> the entry of architectures.yaml that stands in for it."""
    stand_ins: dict[str, StandIns] = {}
    """Run lists -> stand-ins of those runs, before the ones above; later patterns win."""
    recipes: dict[str, RecipeSizes] = {}
    """Recipes -> their sizes."""
    measurements: dict[str, MeasurementSizes] = {}
    """Measurements, comparisons or theory checks -> their sizes."""
    seeds: int | None = Field(None, ge=1)
    """Maximum number of seeds of every run set; null: all seeds of the work."""
    health: HealthThresholds = HealthThresholds()
    """When a run is under-trained: rows made from it are flagged, and no claim about trained nets is judged by them."""
    rehearsal: Rehearsal | None = None
    """Sizes of a rehearsal, whose numbers mean nothing; null: this scale is none."""
    runs_per_job: int = Field(1, ge=1)
    """Runs of one data set, architecture and recipe that share a process: starting one costs seconds."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one."""
    precision: Literal["fp32", "tf32"] = "fp32"
    """Arithmetic in which recipes train that state none. tf32: GPUs round the factors of products and convolutions to 10 bits of
    mantissa and are several times as fast; CPUs compute fp32. Probes, health and evaluations are fp32 at every scale."""
    resources: Resources = Resources()
    """The resources that jobs ask the scheduler for."""

    _files: dict[str, str] = PrivateAttr(default_factory=dict)

    def with_file(self, path: str, prefixes: tuple[str, ...] = ("",)) -> Scale:
        """The scale that knows from which file patterns with one of the prefixes are, for messages."""
        scale = self.model_copy()
        scale._files = {**self._files, **dict.fromkeys(prefixes, path)}
        return scale

    def file_of(self, pattern: str = "") -> str:
        """The file that a pattern is from, a plug-in's too; without a pattern that of the settings of all works."""
        fitting = [prefix for prefix in self._files if pattern.startswith(prefix)]
        return self._files[max(fitting, key=len)] if fitting else "scale"

    def with_work(self, work: str, sizes: WorkSizes, path: str) -> Scale:
        """The scale with a work's patterns, its name before each, after the ones it has.

        Args:
            work: the work.
            sizes: its patterns.
            path: their file.
        """
        return self.with_file(path, (f"{work}/", f"{work}_")).model_copy(
            update={
                "stand_ins": {**self.stand_ins, **{f"{work}/{key}": value for key, value in sizes.stand_ins.items()}},
                "recipes": {**self.recipes, **{f"{work}_{key}": value for key, value in sizes.recipes.items()}},
                "measurements": {
                    **self.measurements,
                    **{f"{work}/{key}": value for key, value in sizes.measurements.items()},
                },
            }
        )
