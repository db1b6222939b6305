"""Two folders of results side by side: numbers that differ, verdicts that changed, items that only one of them has.

They may be of two scales, two sets of seeds or two versions. Numbers are matched by the factors of their item and by their
metric, as printed numbers are. Nothing is judged: a difference stands beside its standard error.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from robustscape.config.studies import Item, Study
from robustscape.errors import CorruptFile, MissingData, UserError
from robustscape.report.items import read_recorded_rows
from robustscape.report.level_matching import level_key
from robustscape.report.page import read_claims, template_environment
from robustscape.report.printed_numbers import bar_length, with_sign, with_spread
from robustscape.report.shown_item import CHIPS, anchor
from robustscape.report.words import axis_quantity, display_name, level_texts
from robustscape.storage.atomic import write_text

#: What the page is called below ``report/`` of the second folder.
COMPARISON = "comparison.html"
#: Numbers of an item that are shown, those that differ most in their metric; a landscape has thousands.
_MOST_ROWS = 40


@dataclass(frozen=True)
class ComparedNumber:
    """A number of both folders.

    Args:
        levels: of the factors that vary, in words.
        quantity: the metric with its unit.
        old: mean and standard deviation in the first folder.
        new: those in the second.
        difference: new less old, with its sign.
        errors: the difference in standard errors of it, rounded; "" where there is none.
        share: the difference as a share of the largest of its metric, from -1 to 1.
    """

    levels: tuple[str, ...]
    quantity: str
    old: str
    new: str
    difference: str
    errors: str
    share: float


@dataclass
class ComparedItem:
    """An item in both folders.

    Args:
        work: key of the work.
        name: key of the item.
        item: as the study describes it.
        factors: names of the factors that vary.
        numbers: those that differ, at most ``_MOST_ROWS``, the largest differences first.
        differing: how many differ.
        equal: how many are the same, to the last digit.
        only_old: how many only the first folder has.
        only_new: how many only the second has.
        stand_ins: what ran for what in either folder, where that is not the same.
        problem: why it cannot be compared.
    """

    work: str
    name: str
    item: Item
    factors: tuple[str, ...] = ()
    numbers: list[ComparedNumber] = field(default_factory=list)
    differing: int = 0
    equal: int = 0
    only_old: int = 0
    only_new: int = 0
    stand_ins: tuple[str, str] = ("", "")
    problem: str = ""

    @property
    def anchor(self) -> str:
        """The id of its element in the page."""
        return anchor(f"{self.work}-{self.name}")


def write_comparison(studies: Mapping[str, Study], old: Path, new: Path) -> Path:
    """Write ``report/comparison.html`` below ``new`` and return its path.

    Args:
        studies: the works to compare.
        old: the first folder, such as ``results/small`` of another version.
        new: the second folder.

    Raises:
        MissingData: a folder has no result of these works.
        CorruptFile: results are broken; the page is written all the same, and says which.
    """
    for folder in (old, new):
        if not any((folder / work / f"{name}.csv").exists() for work, study in studies.items() for name in study.items):
            raise MissingData(
                f"{folder} has no item of {', '.join(studies) or 'any study'}; name a folder such as results/small."
            )
    path = new / "report" / COMPARISON
    html, problems = comparison_html(studies, old, new)
    write_text(path, html)
    if problems:
        raise CorruptFile(f"{path} is written, without what is broken. {' '.join(problems)}")
    return path


def comparison_html(studies: Mapping[str, Study], old: Path, new: Path) -> tuple[str, list[str]]:
    """Return the page as HTML, and what is broken in either folder; arguments as for ``write_comparison``."""
    items: list[ComparedItem] = []
    alone: list[tuple[str, str, bool]] = []
    for work, study in studies.items():
        for name, item in study.items.items():
            present = [(folder / work / f"{name}.csv").exists() for folder in (old, new)]
            if all(present):
                items.append(compare_item(work, name, item, old, new))
            elif any(present):
                alone.append((f"{work}/{name}", item.title, present[0]))
    problems = [item.problem for item in items if item.problem]
    changed: list[dict[str, str]] = []
    judged = 0
    try:
        changed, judged = _changed_verdicts(studies, old / "claims.csv", new / "claims.csv")
    except (UserError, ValueError, KeyError, OSError) as error:
        problems.append(str(error))
    html = (
        template_environment()
        .get_template("comparison.html.jinja")
        .render(
            names=_short_names(old, new),
            paths=(str(old), str(new)),
            items=[item for item in items if item.differing or item.only_old or item.only_new],
            same=[item for item in items if not (item.differing or item.only_old or item.only_new or item.problem)],
            compared=len(items),
            alone=alone,
            changed=changed,
            judged=judged,
            problems=problems,
        )
    )
    return html, problems


def compare_item(work: str, name: str, item: Item, old: Path, new: Path) -> ComparedItem:
    """Return the numbers of an item that differ between two folders; ``problem`` says why it cannot be compared, if so."""
    found = ComparedItem(work, name, item)
    try:
        tables = [_measured_rows(folder / work / f"{name}.csv") for folder in (old, new)]
        _compare_rows(found, *tables)
    except (UserError, ValueError, KeyError, TypeError, OSError) as error:
        found.problem = str(error) if isinstance(error, UserError) else f"{work}/{name} cannot be compared: {error!r}."
    return found


def _measured_rows(csv: Path) -> pd.DataFrame:
    rows = read_recorded_rows(csv)
    return rows[rows["n"] > 0]


def _compare_rows(found: ComparedItem, old: pd.DataFrame, new: pd.DataFrame) -> None:
    """Fill in the numbers of an item."""
    item = found.item
    factors = [f for f in item.factors if pd.concat([old[f], new[f]]).nunique(dropna=False) > 1]
    texts = {f: level_texts(pd.concat([old[f], new[f]]).dropna().unique(), item.names) for f in factors}
    ours, theirs = _by_place(old, item), _by_place(new, item)
    pairs = [(ours[place], theirs[place]) for place in ours if place in theirs]
    found.only_old, found.only_new = len(ours) - len(pairs), len(theirs) - len(pairs)
    differing = [(a, b) for a, b in pairs if not _same(a["value"], b["value"])]
    found.differing, found.equal = len(differing), len(pairs) - len(differing)
    largest: dict[Any, float] = {}
    for a, b in differing:
        gap = abs(b["value"] - a["value"])
        if math.isfinite(gap):
            largest[a["metric"]] = max(largest.get(a["metric"], 0.0), gap)
    numbers = []
    for a, b in differing:
        gap, unit = b["value"] - a["value"], _text(a["unit"])
        numbers.append(
            ComparedNumber(
                levels=tuple(texts[f].get(a[f], "") if a[f] == a[f] else "" for f in factors),
                quantity=axis_quantity(str(a["metric"]), unit, item.names),
                old=with_spread(a["value"], a["std"], unit) or "nan",
                new=with_spread(b["value"], b["std"], unit) or "nan",
                difference=with_sign(gap, unit) or "nan",
                errors=_in_errors(gap, a, b),
                share=bar_length(gap, largest.get(a["metric"], 0.0)),
            )
        )
    found.factors = tuple(display_name(f, item.names) for f in factors)
    found.numbers = sorted(numbers, key=lambda n: (n.difference != "nan", -abs(n.share)))[:_MOST_ROWS]
    stood = tuple(", ".join(sorted({_text(s) for s in rows["stand_in"]} - {""})) or "none" for rows in (old, new))
    found.stand_ins = (stood[0], stood[1]) if stood[0] != stood[1] else ("", "")


def _by_place(rows: pd.DataFrame, item: Item) -> dict[tuple[Hashable, ...], dict[Any, Any]]:
    """Return the rows by the levels of the item's factors and the metric."""
    columns = [*item.factors, "metric"]
    return {tuple(level_key(record[c]) for c in columns): record for record in rows.to_dict("records")}


