"""The simulation of a schedule: what waits, what runs at once, how long all takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from robustscape.pipeline.cost.schedule import longest_ways, makespan, needed_jobs
from robustscape.pipeline.jobs import Job


def job(name: str, *inputs: str) -> Job:
    return Job("train", name, (name,), inputs, (f"{name}.out",), "")


CHAIN = [job("a"), job("b", "a.out"), job("c", "a.out", "elsewhere"), job("d", "b.out", "c.out"), job("e")]


def test_needed_jobs_are_those_behind_the_wanted() -> None:
    assert [one.name for one in needed_jobs(CHAIN, [CHAIN[2]])] == ["a", "c"]
    assert [one.name for one in needed_jobs(CHAIN, [CHAIN[3], CHAIN[4]])] == ["a", "b", "c", "d", "e"]


def test_a_diamond_and_one_job_beside_it() -> None:
    seconds, gpu = [1.0, 2.0, 3.0, 4.0, 5.0], [True] * 5
    assert longest_ways(CHAIN, seconds) == [8.0, 6.0, 7.0, 4.0, 5.0]
    assert makespan(CHAIN, seconds, gpu, 1) == 15
    assert makespan(CHAIN, seconds, gpu, 64) == 8
    # Two GPUs: a and e, then c, then b beside the rest of e and c: a 0-1, e 0-5, c 1-4, b 4-6, d 6-10.
    assert makespan(CHAIN, seconds, gpu, 2) == 10


def test_jobs_without_a_gpu_do_not_wait_for_one() -> None:
    assert makespan([job("a"), job("b"), job("c")], [5.0, 5.0, 5.0], [True, False, False], 1) == 5
    assert makespan([], [], [], 1) == 0


@given(st.lists(st.tuples(st.integers(1, 9), st.sets(st.integers(0, 19), max_size=3)), max_size=20), st.integers(1, 5))
def test_a_schedule_is_between_its_bounds(drawn: list[tuple[int, set[int]]], gpus: int) -> None:
    jobs = [job(str(n), *(f"{before}.out" for before in needs if before < n)) for n, (_, needs) in enumerate(drawn)]
    seconds = [float(length) for length, _ in drawn]
    found = makespan(jobs, seconds, [True] * len(jobs), gpus)
    least = max(max(longest_ways(jobs, seconds), default=0.0), sum(seconds) / gpus)
    assert least <= found + 1e-9
    assert found <= sum(seconds) / gpus + max(longest_ways(jobs, seconds), default=0.0) + 1e-9
