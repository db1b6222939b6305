"""What each job asks a scheduler for: what the scale says of its stage, and time and memory from its passes. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from robustscape.pipeline.cost.prices import Price, Rate, price_jobs
from robustscape.pipeline.jobs import Job
from robustscape.pipeline.plan import Plan

#: A job asks for so much more time, and memory, than it is estimated to take.
TIME_MARGIN, MEMORY_MARGIN = 2.0, 1.25


@dataclass(frozen=True)
class Needs:
    """The needs of a job."""

    threads: int
    mem_mb: int
    runtime: int
    """Minutes."""
    gpu: int
    partition: str | None

    @property
    def resources(self) -> dict[str, int | str]:
        """Snakemake's resources by name; no partition where the profile's is meant."""
        own: dict[str, int | str] = {"mem_mb": self.mem_mb, "runtime": self.runtime, "gpu": self.gpu}
        return own | ({"slurm_partition": self.partition} if self.partition else {})


def list_needs(plan: Plan, jobs: Sequence[Job]) -> list[Needs]:
    """Return the needs of each job."""
    tflops = plan.experiment.scale.resources.tflops
    if tflops is None:
        return [_needs(plan, job, None, None) for job in jobs]
    rate = Rate(tflops)
    return [_needs(plan, job, price, rate) for job, price in zip(jobs, price_jobs(plan, jobs), strict=True)]


def _needs(plan: Plan, job: Job, price: Price | None, rate: Rate | None) -> Needs:
    """Return the needs of a job: at least those of its stage, and what its price asks for; no more than the longest time."""
    resources = plan.experiment.scale.resources
    stage = resources.of_stage(job.stage)
    minutes, mem_mb = stage.runtime, stage.mem_mb
    if price is not None and rate is not None and stage.gpu:
        minutes = max(minutes, math.ceil(TIME_MARGIN * price.seconds(rate) / 60))
        mem_mb = max(mem_mb, math.ceil(MEMORY_MARGIN * price.memory / 1e6))
        if not price.priced:  # a network that nobody has counted may take any time
            minutes = max(minutes, resources.longest or minutes)
    return Needs(stage.threads, mem_mb, min(minutes, resources.longest or minutes), stage.gpu, stage.partition)
