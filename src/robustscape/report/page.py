"""The report: one self-contained HTML page with every item of a scale, its claims, and the record of how it was made.

Style, script and pictures are in the file and nothing is fetched, so the page can be sent by mail. It is made from the
items' CSVs and pictures and from ``claims.csv``, which their records must vouch for; any of them may be missing.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from robustscape.config.studies import Item, Study
from robustscape.report import notes
from robustscape.report.items import count_printed, draw_item, read_rows
from robustscape.report.table import Table
from robustscape.report.verdict_counts import KINDS, count_verdicts, counts_in_words
from robustscape.report.words import FAILS, HOLDS
from robustscape.storage import records
from robustscape.storage.atomic import write_text

#: Folder of the template, style sheet and script; they belong to the fingerprint of the page.
TEMPLATES = Path(__file__).parent / "templates"

#: Vector graphics of up to this many bytes are embedded; larger ones (surfaces) are replaced by their PNG.
_LARGEST_SVG = 400_000
#: CSS pixels per pixel of a figure at 150 dpi, chosen so that its text is about as large as that of the page.
_CSS_PIXELS = 0.69
#: Text files of up to this many bytes are embedded as downloads; larger ones are linked in their folder.
_LARGEST_DOWNLOAD = 200_000

_TYPES = {
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".tex": "application/x-tex",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
#: Verdict -> CSS class; all others, which say why a claim is not testable, are "untestable".
_CHIPS = {HOLDS: "holds", FAILS: "fails"}


@dataclass
class ShownItem:
    """An item as the template sees it.

    Args:
        work: key of the work.
        name: key of the item, such as ``figure_3_1``.
        item: the item as the study describes it.
        made: True if its CSV exists; all that follows is empty otherwise, except ``claims``.
        table: the drawn table, for tables.
        picture: the picture as a data URL, for figures.
        width: of the picture in CSS pixels.
        stand_ins: what ran in place of the study's data sets and architectures, such as "digits_01 for MNIST 0/1".
        own: True if data, architecture and protocol are the study's own in every row.
        printed: number of printed numbers.
        compared: number of rows whose difference from a printed number means something.
        within: number of these that are as close to it as the item's ``within`` asks.
        flags: raised flags that the item does not acknowledge.
        claims: rows of ``claims.csv``, each with ``chip``, the CSS class of its verdict.
        downloads: pairs of file type and URL.
        record: the content of ``<item>.json``.
    """

    work: str
    name: str
    item: Item
    made: bool = False
    table: Table | None = None
    picture: str = ""
    width: int = 0
    stand_ins: list[str] = field(default_factory=list)
    own: bool = False
    printed: int = 0
    compared: int = 0
    within: int = 0
    flags: list[str] = field(default_factory=list)
    claims: list[dict[str, str]] = field(default_factory=list)
    downloads: list[tuple[str, str]] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def anchor(self) -> str:
        """The id of its element in the page."""
        return f"{self.work}-{self.name}"

    @property
    def short(self) -> str:
        """The name as text: "figure 3.1" for ``figure_3_1``."""
        kind, _, number = self.name.partition("_")
        return f"{kind} {number.replace('_', '.')}".rstrip()

    @property
    def status(self) -> str:
        """The CSS class of its dot in the contents: fails, holds, untestable, none (no claims) or missing (not made)."""
        if not self.made:
            return "missing"
        chips = {claim["chip"] for claim in self.claims}
        return next((chip for chip in ("fails", "holds", "untestable") if chip in chips), "none")


def write_page(
    studies: Mapping[str, Study], root: Path, scale: str, *, command: str = "", when: str | None = None
) -> Path:
    """Write ``report/index.html`` below ``root`` (``results/<scale>``) and return its path.

    Args:
        studies: the works to show.
        root: the scale's results.
        scale: its name.
        command: the command that regenerates everything; ``make reproduce SCALE=<scale>`` by default.
        when: the date to print; now, to the minute, in UTC, by default.
    """
    path = root / "report" / "index.html"
    write_text(path, page_html(studies, root, scale, command=command or f"make reproduce SCALE={scale}", when=when))
    return path


def page_html(studies: Mapping[str, Study], root: Path, scale: str, *, command: str, when: str | None = None) -> str:
    """Return the page as HTML; arguments as for ``write_page``."""
    claims = _claims_by_item(root / "claims.csv")
    shown = {
        work: [_shown_item(work, name, item, root, claims) for name, item in study.items.items()]
        for work, study in studies.items()
    }
    everything = [item for items in shown.values() for item in items]
    judged = count_verdicts(claim for item in everything for claim in item.claims)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["duration"] = duration
    environment.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return environment.get_template("page.html.jinja").render(
        studies=studies,
        shown=shown,
        made=sum(item.made for item in everything),
        total=len(everything),
        counts={
            "holds": judged["empirical"].get(HOLDS, 0),
            "fails": judged["empirical"].get(FAILS, 0),
            "untestable": sum(n for verdict, n in judged["empirical"].items() if verdict not in _CHIPS),
        },
        kinds=[(kind, about, counts_in_words(judged[kind])) for kind, about in KINDS.items() if judged[kind]],
        compared=sum(item.compared for item in everything),
        within=sum(item.within for item in everything),
        stood_in=sum(bool(item.stand_ins) for item in everything),
        stood_in_printed=any(item.stand_ins and item.printed for item in everything),
        seconds=records.total_seconds([root / item.work / f"{item.name}.json" for item in everything]),
        versions=_recorded_versions(everything),
        scale=scale,
        command=command,
        when=when or datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        css=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
        js=(TEMPLATES / "page.js").read_text(encoding="utf-8"),
    )


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


def _claims_by_item(csv: Path) -> dict[tuple[str, str], list[dict[str, str]]]:
    """Return the rows of ``claims.csv`` by (work, item), each with ``chip``, the CSS class of its verdict."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    if csv.exists():
        for row in pd.read_csv(records.check_recorded(csv), dtype=str, keep_default_na=False).to_dict("records"):
            claim = {str(key): str(value) for key, value in row.items()}
            claim["chip"] = _CHIPS.get(claim["verdict"], "untestable")
            found.setdefault((claim["work"], claim["item"]), []).append(claim)
    return found


