"""What the page shows of one item, read from its files; an item whose files are missing or broken says so and shows no number."""

from __future__ import annotations

import base64
import re
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from robustscape.config.studies import Claim, Item
from robustscape.errors import UserError
from robustscape.report import notes
from robustscape.report.alt_text import alt_text
from robustscape.report.items import count_printed, draw_item, read_rows
from robustscape.report.printed_numbers import PrintedTable, printed_table
from robustscape.report.run_facts import Origins, RunFacts
from robustscape.report.table import Cell, Table
from robustscape.report.verdict_counts import KINDS
from robustscape.report.words import FAILS, HOLDS
from robustscape.storage import records

#: Vector graphics of up to this many bytes are shown; larger ones (surfaces) are replaced by their PNG.
LARGEST_SVG = 400_000
#: CSS pixels per inch of a figure, chosen so that its text is about as large as that of the page.
_CSS_PIXELS_PER_INCH = 103.5
#: Text files of up to this many bytes are embedded in a self-contained page; larger ones are linked in their folder.
_LARGEST_DOWNLOAD = 200_000

_TYPES = {
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".tex": "application/x-tex",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
}
#: Verdict -> CSS class; all others, which say why a claim is not testable, are "untestable".
CHIPS = {HOLDS: "holds", FAILS: "fails"}

#: What reading the files of an item may raise where they are damaged, truncated or of another version.
_BROKEN = (UserError, ValueError, KeyError, TypeError, AttributeError, OSError, struct.error)


@dataclass
class ShownItem:
    """An item as the template sees it.

    Args:
        work: key of the work.
        name: key of the item, such as ``figure_3_1``.
        item: the item as the study describes it.
        made: True if its CSV exists and can be shown; all that follows is empty otherwise, except ``problem`` and ``claims``.
        problem: what is wrong with its files; empty if nothing is.
        table: the drawn table, for tables.
        picture: URL of the picture, for figures.
        alt: what it shows, in words.
        width: of the picture in CSS pixels.
        height: of the picture in CSS pixels.
        stand_ins: what ran in place of the study's data sets and architectures, such as "digits_01 for MNIST 0/1".
        own: True if data, architecture and protocol are the study's own in every row.
        printed: number of printed numbers.
        compared: number of rows whose difference from a printed number means something.
        within: number of these that are as close to it as the item's ``within`` asks.
        numbers: the printed numbers beside ours.
        flags: raised flags that the item does not acknowledge.
        claims: rows of ``claims.csv``, each with ``chip``, the CSS class of its verdict.
        downloads: pairs of file type and URL.
        record: the content of ``<item>.json``.
        rows: of its CSV.
        runs: the trained runs behind it.
        missing_runs: number of runs behind it that are not there any more, or not yet.
        configured: path of the file that configures it, seen from the project.
        code: paths of the files that measured and drew it, seen from the project.
    """

    work: str
    name: str
    item: Item
    made: bool = False
    problem: str = ""
    table: Table | None = None
    picture: str = ""
    alt: str = ""
    width: int = 0
    height: int = 0
    stand_ins: list[str] = field(default_factory=list)
    own: bool = False
    printed: int = 0
    compared: int = 0
    within: int = 0
    numbers: PrintedTable | None = None
    flags: list[str] = field(default_factory=list)
    claims: list[dict[str, str]] = field(default_factory=list)
    downloads: list[tuple[str, str]] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    rows: pd.DataFrame | None = None
    runs: list[RunFacts] = field(default_factory=list)
    missing_runs: int = 0
    configured: str = ""
    code: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """The id of its element in the page."""
        return anchor(f"{self.work}-{self.name}")

    @property
    def short(self) -> str:
        """The name as text: "figure 3.1" for ``figure_3_1``."""
        kind, _, number = self.name.partition("_")
        return f"{kind} {number.replace('_', '.')}".rstrip()

    @property
    def status(self) -> str:
        """The CSS class of its dot in the contents: broken, fails, holds, untestable, none (no claims) or missing (not made)."""
        if not self.made:
            return "broken" if self.problem else "missing"
        chips = {claim["chip"] for claim in self.claims}
        return next((chip for chip in ("fails", "holds", "untestable") if chip in chips), "none")

    @property
    def untrained(self) -> list[RunFacts]:
        """The runs behind it that are not trained, or whose health cannot be read."""
        return [run for run in self.runs if not run.is_trained]

    @property
    def commit(self) -> str:
        """The commit of the code that made it; empty where the record has none."""
        return str((self.record.get("environment") or {}).get("commit") or "")

    @property
    def is_dirty(self) -> bool:
        """True if the code had changes beside the commit."""
        return bool((self.record.get("environment") or {}).get("dirty"))

    @property
    def table_rows(self) -> list[tuple[list[tuple[str, bool]], tuple[Cell, ...], bool]]:
        """The body of its table: (headings, each with whether it repeats the one above, cells, True if a new group begins)."""
        if self.table is None:
            return []
        rows = zip(self.table.body, self.table.blanked(), strict=True)
        return [
            ([(level, not shown and bool(level)) for level, shown in zip(levels, blanked, strict=True)], cells, begins)
            for (levels, cells), (blanked, _, begins) in rows
        ]

    @property
    def claims_by_kind(self) -> list[tuple[str, str, list[tuple[dict[str, str], Claim | None]]]]:
        """Kind, what it is about, and its claims with their entries in the study, for every kind that has claims."""
        entries = {claim.id: claim for claim in self.item.claims}
        groups = []
        for kind, about in KINDS.items():
            found = [(claim, entries.get(claim["claim"])) for claim in self.claims if claim["kind"] == kind]
            if found:
                groups.append((kind, about, found))
        return groups


