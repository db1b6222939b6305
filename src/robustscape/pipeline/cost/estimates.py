"""The price of parts of a plan, in tables of text: works, items, data sets, the longest job, days on some GPUs. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from robustscape.errors import unknown_name
from robustscape.pipeline.cost.prices import Price, Rate, price_jobs
from robustscape.pipeline.cost.schedule import longest_ways, makespan, needed_jobs
from robustscape.pipeline.jobs import Job, list_jobs
from robustscape.pipeline.plan import Plan


@dataclass(frozen=True)
class Estimate:
    """What some jobs take together."""

    runs: int
    jobs: int
    passes: float
    """Forward passes of a sample."""
    flop: float
    training: float
    """Hours of a device."""
    measuring: float
    """Hours of a device."""
    disk: float
    """Bytes."""
    longest: tuple[float, str]
    """Hours of the longest job, and its name."""
    device_memory: float
    """Bytes of a device that the largest job needs."""
    unpriced: int
    """Jobs whose networks nobody has counted, which are in none of the others."""

    @property
    def hours(self) -> float:
        """Hours of a device."""
        return self.training + self.measuring


class Estimates:
    """A plan's jobs with their prices, and what parts of them take.

    Args:
        plan: the plan.
        rate: the speed of a device.
    """

    def __init__(self, plan: Plan, rate: Rate) -> None:
        self.plan = plan
        self.rate = rate
        self.jobs = list_jobs(plan)
        self.prices = {
            (job.stage, job.name): price for job, price in zip(self.jobs, price_jobs(plan, self.jobs), strict=True)
        }

    def price(self, job: Job) -> Price:
        """Return the price of one of the jobs."""
        return self.prices[job.stage, job.name]

    def seconds(self, job: Job) -> float:
        """Return the seconds that a job takes."""
        return self.price(job).seconds(self.rate)

    def on_gpu(self, job: Job) -> bool:
        """Return whether a job takes a device: all that train and measure, whatever the device is."""
        return job.stage in ("train", "evaluate", "landscape", "compare")

    # -- parts of the plan ----------------------------------------------------------------------------------------------

    def select(self, targets: Iterable[str]) -> list[Job]:
        """Return the jobs of some targets (WORK, WORK/ITEM, WORK_on_DATASET) and all that they need; of none: every job.

        Raises:
            ConfigError: a target is unknown.
        """
        wanted = {item for target in targets for item in self.items_of(target)}
        if not wanted:
            return self.jobs
        made = {str(self.plan.item_path(*item.split("/"))) for item in wanted}
        # A job that makes several items needs what all of them need; here each item is asked for alone.
        items = [job for job in self.jobs if job.stage == "item" and made & set(job.outputs)]
        return needed_jobs(self.jobs, [self._for_items(job, wanted) for job in items])

    def _for_items(self, job: Job, wanted: set[str]) -> Job:
        """Return a job of items with the inputs of the wanted ones alone."""
        kept = [target for target in job.targets if target in wanted]
        studies = self.plan.studies
        inputs = [
            str(path)
            for work, name in (target.split("/") for target in kept)
            for path in self.plan.item_sources(work, studies[work].items[name])
        ]
        return Job(job.stage, job.name, tuple(kept), tuple(dict.fromkeys(inputs)), job.outputs, "", job.work)

    def items_of(self, target: str) -> list[str]:
        """Return the items ``work/name`` that a target stands for.

        Raises:
            ConfigError: it is unknown.
        """
        work, slash, _ = target.partition("/")
        studies = self.plan.studies
        if slash:
            return ["/".join(self.plan.find_target("items", target))]
        if work in studies:
            return [f"{work}/{name}" for name in studies[work].items]
        parts = {part: (work, items) for work in studies for part, items in self.plan.some_items(work).items()}
        if target not in parts:
            raise unknown_name("work, or part of one,", target, [*studies, *parts])
        work, items = parts[target]
        return [f"{work}/{name}" for name in items]

    # -- numbers --------------------------------------------------------------------------------------------------------

    def estimate(self, jobs: Sequence[Job]) -> Estimate:
        """Return what some jobs take."""
        prices = [self.price(job) for job in jobs]
        hours = [price.seconds(self.rate) / 3600 for price in prices]
        devices = [(h, job) for h, job in zip(hours, jobs, strict=True) if self.on_gpu(job)]
        longest, job = max(devices, key=lambda pair: pair[0], default=(0.0, None))
        return Estimate(
            runs=sum(len(job.targets) for job in jobs if job.stage == "train"),
            jobs=len(jobs),
            passes=sum(price.passes for price in prices),
            flop=sum(price.flop for price in prices),
            training=sum(h for h, job in devices if job.stage == "train"),
            measuring=sum(h for h, job in devices if job.stage != "train"),
            disk=sum(price.disk for price in prices),
            longest=(longest, f"{job.stage} {job.name}" if job else ""),
            device_memory=max((price.gpu_memory for price in prices), default=0.0),
            unpriced=sum(not price.priced for price in prices),
        )

    def days(self, jobs: Sequence[Job], gpus: int) -> float:
        """Return the days until the last of some jobs ends, on so many devices."""
        seconds = [self.seconds(job) for job in jobs]
        return makespan(jobs, seconds, [self.on_gpu(job) for job in jobs], gpus) / 86400

    def chain_days(self, jobs: Sequence[Job]) -> float:
        """Return the days of the longest chain of jobs, which no number of devices shortens."""
        return max(longest_ways(jobs, [self.seconds(job) for job in jobs]), default=0.0) / 86400

    # -- text -----------------------------------------------------------------------------------------------------------

    def lines(self, targets: Sequence[str], gpus: Sequence[int], *, items: bool = False) -> list[str]:
        """Return the estimate of some targets, or of the whole plan, as lines of text.

        Args:
            targets: WORK, WORK/ITEM or WORK_on_DATASET; none: everything.
            gpus: numbers of devices for which the time to the last job is worked out.
            items: a line for each item alone instead of each target.
        """
        jobs = self.select(targets)
        named = list(targets) or list(self.plan.studies)
        if items:
            named = [item for target in named for item in self.items_of(target)]
        rows = [(name, self.estimate(self.select([name]))) for name in named]
        whole = self.estimate(jobs)
        table = aligned([HEAD, *(row_of(name, one) for name, one in rows), row_of("together", whole)])
        device = "GPU" if self.plan.experiment.scale.resources.of_stage("train").gpu else "core"
        found = [
            f"scale {self.plan.experiment.scale_name}, {self.rate.text}",
            "",
            *table,
            "",
            f"longest job: {hours_text(whole.longest[0])} h ({whole.longest[1]})",
            f"largest job: {whole.device_memory / 1e9:.1f} GB on a GPU",
            *(
                f"on {number} {device}{'s' if number > 1 else ''}: {days_text(self.days(jobs, number))} days"
                for number in gpus
            ),
            f"on any number: {days_text(self.chain_days(jobs))} days",
        ]
        if whole.unpriced:
            found.append(
                f"not counted: {whole.unpriced} jobs whose network or data set is new; `robustscape cost --count` counts networks"
            )
        return found


#: The columns of the tables. What two works share is in the line of each.
HEAD = ("", "runs", "jobs", "10^9 passes", "10^18 operations", "hours training", "measuring", "GB disk")


def row_of(name: str, one: Estimate) -> tuple[str, ...]:
    """Return the cells of a line."""
    return (
        name,
        str(one.runs),
        str(one.jobs),
        significant(one.passes / 1e9),
        significant(one.flop / 1e18),
        hours_text(one.training),
        hours_text(one.measuring),
        significant(one.disk / 1e9),
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines whose columns are aligned: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def significant(value: float, digits: int = 2) -> str:
    """Return a number with two significant digits, without an exponent.

    >>> significant(0.0123), significant(1234.5), significant(0)
    ('0.012', '1200', '0')
    """
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    return f"{rounded:.12f}".rstrip("0").rstrip(".") if rounded < 1e12 else f"{rounded:.0f}"


def hours_text(hours: float) -> str:
    """Return hours: two significant digits, but below a hundredth."""
    return significant(hours) if hours >= 0.01 or hours == 0 else "<0.01"


def days_text(days: float) -> str:
    """Return days with two significant digits."""
    return significant(days)
