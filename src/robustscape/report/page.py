"""The report: one self-contained page with every item of a scale, its claims, and what made it.

Nothing is fetched: style, script and pictures are in the file, so it can be mailed. It reads the items' CSVs, their
sidecars and ``claims.csv``, and works with none of them there.
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
from robustscape.report import notes, records
from robustscape.report.items import draw_item, read_rows
from robustscape.report.table import Table
from robustscape.report.words import FAILS, HOLDS, UNTESTABLE
from robustscape.storage.atomic import write_text

#: Template, style and script; what the page depends on beside code.
TEMPLATES = Path(__file__).parent / "templates"

#: Vector graphics up to this size go into the page; larger ones (surfaces) as PNG.
_LARGEST_SVG = 400_000
#: CSS pixels to a pixel of a figure of 150 dpi, so that its text is about as large as the page's.
_CSS_PIXELS = 0.69
#: Files up to this size can be downloaded from the page itself; larger ones from beside it.
_LARGEST_DOWNLOAD = 200_000

_TYPES = {
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".tex": "application/x-tex",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_CHIPS = {HOLDS: "holds", FAILS: "fails", UNTESTABLE: "untestable"}


@dataclass
class Shown:
    """An item as the template sees it."""

    work: str
    name: str
    item: Item
    made: bool = False
    table: Table | None = None
    picture: str = ""
    width: int = 0
    stand_ins: list[str] = field(default_factory=list)
    own: bool = False
    compared: int = 0
    flags: list[str] = field(default_factory=list)
    claims: list[dict[str, str]] = field(default_factory=list)
    downloads: list[tuple[str, str]] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def anchor(self) -> str:
        """Its place in the page."""
        return f"{self.work}-{self.name}"

    @property
    def short(self) -> str:
        """``figure_3_1`` -> ``figure 3.1``."""
        kind, _, number = self.name.partition("_")
        return f"{kind} {number.replace('_', '.')}".rstrip()

    @property
    def status(self) -> str:
        """One word for the dot in the navigation: fails, holds, untestable, none (no claims) or missing."""
        if not self.made:
            return "missing"
        chips = {claim["chip"] for claim in self.claims}
        return next((chip for chip in ("fails", "holds", "untestable") if chip in chips), "none")


def write(studies: Mapping[str, Study], root: Path, scale: str, *, command: str = "", when: str | None = None) -> Path:
    """Write ``report/index.html`` below ``root`` (``results/<scale>``) and return its path.

    Args:
        studies: the works to show.
        root: the scale's results.
        scale: its name.
        command: what regenerates everything; ``make reproduce SCALE=<scale>`` by default.
        when: the date to print; now, to the minute, in UTC, by default.
    """
    path = root / "report" / "index.html"
    write_text(path, html(studies, root, scale, command=command or f"make reproduce SCALE={scale}", when=when))
    return path


def html(studies: Mapping[str, Study], root: Path, scale: str, *, command: str, when: str | None = None) -> str:
    """The page as text."""
    claims = _claims(root / "claims.csv")
    shown = {
        work: [_shown(work, name, item, root, claims) for name, item in study.items.items()]
        for work, study in studies.items()
    }
    everything = [item for items in shown.values() for item in items]
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
        counts={chip: sum(c["chip"] == chip for item in everything for c in item.claims) for chip in _CHIPS.values()},
        stood_in=sum(bool(item.stand_ins) for item in everything),
        seconds=records.seconds([root / item.work / f"{item.name}.json" for item in everything]),
        versions=_versions(everything),
        scale=scale,
        command=command,
        when=when or datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        css=(TEMPLATES / "page.css").read_text(),
        js=(TEMPLATES / "page.js").read_text(),
    )


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(0.52), duration(75), duration(7300)
    ('0.5 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def _claims(csv: Path) -> dict[tuple[str, str], list[dict[str, str]]]:
    """Rows of claims.csv by (work, item), each with the name of its chip."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    if csv.exists():
        for row in pd.read_csv(csv, dtype=str, keep_default_na=False).to_dict("records"):
            claim = {str(key): str(value) for key, value in row.items()}
            claim["chip"] = _CHIPS.get(claim["verdict"], "untestable")
            found.setdefault((claim["work"], claim["item"]), []).append(claim)
    return found


def _shown(work: str, name: str, item: Item, root: Path, claims: dict[tuple[str, str], list[dict[str, str]]]) -> Shown:
    csv = root / work / f"{name}.csv"
    shown = Shown(work, name, item, claims=claims.get((work, name), []))
    if not csv.exists():
        return shown
    rows = read_rows(csv)
    shown.made = True
    shown.stand_ins = notes.stand_ins(rows)
    shown.own = bool(notes.measured_rows(rows)["paper_protocol"].all()) and not shown.stand_ins
    shown.compared = int(rows["difference"].notna().sum())
    shown.flags = notes.raised_flags(rows, item.options.get("acknowledged", ()))
    if item.kind == "table":
        shown.table = draw_item(item, csv)
    else:
        shown.picture, shown.width = _picture(csv)
    suffixes = (".csv", ".md", ".tex") if item.kind == "table" else (".csv", ".svg", ".png")
    shown.downloads = [
        (suffix[1:], _download(csv.with_suffix(suffix))) for suffix in suffixes if csv.with_suffix(suffix).exists()
    ]
    shown.record = records.load(csv.with_suffix(".json")) or {}
    return shown


def _data(path: Path) -> str:
    return f"data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _picture(csv: Path) -> tuple[str, int]:
    """The figure for an ``<img>`` and its width: vector if it is small, else PNG; empty if there is none."""
    svg, png = csv.with_suffix(".svg"), csv.with_suffix(".png")
    if not png.exists():
        return "", 0
    pixels = int.from_bytes(png.read_bytes()[16:20], "big")  # the header says how wide a PNG is
    vector = svg.exists() and svg.stat().st_size <= _LARGEST_SVG
    return _data(svg if vector else png), round(pixels * _CSS_PIXELS)


def _download(path: Path) -> str:
    """A link to a file: pictures and large files beside the page, small text within it."""
    if path.suffix in (".svg", ".png") or path.stat().st_size > _LARGEST_DOWNLOAD:
        return f"../{path.parent.name}/{path.name}"
    return _data(path)


def _versions(items: list[Shown]) -> dict[str, str]:
    """What the items were made with, from their sidecars; several values where they differ."""
    found: dict[str, dict[str, None]] = {}
    for item in items:
        for source in ("environment", "versions"):
            for key, value in (item.record.get(source) or {}).items():
                if value is not None and not isinstance(value, (dict, list)):
                    found.setdefault(key, {})[str(value)] = None
    return {key: ", ".join(values) for key, values in found.items()}
