"""The report: an HTML page with every item of a scale, its claims, and the record of how it was made.

Style and script are in the file. Pictures lie beside it and are loaded when they are scrolled to; a self-contained page has them
inside, can be sent by mail, and is ten times as large. It is made from the items' CSVs and pictures and from ``claims.csv``,
which their records must vouch for. Any of them may be missing or broken: the page says so, and shows no number of it.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import pandas as pd

from robustscape.config.studies import Study
from robustscape.errors import CorruptFile, UserError
from robustscape.report.methods import MethodTable, method_tables
from robustscape.report.run_facts import Origins, RunFacts
from robustscape.report.shown_item import CHIPS, ShownItem, anchor, shown_item
from robustscape.report.verdict_counts import KINDS, count_verdicts, counts_in_words
from robustscape.report.words import FAILS, HOLDS
from robustscape.storage import records
from robustscape.storage.atomic import write_text

#: Folder of the templates, style sheet and script; they belong to the fingerprint of the page.
TEMPLATES = Path(__file__).parent / "templates"

#: What the page of a scale is called below ``report/``, and the one that has everything inside.
PAGE, SELF_CONTAINED = "index.html", "self_contained.html"


@dataclass
class ShownWork:
    """A work as the template sees it.

    Args:
        key: of the work.
        study: its items.
        items: what is shown of them.
        methods: tables of the methods that it compares.
        seconds: spent on everything behind its items, and on its trained runs.
    """

    key: str
    study: Study
    items: list[ShownItem]
    methods: list[MethodTable] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def made(self) -> int:
        """Number of items that are shown."""
        return sum(item.made for item in self.items)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Kind of claim -> CSS class of a verdict -> number of claims, for kinds that have claims."""
        found: dict[str, dict[str, int]] = {}
        for kind in KINDS:
            chips = [claim["chip"] for item in self.items for claim in item.claims if claim["kind"] == kind]
            if chips:
                found[kind] = {chip: chips.count(chip) for chip in ("holds", "fails", "untestable")}
        return found

    @property
    def runs(self) -> list[RunFacts]:
        """The runs behind its items, each once."""
        return list({run.key: run for item in self.items for run in item.runs}.values())


@dataclass(frozen=True)
class Page:
    """A page as HTML, and a sentence for each result that is broken; the page has them too."""

    html: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class StandIn:
    """What ran for what, and where: ``items`` are names of items by work."""

    theirs: str
    ran: str
    items: Mapping[str, int]


def write_page(
    studies: Mapping[str, Study],
    root: Path,
    scale: str,
    *,
    command: str = "",
    when: str | None = None,
    origins: Origins | None = None,
    repository: str = "",
    self_contained: bool = False,
) -> Path:
    """Write ``report/index.html`` below ``root`` (``results/<scale>``) and return its path.

    Args:
        studies: the works to show.
        root: the scale's results.
        scale: its name.
        command: the command that regenerates everything; ``make reproduce SCALE=<scale>`` by default.
        when: the date to print; now, to the minute, in UTC, by default.
        origins: the runs, configuration and code behind the items, where they are known.
        repository: address of the project's repository, to which configuration and code are linked; "" to name them only.
        self_contained: True to write ``report/self_contained.html`` instead, with everything inside.

    Raises:
        CorruptFile: results are broken; the page is written all the same, and says which.
    """
    path = root / "report" / (SELF_CONTAINED if self_contained else PAGE)
    page = make_page(
        studies,
        root,
        scale,
        command=command or f"make reproduce SCALE={scale}",
        when=when,
        origins=origins,
        repository=repository,
        self_contained=self_contained,
    )
    write_text(path, page.html)
    if page.problems:
        raise CorruptFile(f"{path} is written, without what is broken. {' '.join(page.problems)}")
    return path