def _shown_item(
    work: str, name: str, item: Item, root: Path, claims: dict[tuple[str, str], list[dict[str, str]]]
) -> ShownItem:
    """Return what the page shows of an item; little more than its name if its CSV does not exist."""
    csv = root / work / f"{name}.csv"
    shown = ShownItem(work, name, item, claims=claims.get((work, name), []))
    if not csv.exists():
        return shown
    for path in _files_of_item(csv, item):
        records.check_recorded(path)
    rows = read_rows(csv)
    shown.made = True
    shown.stand_ins = notes.stand_ins(rows, names=item.names)
    shown.own = bool(notes.measured_rows(rows)["paper_protocol"].all()) and not shown.stand_ins
    counts = count_printed(rows)
    shown.printed, shown.compared, shown.within = counts["printed"], counts["compared"], counts["within"]
    shown.flags = notes.raised_flags(rows, item.options.get("acknowledged", ()), names=item.names)
    if item.kind == "table":
        shown.table = draw_item(item, csv)
    else:
        shown.picture, shown.width = _embedded_picture(csv)
    shown.downloads = [(path.suffix[1:], _download_url(path)) for path in _files_of_item(csv, item)]
    shown.record = records.read_record(csv.with_suffix(".json"))
    return shown


def _files_of_item(csv: Path, item: Item) -> list[Path]:
    """Return the files of an item that the page shows or links: those that are there."""
    suffixes = (".csv", ".md", ".tex") if item.kind == "table" else (".csv", ".svg", ".png")
    return [path for suffix in suffixes if (path := csv.with_suffix(suffix)).exists()]


def _data_url(path: Path) -> str:
    return f"data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _embedded_picture(csv: Path) -> tuple[str, int]:
    """Return the figure as a data URL (SVG if that is small, else PNG) and its width in CSS pixels; ("", 0) if there is none."""
    svg, png = csv.with_suffix(".svg"), csv.with_suffix(".png")
    if not png.exists():
        return "", 0
    pixels = int.from_bytes(png.read_bytes()[16:20], "big")  # the width in the PNG header
    vector = svg.exists() and svg.stat().st_size <= _LARGEST_SVG
    return _data_url(svg if vector else png), round(pixels * _CSS_PIXELS)


def _download_url(path: Path) -> str:
    """Return a URL of a file: a relative path for pictures and large files, a data URL for small text files."""
    if path.suffix in (".svg", ".png") or path.stat().st_size > _LARGEST_DOWNLOAD:
        return f"../{path.parent.name}/{path.name}"
    return _data_url(path)


def _recorded_versions(items: list[ShownItem]) -> dict[str, str]:
    """Return the versions recorded with the items, key -> value; different values are joined by commas."""
    found: dict[str, dict[str, None]] = {}
    for item in items:
        for source in ("environment", "versions"):
            for key, value in (item.record.get(source) or {}).items():
                if value is not None and not isinstance(value, (dict, list)):
                    found.setdefault(key, {})[str(value)] = None
    return {key: ", ".join(values) for key, values in found.items()}
