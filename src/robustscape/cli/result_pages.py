"""The pages ``results/`` of the documentation site: what runs at a scale gave, item by item, beside the printed numbers.

Made from the items' CSVs and ``claims.csv`` in ``docs/results/<scale>/``, copied there by ``make results-docs``, and from
``docs/results/reasons.yaml``, which says in words why a number differs or a claim fails, and by which experiment that is known.
Nothing is typed in: a number on a page is a cell of a CSV. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from robustscape.config.experiment import Experiment
from robustscape.config.loading import load_experiment
from robustscape.config.studies import Item
from robustscape.report.items import read_rows
from robustscape.report.verdict_counts import KINDS, count_verdicts, counts_in_words
from robustscape.report.words import FAILS, display_name, format_number, format_spread, level_texts

_ROOT = Path(__file__).parents[3]

#: The project's configuration, and the results of scales in its documentation.
CONFIG, RESULTS = _ROOT / "config", _ROOT / "docs" / "results"

#: Scale -> title of its page and its first paragraph.
SCALES = {
    "paper": (
        "Printed numbers, reproduced",
        "Runs at the scale `paper`: the works' own data, nets and protocol. A number agrees where its difference from the "
        "printed one is at most twice the larger of the two standard deviations, or one percentage point if that is more.",
    ),
    "tenth": (
        "A tenth of the epochs",
        "Runs at the scale `tenth`: the works' own data and nets, with one seed. In ma2025 chapter 4 training has a tenth of the "
        "epochs (20, the rate drops at 10 and 15) and AutoAttack 100 images. Printed numbers and differences are shown, but "
        "training is shorter, so no number counts as reproduced.",
    ),
    "small": (
        "What the stand-ins show",
        "Runs at the scale `small`: smaller data sets and nets in place of the works'. Trends can be compared with the works, "
        "numbers cannot, so printed numbers are left out here.",
    ),
}

#: Scales of the works' own data and nets, whose numbers stand beside the printed ones.
COMPARED = ("paper", "tenth")

#: Percentage points by which a number may differ from a printed one whose standard deviation is smaller or unknown.
POINTS = 1.0

_PERCENT = ("percent", "percentage_points")


def result_pages() -> dict[str, str]:
    """Return every page: path in the site's source folder -> Markdown; a scale without files has none."""
    reasons = yaml.safe_load((RESULTS / "reasons.yaml").read_text(encoding="utf-8"))
    found = {
        scale: _scale_page(scale, load_experiment(CONFIG, scale), reasons.get(scale) or {})
        for scale in SCALES
        if (RESULTS / scale).is_dir()
    }
    index = [
        "# Results",
        "",
        "What this project's own runs gave; the files behind the pages are in `docs/results/`.",
        "",
        *(f"- [{SCALES[scale][0]}]({scale}.md): scale `{scale}`" for scale in found),
    ]
    return {"results/index.md": _text(index), **{f"results/{scale}.md": _text(page) for scale, page in found.items()}}


def agrees(row: Mapping[str, Any]) -> bool | None:
    """Return whether a row's number agrees with the printed one; None where nothing can be said.

    That is so without a difference (no printed number, or not the work's own data, net and protocol), and for a number that is no
    percentage and has no standard deviation.
    """
    if pd.isna(row["difference"]):
        return None
    spread = max((float(row[key]) for key in ("std", "paper_std") if pd.notna(row.get(key))), default=0.0)
    allowed = max(2 * spread, POINTS if row["unit"] in _PERCENT else 0.0)
    return abs(float(row["difference"])) <= allowed if allowed else None


def _scale_page(scale: str, experiment: Experiment, reasons: Mapping[str, str]) -> Iterator[str]:
    title, about = SCALES[scale]
    folder = RESULTS / scale
    claims = _claims(folder / "claims.csv")
    yield from [f"# {title}", "", about, ""]
    if claims:
        yield from ["| claims about | |", "|---|---|"]
        counts = count_verdicts(claims)
        yield from (f"| {KINDS[kind]} | {counts_in_words(counts[kind])} |" for kind in KINDS if counts[kind])
    for work, study in experiment.studies.items():
        names = [name for name in study.items if (folder / work / f"{name}.csv").exists()]
        if not names:
            continue
        yield from ["", f"## {work}", "", f"{study.title} ({study.reference})."]
        if absent := [name for name in study.items if name not in names]:
            yield from ["", f"Not here: {', '.join(f'`{name}`' for name in absent)}."]
        for name in names:
            rows = read_rows(folder / work / f"{name}.csv")
            of_item = [claim for claim in claims if (claim["work"], claim["item"]) == (work, name)]
            yield from ["", f"### {display_name(name)}: {study.items[name].title}", ""]
            yield from _item(f"{scale}/{work}/{name}.csv", study.items[name], rows, scale)
            yield from _item_claims(of_item, reasons)
            if f"{work}/{name}" in reasons:
                yield from ["", _line(reasons[f"{work}/{name}"])]