def _same(a: float, b: float) -> bool:
    return a == b or (a != a and b != b)


def _in_errors(gap: float, old: Mapping[Any, Any], new: Mapping[Any, Any]) -> str:
    """Return a difference in standard errors, from the standard deviations and repetitions of both; "" without them."""
    parts = [float(row["std"]) ** 2 / float(row["n"]) for row in (old, new)]
    error = math.sqrt(sum(parts))
    return f"{abs(gap) / error:.1f}" if error > 0 and math.isfinite(error) and math.isfinite(gap) else ""


def _text(value: Any) -> str:
    return "" if value != value or value is None else str(value)


def _changed_verdicts(studies: Mapping[str, Study], old: Path, new: Path) -> tuple[list[dict[str, str]], int]:
    """Return the claims whose verdict is another in the second folder, and the number of claims that both have.

    Claims that only one has count as changed, with an empty verdict on the other side.
    """
    both = []
    for csv in (old, new):
        claims = read_claims(csv) if csv.exists() else []
        both.append({(c["work"], c["item"], c["claim"]): c for c in claims if c["work"] in studies})
    changed = []
    for key in dict.fromkeys([*both[0], *both[1]]):
        before, after = both[0].get(key, {}), both[1].get(key, {})
        if before.get("verdict") != after.get("verdict"):
            verdicts = (before.get("verdict", ""), after.get("verdict", ""))
            changed.append(
                {
                    "work": key[0],
                    "item": key[1],
                    "claim": key[2],
                    "kind": (after or before)["kind"],
                    "says": (after or before)["says"],
                    "old": verdicts[0],
                    "new": verdicts[1],
                    "old_chip": CHIPS.get(verdicts[0], "untestable"),
                    "new_chip": CHIPS.get(verdicts[1], "untestable"),
                    "evidence": after.get("evidence", ""),
                }
            )
    return changed, len(set(both[0]) & set(both[1]))


def _short_names(old: Path, new: Path) -> tuple[str, str]:
    """Return the last parts of two paths that tell them apart.

    >>> _short_names(Path("results/small"), Path("results/paper")), _short_names(Path("a/small"), Path("b/small"))
    (('small', 'paper'), ('a/small', 'b/small'))
    """
    for depth in range(1, max(len(old.parts), len(new.parts)) + 1):
        names = ("/".join(old.parts[-depth:]), "/".join(new.parts[-depth:]))
        if names[0] != names[1]:
            return names
    return str(old), str(new)
