"""``config/scales/<scale>/*.yaml``: sizes and stand-ins; the rules, methods, attacks and seeds are the same at every scale.

``common.yaml`` holds what all works share, ``<work>.yaml`` what one work adds. Later patterns win, and a work's come last.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robustscape.config.base import Strict
from robustscape.config.recipes import RecipeSizes
from robustscape.numbers import Number


class MeasurementSizes(Strict):
    """What a scale may change of a measurement or theory check: how much of it is done."""

    samples: int | None = Field(None, ge=1)
    """Data points measured on."""
    points: int | None = Field(None, ge=2)
    """Grid points of a curve or of a side of a surface."""
    directions: int | None = Field(None, ge=1)
    """Random directions."""
    draws: int | None = Field(None, ge=1)
    """Monte Carlo draws."""
    suite: str | None = None
    """Suite of attacks; the rows name the one that ran."""


class StandIns(Strict):
    """What stands in, in some of a study's runs, for what the work used."""

    datasets: dict[str, str] = {}
    """The work's data set -> an entry of datasets.yaml."""
    architectures: dict[str, str] = {}
    """The work's architecture -> an entry of architectures.yaml."""
    eps: dict[Number, Number] = {}
    """The work's training radius -> the one used: small images want other radii."""


class Resources(Strict):
    """What a job of this scale asks of the scheduler."""

    threads: int = Field(1, ge=1)
    """CPU threads of a training or measuring job."""
    mem_mb: int = Field(2000, ge=100)
    """Memory in MB."""
    runtime: int = Field(60, ge=1)
    """Minutes."""
    gpu: int = Field(0, ge=0, le=1)
    """GPUs of a training or measuring job."""


class WorkSizes(Strict):
    """What a scale changes of one work; its patterns need no name of the work."""

    stand_ins: dict[str, StandIns] = {}
    """Run list, or pattern with *, -> stand-ins of those runs, before those of `common.yaml`; later patterns win."""
    recipes: dict[str, RecipeSizes] = {}
    """Recipe without `<work>_`, or pattern with *, -> its sizes."""
    measurements: dict[str, MeasurementSizes] = {}
    """Measurement, comparison or theory check, or pattern with *, -> its sizes."""


class Scale(Strict):
    """What all works share at a scale. Patterns are `<work>/<run list>`, `<work>_<recipe>` and `<work>/<measurement>`."""

    about: str
    """What it is for."""
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
    """At most so many seeds of every run set; null: all of them, as the work has."""
    runs_per_job: int = Field(1, ge=1)
    """Runs of one data set, architecture and recipe that share a process: starting one costs seconds."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one."""
    resources: Resources = Resources()
    """What jobs ask of the scheduler."""

    def with_work(self, work: str, sizes: WorkSizes) -> Scale:
        """The scale with a work's patterns, its name before each, after the ones it has."""
        return self.model_copy(
            update={
                "stand_ins": {**self.stand_ins, **{f"{work}/{key}": value for key, value in sizes.stand_ins.items()}},
                "recipes": {**self.recipes, **{f"{work}_{key}": value for key, value in sizes.recipes.items()}},
                "measurements": {
                    **self.measurements,
                    **{f"{work}/{key}": value for key, value in sizes.measurements.items()},
                },
            }
        )