def anchor(text: str) -> str:
    """Return a text as an id: letters, digits, dots, hyphens and underscores stay, everything else is a hyphen."""
    return re.sub(r"[^\w.-]", "-", text)


def shown_item(
    work: str,
    name: str,
    item: Item,
    root: Path,
    *,
    claims: list[dict[str, str]],
    origins: Origins,
    embed: bool,
) -> ShownItem:
    """Return what the page shows of an item; little more than its name and what is wrong if its files are missing or broken.

    Args:
        work: key of the work.
        name: key of the item.
        item: its entry in the study.
        root: ``results/<scale>``.
        claims: its rows of ``claims.csv``.
        origins: where the items come from.
        embed: True to put pictures and small files into the page as data URLs, False to link them.
    """
    csv, keys = root / work / f"{name}.csv", origins.behind.get((work, name), ())
    runs = [origins.runs[key] for key in keys if key in origins.runs]
    plain = ShownItem(work, name, item, claims=claims, runs=runs, missing_runs=len(keys) - len(runs))
    if not csv.exists():
        left = [path.name for path in _files_of_item(csv, item)]
        return replace(plain, problem=f"{csv} is gone; there is still {', '.join(left)}." if left else "")
    try:
        return _read_item(replace(plain), csv, origins, embed=embed)
    except _BROKEN as error:
        why = str(error) if isinstance(error, UserError) else f"{csv} cannot be shown: {type(error).__name__}: {error}."
        return replace(plain, problem=why)


def _read_item(shown: ShownItem, csv: Path, origins: Origins, *, embed: bool) -> ShownItem:
    """Fill in what the files of an item say, and return it."""
    item, files = shown.item, _files_of_item(csv, shown.item)
    for path in files:
        records.check_recorded(path)
    rows = read_rows(csv)
    shown.rows = rows
    shown.stand_ins = notes.stand_ins(rows, names=item.names)
    shown.own = bool(notes.measured_rows(rows)["paper_protocol"].all()) and not shown.stand_ins
    counts = count_printed(rows)
    shown.printed, shown.compared, shown.within = counts["printed"], counts["compared"], counts["within"]
    shown.numbers = printed_table(rows, item)
    shown.flags = notes.raised_flags(rows, item.options.get("acknowledged", ()), names=item.names)
    if item.kind == "table":
        shown.table = draw_item(item, csv)
    else:
        shown.picture, shown.width, shown.height = _shown_picture(csv, embed=embed)
        shown.alt = alt_text(item, rows, shown.claims)
    record = csv.with_suffix(".json")
    shown.downloads = _downloads([*files, record], embed=embed)
    shown.record = records.read_record(record)
    shown.configured = origins.configured.get((shown.work, shown.name), "")
    shown.code = origins.code.get((shown.work, shown.name), ())
    shown.made = True
    return shown


def _files_of_item(csv: Path, item: Item) -> list[Path]:
    """Return the files of an item that the page shows or links: those that are there."""
    suffixes = (".csv", ".md", ".tex") if item.kind == "table" else (".csv", ".svg", ".png")
    return [path for suffix in suffixes if (path := csv.with_suffix(suffix)).exists()]


def _shown_picture(csv: Path, *, embed: bool) -> tuple[str, int, int]:
    """Return the URL of the figure (SVG if that is small, else PNG), its width and height in CSS pixels; zeros without one."""
    svg, png = csv.with_suffix(".svg"), csv.with_suffix(".png")
    if not png.exists():
        return "", 0, 0
    width, height, per_inch = _size_of_png(png.read_bytes())
    vector = svg.exists() and svg.stat().st_size <= LARGEST_SVG
    scale = _CSS_PIXELS_PER_INCH / per_inch
    return _picture_url(svg if vector else png, embed=embed), round(width * scale), round(height * scale)


def _size_of_png(content: bytes) -> tuple[int, int, float]:
    """Return width and height in pixels, and pixels per inch (150 where the file has none).

    Raises:
        ValueError: it is no PNG.
    """
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("the picture is no PNG")
    width, height = struct.unpack(">II", content[16:24])
    start = content.find(b"pHYs", 0, 4096)
    per_metre = struct.unpack(">I", content[start + 4 : start + 8])[0] if start > 0 else 0
    return width, height, per_metre * 0.0254 if per_metre else 150.0


def _picture_url(path: Path, *, embed: bool) -> str:
    return _data_url(path) if embed else _relative_url(path)


def _downloads(paths: list[Path], *, embed: bool) -> list[tuple[str, str]]:
    """Return type and URL of an item's files as seen from the page; of a self-contained one, only small files of text."""
    if not embed:
        return [(path.suffix[1:], _relative_url(path)) for path in paths]
    small = [p for p in paths if p.suffix not in (".svg", ".png") and p.stat().st_size <= _LARGEST_DOWNLOAD]
    return [(path.suffix[1:], _data_url(path)) for path in small]


def _relative_url(path: Path) -> str:
    return f"../{quote(path.parent.name)}/{quote(path.name)}"


def _data_url(path: Path) -> str:
    return f"data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
