"""The tables of the documentation's page on cost, made from the plan at the scale ``paper``. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import InForce, Optimizer
from robustscape.errors import ConfigError
from robustscape.pipeline.cost.estimates import Estimate, Estimates, days_text, hours_text, significant
from robustscape.pipeline.cost.passes import Task, update_passes
from robustscape.pipeline.cost.prices import Rate
from robustscape.pipeline.plan import Plan
from robustscape.storage import atomic

#: The lines of the page between which the tables stand.
BEGIN = "<!-- Tables made by `robustscape --scale paper cost --page docs/explanation/cost.md`: do not edit. -->"
END = "<!-- End of the tables. -->"

#: Hours of a GPU for which the page says what fits.
BUDGETS = (1, 10, 100)

#: Numbers of GPUs for which it says how many days all takes.
GPUS = (1, 8, 64)


def write_page(path: Path, plan: Plan, rate: Rate) -> None:
    """Replace the tables of the page.

    Raises:
        ConfigError: the file is no page with the two lines.
    """
    try:
        head, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}).") from None
    _, end, tail = rest.partition(END)
    if not end:
        raise ConfigError(f"{path} has no tables to replace: they stand between '{BEGIN}' and '{END}'.")
    atomic.write_text(path, f"{head}{BEGIN}\n\n{page_tables(plan, rate)}\n{END}{tail}")


def page_tables(plan: Plan, rate: Rate) -> str:
    """Return the tables: passes of an update, works, items on one data set, what fits into some hours, days on some GPUs."""
    every = Estimates(plan, rate)
    one_seed = Estimates(
        Plan(plan.experiment.with_seeds(1), plan.root.parent, list(plan.studies), plan.downloads), rate
    )
    parts = [
        f"At {rate.text}:",
        _works(every, one_seed),
        "### Days on some GPUs",
        _days(every),
        "### What fits",
        *_fits(every, one_seed),
        "### Passes of an update",
        _passes(),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _works(every: Estimates, one_seed: Estimates) -> str:
    head = (
        "work", "runs", "10^9 passes", "10^18 operations", "GPU-hours: training", "measuring", "with one seed",
        "GB on disk", "longest job, hours", "largest job, GB of the GPU",
    )  # fmt: skip

    def row(name: str, one: Estimate, single: Estimate) -> tuple[str, ...]:
        return (
            name,
            str(one.runs),
            significant(one.passes / 1e9),
            significant(one.flop / 1e18),
            hours_text(one.training),
            hours_text(one.measuring),
            hours_text(single.hours),
            significant(one.disk / 1e9),
            hours_text(one.longest[0]),
            significant(one.device_memory / 1e9),
        )

    rows = [row(work, *(e.estimate(e.select([work])) for e in (every, one_seed))) for work in every.plan.studies]
    return _table(head, [*rows, row("all of them", *(e.estimate(e.jobs) for e in (every, one_seed)))])


def _days(every: Estimates) -> str:
    head = ("work", *(f"{number} GPU{'s' if number > 1 else ''}" for number in GPUS), "any number")
    parts = [(work, every.select([work])) for work in every.plan.studies] + [("all of them", every.jobs)]
    rows = [
        (name, *(days_text(every.days(jobs, number)) for number in GPUS), days_text(every.chain_days(jobs)))
        for name, jobs in parts
    ]
    return _table(head, rows)


def _fits(every: Estimates, one_seed: Estimates) -> list[str]:
    """Return a table of calls by the hours that they fit into, and a table of how many items alone do."""
    plan = every.plan
    targets = [target for work in plan.studies for target in (work, *plan.some_items(work))]
    calls: dict[tuple[str, int], tuple[float, str, str, int]] = {}
    for target in targets:
        for setting, estimates in (("", every), (" seeds=1", one_seed)):
            part = estimates.estimate(estimates.select([target]))
            # With one seed in the work, fewer seeds are the same call.
            calls.setdefault((target, part.runs), (part.hours, target, setting, part.runs))
    rows = [
        (
            next((str(budget) for budget in BUDGETS if hours <= budget), "more"),
            hours_text(hours),
            f"`snakemake --config scale=paper{setting} -- {target}`",
            str(runs),
        )
        for hours, target, setting, runs in sorted(calls.values())
    ]
    items = [f"{work}/{item}" for work, study in plan.studies.items() for item in study.items]
    alone = {
        name: [estimates.estimate(estimates.select([item])).hours for item in items]
        for name, estimates in (("all seeds", every), ("one seed", one_seed))
    }
    counts = [
        (name, *(str(sum(h <= budget for h in hours)) for budget in BUDGETS), str(len(hours)))
        for name, hours in alone.items()
    ]
    return [
        _table(("GPU-hours", "estimate", "call", "runs"), rows),
        "Items that fit when they are made alone (`snakemake --config scale=paper seeds=1 -- yamada2021_table_1`):",
        _table(("", *(f"{budget} GPU-hour{'s' if budget > 1 else ''}" for budget in BUDGETS), "items"), counts),
    ]


def _passes() -> str:
    """Return a table of the passes of updates, by method and by optimizer."""
    task = Task(10, 3072)

    def spec(attack: str, steps: int) -> AttackSpec:
        return AttackSpec(attack=attack, parameters={"steps": steps})

    sgd = Optimizer(name="sgd", parameters={"lr": 0.1})
    methods: list[tuple[str, str, dict[str, object], AttackSpec | None]] = [
        ("standard", "standard", {}, None),
        ("fast AT, FGSM AT", "adversarial", {}, spec("pgd", 1)),
        ("PGD-7 AT", "adversarial", {}, spec("pgd", 7)),
        ("PGD-10 AT", "adversarial", {}, spec("pgd", 10)),
        ("TRADES, 10 steps", "trades", {}, spec("kl_pgd", 10)),
        ("MART, 10 steps", "mart", {}, spec("pgd", 10)),
        ("BAT, 10 steps, 2 bridges", "bat", {"bridges": 2}, spec("pgd", 10)),
        ("3 checkpoints", "single_step_checkpoints", {"checkpoints": 3}, spec("pgd", 1)),
        ("GradAlign", "gradalign", {}, spec("pgd", 1)),
        ("FOAR", "foar", {}, None),
        ("SOAR", "soar", {}, None),
        ("MMA", "mma", {}, None),
    ]
    optimizers = [
        Optimizer(name="awp", parameters={"lr": 0.1}),
        Optimizer(name="sam", parameters={"lr": 0.1}),
        Optimizer(name="msam", parameters={"lr": 0.1, "steps": 2}),
        Optimizer(name="esam", parameters={"lr": 0.1}),
    ]
    rows = [
        (name, "SGD", pretty(update_passes(InForce(0, method, dict(parameters), sgd, False), attack, task)))
        for name, method, parameters, attack in methods
    ]
    rows += [
        ("standard", f"{one.name}", pretty(update_passes(InForce(0, "standard", {}, one, False), None, task)))
        for one in optimizers
    ]
    return _table(("method", "optimizer", "passes of a sample"), rows)


def pretty(passes: float) -> str:
    """Return a number of passes with at most one decimal."""
    return f"{passes:.1f}".removesuffix(".0")