def _item(csv: str, item: Item, rows: pd.DataFrame, scale: str) -> Iterator[str]:
    """A sentence about the rows, and a table of those with a printed number, where these can be compared."""
    names = item.names
    printed = rows[rows["paper_value"].notna() & rows["value"].notna()] if scale in COMPARED else rows[:0]
    judged = [verdict for verdict in (agrees(row) for row in printed.to_dict("records")) if verdict is not None]
    parts = [f"{len(rows)} rows ([CSV]({csv}))"]
    if judged:
        parts.append(f"{sum(judged)} of {len(judged)} printed numbers agree")
    if stand_ins := sorted({text for text in rows["stand_in"] if text}):
        parts.append(f"stand-ins: {', '.join(stand_ins)}")
    flags = [
        column for column in rows if column.startswith("flag_") and (rows[column].fillna(0).astype(float) > 0).any()
    ]
    if flags:
        parts.append(f"flags: {', '.join(display_name(flag.removeprefix('flag_')) for flag in flags)}")
    yield f"{'; '.join(parts)}."
    if printed.empty:
        return
    factors = [factor for factor in item.factors if printed[factor].nunique(dropna=False) > 1]
    heads = [*(display_name(factor, names) for factor in factors), "", "printed", "ours", "difference", "agrees"]
    texts = {factor: level_texts(printed[factor].unique(), names) for factor in factors}
    yield from ["", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in printed.to_dict("records"):
        # A number of a shortened training reproduces none, so its CSV has no difference; it is shown here all the same.
        away = row["difference"] if scale == "paper" else row["value"] - row["paper_value"]
        verdict = agrees(row)
        cells = [
            *(texts[factor].get(row[factor], "") for factor in factors),
            display_name(row["metric"], names),
            _number(row["paper_value"], row.get("paper_std"), row["unit"]),
            _number(row["value"], row["std"], row["unit"]),
            "" if pd.isna(away) else f"{away:+.2f}",
            {True: "yes", False: "**no**", None: "-"}[verdict],
        ]
        yield f"| {' | '.join(cells)} |"


def _item_claims(claims: list[dict[str, str]], reasons: Mapping[str, str]) -> Iterator[str]:
    """The claims of an item, their verdicts, and the reasons of those that fail."""
    if not claims:
        return
    yield from ["", "| claim | | verdict | evidence |", "|---|---|---|---|"]
    for claim in claims:
        cells = (claim["claim"], claim["says"], claim["verdict"], claim["evidence"])
        yield f"| {' | '.join(_line(cell).replace('|', chr(92) + '|') for cell in cells)} |"
    for claim in claims:
        key = f"{claim['work']}/{claim['item']}/{claim['claim']}"
        if key in reasons:
            yield from ["", f"{claim['claim']}: {_line(reasons[key])}"]
        elif claim["verdict"] == FAILS:
            yield from ["", f"{claim['claim']} fails; why is not known."]


def _claims(path: Path) -> list[dict[str, str]]:
    """The rows of a ``claims.csv``; none without the file."""
    return pd.read_csv(path, keep_default_na=False, dtype=str).to_dict("records") if path.exists() else []


def _number(value: Any, std: Any, unit: str) -> str:
    if pd.isna(value) or not math.isfinite(value):
        return ""
    spread = "" if pd.isna(std) else f" ± {format_spread(std, value, unit)}"
    return f"{format_number(value, unit)}{spread}"


def _line(text: str) -> str:
    return " ".join(str(text).split())


def _text(lines: list[str] | Iterator[str]) -> str:
    return "\n".join(lines) + "\n"
