"""``config/scales/<scale>.yaml``: sizes and stand-ins. The rules, methods, attacks and seeds are the same at every scale."""

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
    seeds: int | None = Field(None, ge=1)
    """At most so many seeds of these runs; null: as many as the scale's `seeds` allows."""


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


class Scale(Strict):
    """A size of the whole experiment."""

    about: str
    """What it is for."""
    datasets: dict[str, str] = {}
    """The work's data set -> the entry of datasets.yaml that stands in for it."""
    architectures: dict[str, str] = {}
    """The work's architecture -> the entry of architectures.yaml that stands in for it."""
    stand_ins: dict[str, StandIns] = {}
    """`work/runs`, or pattern with *, -> stand-ins of those runs, before the ones above; later patterns win."""
    recipes: dict[str, RecipeSizes] = {}
    """Recipe name, or pattern with *, -> its sizes."""
    measurements: dict[str, MeasurementSizes] = {}
    """`work/name`, or pattern with *, -> sizes of a measurement, comparison or theory check."""
    seeds: int | None = Field(None, ge=1)
    """At most so many seeds of every run set; null: all of them, as the work has."""
    runs_per_job: int = Field(1, ge=1)
    """Runs of one data set, architecture and recipe that share a process: starting one costs seconds."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one."""
    resources: Resources = Resources()
    """What jobs ask of the scheduler."""
