"""How long some jobs take on some GPUs, by simulation: list scheduling over what they wait for. Imports no torch."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from robustscape.pipeline.jobs import Job


def needed_jobs(jobs: Sequence[Job], wanted: Sequence[Job]) -> list[Job]:
    """Return the wanted jobs and those whose files they need, directly or not, in the order of ``jobs``."""
    maker = {output: job for job in jobs for output in job.outputs}
    found: dict[tuple[str, str], Job] = {}
    waiting = list(wanted)
    while waiting:
        job = waiting.pop()
        if (job.stage, job.name) not in found:
            found[job.stage, job.name] = job
            waiting += [maker[path] for path in job.inputs if path in maker]
    return [job for job in jobs if (job.stage, job.name) in found]


def longest_ways(jobs: Sequence[Job], seconds: Sequence[float]) -> list[float]:
    """Return for each job the seconds of the longest chain of jobs that begins with it; the largest bounds every schedule."""
    after = _followers(jobs)
    ways = [0.0] * len(jobs)
    for number in reversed(range(len(jobs))):  # a job comes after those it needs
        ways[number] = seconds[number] + max((ways[other] for other in after[number]), default=0.0)
    return ways


def makespan(jobs: Sequence[Job], seconds: Sequence[float], on_gpu: Sequence[bool], gpus: int) -> float:
    """Return the seconds until the last job ends.

    Whenever a GPU is free it gets, of the jobs that wait for nothing, the one with the longest chain behind it. Jobs without a
    GPU begin as soon as they wait for nothing.

    Args:
        jobs: in an order in which each comes after those it needs.
        seconds: of each.
        on_gpu: whether it takes a GPU.
        gpus: how many there are, at least 1.
    """
    after, ways = _followers(jobs), longest_ways(jobs, seconds)
    waits = [0] * len(jobs)
    for others in after:
        for other in others:
            waits[other] += 1
    ready: list[tuple[float, int]] = []
    running: list[tuple[float, int]] = []
    free, now = gpus, 0.0

    def begin(number: int) -> None:
        heapq.heappush(running, (now + seconds[number], number))

    def offer(number: int) -> None:
        if on_gpu[number]:
            heapq.heappush(ready, (-ways[number], number))
        else:
            begin(number)

    for number, count in enumerate(waits):
        if count == 0:
            offer(number)
    while running or ready:
        while ready and free:
            free -= 1
            begin(heapq.heappop(ready)[1])
        now, done = heapq.heappop(running)
        free += on_gpu[done]
        for other in after[done]:
            waits[other] -= 1
            if waits[other] == 0:
                offer(other)
    return now


def _followers(jobs: Sequence[Job]) -> list[set[int]]:
    """Return for each job the numbers of those that read what it writes."""
    maker = {output: number for number, job in enumerate(jobs) for output in job.outputs}
    after: list[set[int]] = [set() for _ in jobs]
    for number, job in enumerate(jobs):
        for path in job.inputs:
            if path in maker:
                after[maker[path]].add(number)
    return after