def make_page(
    studies: Mapping[str, Study],
    root: Path,
    scale: str,
    *,
    command: str,
    when: str | None = None,
    origins: Origins | None = None,
    repository: str = "",
    self_contained: bool = False,
) -> Page:
    """Return the page, and what is broken; arguments as for ``write_page``."""
    claims, problem = _claims_by_item(root / "claims.csv")
    origins = origins or Origins()
    works: list[ShownWork] = []
    costs: dict[Path, float] = {}
    for key, study in studies.items():
        items = [
            shown_item(key, name, item, root, claims=claims.get((key, name), []), origins=origins, embed=self_contained)
            for name, item in study.items.items()
        ]
        work = ShownWork(key, study, items)
        cost = {(root / "models" / run.key / "run.json").resolve(): run.seconds or 0.0 for run in work.runs}
        cost |= _seconds_by_record([root / key / f"{one.name}.json" for one in items if one.made])
        costs |= cost
        work.seconds = sum(cost.values())
        work.methods = method_tables([(one.item, one.rows) for one in items if one.rows is not None], work.runs)
        works.append(work)
    everything = [item for work in works for item in work.items]
    judged = count_verdicts(claim for item in everything for claim in item.claims)
    problems = [*([("claims.csv", problem)] if problem else []), *_problems(everything)]
    html = (
        template_environment()
        .get_template("page.html.jinja")
        .render(
            works=works,
            everything=everything,
            made=sum(item.made for item in everything),
            total=len(everything),
            counts={
                "holds": judged["empirical"].get(HOLDS, 0),
                "fails": judged["empirical"].get(FAILS, 0),
                "untestable": sum(n for verdict, n in judged["empirical"].items() if verdict not in CHIPS),
            },
            kinds=[(kind, about, counts_in_words(judged[kind])) for kind, about in KINDS.items() if judged[kind]],
            compared=sum(item.compared for item in everything),
            within=sum(item.within for item in everything),
            stood_in=sum(bool(item.stand_ins) for item in everything),
            stood_in_printed=any(item.stand_ins and item.printed for item in everything),
            stand_ins=_stand_in_table(everything),
            runs=list({run.key: run for work in works for run in work.runs}.values()),
            problems=problems,
            seconds=sum(costs.values()),
            versions=_recorded_versions(everything),
            scale=scale,
            command=command,
            when=when or datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            repository=repository.removesuffix("/").removesuffix(".git"),
            self_contained=self_contained,
        )
    )
    return Page(html, tuple(dict.fromkeys(text for _, text in problems)))


def template_environment() -> jinja2.Environment:
    """Return the environment of the templates: everything is escaped, and a name that is not there is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["duration"] = duration
    environment.filters["anchor"] = anchor
    environment.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False, default=str)
    environment.globals.update(
        css=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
        js=(TEMPLATES / "page.js").read_text(encoding="utf-8"),
    )
    return environment


def duration(seconds: float) -> str:
    """Return a duration in words.

    >>> duration(0.52), duration(75), duration(7300)
    ('0.5 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def _claims_by_item(csv: Path) -> tuple[dict[tuple[str, str], list[dict[str, str]]], str]:
    """Return the rows of ``claims.csv`` by (work, item), each with ``chip``, the CSS class of its verdict, and what is wrong."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    if not csv.exists():
        return {}, ""
    try:
        for claim in read_claims(csv):
            claim["chip"] = CHIPS.get(claim["verdict"], "untestable")
            found.setdefault((claim["work"], claim["item"]), []).append(claim)
    except (UserError, ValueError, KeyError, OSError) as error:
        return {}, str(error) if isinstance(error, UserError) else f"{csv} cannot be read: {error}."
    return found, ""


def read_claims(csv: Path) -> list[dict[str, str]]:
    """Return the rows of a ``claims.csv``.

    Raises:
        CorruptFile: its record does not vouch for it.
        ValueError: it is no table.
    """
    rows = pd.read_csv(records.check_recorded(csv), dtype=str, keep_default_na=False).to_dict("records")
    claims = [{str(key): str(value) for key, value in row.items()} for row in rows]
    if any(claim.get("kind") not in KINDS for claim in claims):
        raise ValueError(f"{csv} has a claim of no known kind")
    return claims


def _seconds_by_record(paths: list[Path]) -> dict[Path, float]:
    """Return the time (s) of each record that can be reached from some; what they share is there once."""
    seconds = {}
    for path in paths:
        for place, record in records.reachable_records(path):
            value = record.get("seconds", 0.0)
            seconds[place.resolve()] = float(value) if isinstance(value, (int, float)) else 0.0
    return seconds


def _problems(items: list[ShownItem]) -> list[tuple[str, str]]:
    """Return the name of every broken item, and what is wrong with it."""
    return [(f"{item.work}/{item.name}", item.problem) for item in items if item.problem]


def _stand_in_table(items: list[ShownItem]) -> list[StandIn]:
    """Return what stood in for what, each pair once, with the number of items by work; sorted by what it stood in for."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for item in items:
        for text in item.stand_ins:
            ran, _, theirs = text.partition(" for ")
            by_work = found.setdefault((theirs, ran), {})
            by_work[item.work] = by_work.get(item.work, 0) + 1
    return [StandIn(theirs, ran, by_work) for (theirs, ran), by_work in sorted(found.items())]


def _recorded_versions(items: list[ShownItem]) -> dict[str, str]:
    """Return the versions recorded with the items, key -> value; different values are joined by commas."""
    found: dict[str, dict[str, None]] = {}
    for item in items:
        for source in ("environment", "versions"):
            for key, value in (item.record.get(source) or {}).items():
                if value is not None and not isinstance(value, (dict, list)):
                    found.setdefault(key, {})[str(value)] = None
    return {key: ", ".join(values) for key, values in found.items()}
