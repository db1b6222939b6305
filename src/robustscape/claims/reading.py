"""The functions of the claims' language that read numbers from an item's CSV, and the evidence they leave."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from robustscape.claims.series import NotTestable, Series, format_levels, format_value
from robustscape.errors import ConfigError, unknown_name
from robustscape.report.level_matching import same_level
from robustscape.report.words import NAMES, is_number, level_texts

if TYPE_CHECKING:
    import pandas as pd

#: The methods of ``Reader`` that a claim may call.
READERS = ("value", "standard_error", "printed", "series", "standard_error_series", "printed_series")

#: Those of them that read what was measured.
OUR_READERS = ("value", "standard_error", "series", "standard_error_series")


@dataclass
class Reader:
    """An item's rows, the functions that read numbers from them, and a record of what was read."""

    rows: pd.DataFrame
    """The item's CSV (``items.read_rows``)."""
    factors: Sequence[str]
    """The columns that identify a number."""
    fixed: Callable[[str, Any], bool] = lambda factor, level: False
    """Whether a level of a factor is there at every scale, if it is anywhere: one that is not there is then a mistake."""
    names: Mapping[str, str] = field(default_factory=lambda: NAMES)
    """The words for columns, metrics and levels (``Item.names``)."""
    evidence: list[str] = field(default_factory=list)
    """One text per number or series read, in the order of reading, each once."""
    stand_ins: set[str] = field(default_factory=set)
    """Stand-ins among the numbers read."""
    under_trained: dict[str, None] = field(default_factory=dict)
    """Nets among the numbers read that are not trained, each with what it lacks (column ``health``), in the order of reading."""
    finite: bool = True
    """False once a number read is NaN or infinite."""
    diverged: bool = False
    """True once a number read is of a run that diverged, measured as it was before (``flag_diverged``)."""

    def value(self, metric: str, **factors: Any) -> float:
        """Our mean of ``metric`` at the given levels of the factors."""
        row = self._only_row(self._rows_at(metric, factors), metric, factors)
        number = self._our_value(row)
        self.add_evidence(f"{self._describe(metric, factors)} = {format_value(number)}")
        return number

    def standard_error(self, metric: str, **factors: Any) -> float:
        """The standard error of our mean of ``metric``: the standard deviation over seeds by the square root of their number."""
        row = self._only_row(self._rows_at(metric, factors), metric, factors)
        number = self._our_standard_error(row)
        place = f"standard error of {self._describe(metric, factors)}"
        self.add_evidence(f"{place} = {format_value(number)}, n = {_independent_repetitions(row)}")
        return number

    def printed(self, metric: str, **factors: Any) -> float:
        """The number the paper printed at the given levels of the factors."""
        found = self._rows_at(metric, factors).dropna(subset=["paper_value"])
        number = float(self._only_row(found, metric, factors, "a printed number")["paper_value"])
        self.add_evidence(f"paper's {self._describe(metric, factors)} = {format_value(number)}")
        return number

    def series(self, metric: str, along: str = "eps", **factors: Any) -> Series:
        """Our means of ``metric`` along a factor, in its order; every other factor that varies must be given."""
        self._check_factor(along)
        found = self._rows_at(metric, factors)
        return self._series_of(found[found["n"] > 0], metric, along, factors, self._our_value, "")

    def standard_error_series(self, metric: str, along: str = "eps", **factors: Any) -> Series:
        """The standard errors of our means of ``metric`` along a factor."""
        self._check_factor(along)
        found = self._rows_at(metric, factors)
        return self._series_of(
            found[found["n"] > 0], metric, along, factors, self._our_standard_error, "standard error of "
        )

    def printed_series(self, metric: str, along: str = "eps", **factors: Any) -> Series:
        """The paper's numbers of ``metric`` along a factor."""
        self._check_factor(along)
        found = self._rows_at(metric, factors).dropna(subset=["paper_value"])
        return self._series_of(found, metric, along, factors, lambda row: float(row["paper_value"]), "paper's ")

    def add_evidence(self, text: str) -> None:
        """Append ``text`` to the evidence unless it is there already."""
        if text not in self.evidence:
            self.evidence.append(text)

    def _series_of(
        self,
        found: pd.DataFrame,
        metric: str,
        along: str,
        factors: dict[str, Any],
        read: Callable[[Any], float],
        whose: str,
    ) -> Series:
        """The series of ``read(row)`` along a factor; ``whose`` begins its evidence."""
        found = found[found[along].notna()]
        if found.empty:
            raise NotTestable(f"there is no {whose or 'value of '}{self._describe(metric, factors)}")
        known = list(dict.fromkeys(found[along]))
        if all(is_number(level) for level in known):
            known = sorted(known)
        rows = [self._only_row(found[found[along] == level], metric, {**factors, along: level}) for level in known]
        series = Series(tuple(known), tuple(read(row) for row in rows))
        place = f"{whose}{self._describe(metric, factors)} at {self._word(along)} {format_levels(known)}"
        self.add_evidence(f"{place}: {format_value(series.values)}")
        return series

    def _check_factor(self, factor: str) -> None:
        if factor not in self.factors:
            raise unknown_name("factor", factor, [str(f) for f in self.factors])

    def _rows_at(self, metric: str, factors: dict[str, Any]) -> pd.DataFrame:
        """The rows of a metric at the given levels; none where a level is not there."""
        found = self.rows[self.rows["metric"] == metric]
        if found.empty:
            if self.fixed("metric", metric):
                raise unknown_name("metric of the item", metric, list(dict.fromkeys(self.rows["metric"])))
            raise NotTestable(f"there is no row with metric '{metric}'")
        for factor, wanted in factors.items():
            self._check_factor(factor)
            known = list(dict.fromkeys(self.rows[factor].dropna()))
            if self.fixed(factor, wanted) and not any(same_level(level, wanted) for level in known):
                raise unknown_name(f"level of {factor}", str(wanted), [str(level) for level in known])
            found = found[[same_level(level, wanted) for level in found[factor]]]
        return found

    def _only_row(self, found: pd.DataFrame, metric: str, factors: dict[str, Any], what: str = "a value") -> Any:
        if found.empty:
            raise NotTestable(f"there is no {what.removeprefix('a ')} of {self._describe(metric, factors)}")
        if len(found) > 1:
            differ = [f for f in self.factors if f not in factors and found[f].nunique(dropna=False) > 1]
            place, why = self._describe(metric, factors), f"they differ in {', '.join(differ)}"
            raise ConfigError(f"{place} is {len(found)} values; {why}. Say which is meant.")
        return found.iloc[0]

    def _our_value(self, row: Any) -> float:
        if not row["n"] > 0:
            raise NotTestable(f"the paper has {row['metric']} here, but nothing was measured")
        self._note_origin(row)
        number = float(row["value"])
        self.finite &= math.isfinite(number)
        return number

    def _our_standard_error(self, row: Any) -> float:
        """The standard error of a mean of ours.

        Of a mean over several directions or draws of each net it is the bound SE^2 <= SS / (n (nets - 1)), SS the sum of squares
        about the mean of all n numbers: the squares between nets, from which the error follows, are a part of it.
        """
        if not row["n"] > 0:
            raise NotTestable(f"the paper has {row['metric']} here, but nothing was measured")
        independent = _independent_repetitions(row)
        if independent < 2:
            raise NotTestable(f"{row['metric']} has no standard error: it has no more than one independent repetition")
        self._note_origin(row)
        count = int(row["n"])
        number = float(row["std"]) * math.sqrt((count - 1) / (count * (independent - 1)))
        self.finite &= math.isfinite(number)
        return number

    def _note_origin(self, row: Any) -> None:
        """Note what stood in for the work's data and nets in a number of ours, and which nets diverged or are not trained."""
        if row["stand_in"]:
            self.stand_ins.add(str(row["stand_in"]))
        self.diverged |= bool(row.get("flag_diverged", 0) > 0)
        if row.get("flag_under_trained", 0) > 0:
            self.under_trained |= dict.fromkeys(str(row["health"]).split(";"))

    def _word(self, identifier: Any) -> str:
        """A column, metric or level in words."""
        return level_texts([identifier], self.names)[identifier]

    def _describe(self, metric: str, factors: dict[str, Any]) -> str:
        """A metric and the levels it was read at: ``robust accuracy (AT, ε = 8/255)``."""
        at = [f"{self._word(f)} = {self._word(v)}" if is_number(v) else self._word(v) for f, v in factors.items()]
        return f"{self._word(metric)} ({', '.join(at)})" if at else self._word(metric)


def _independent_repetitions(row: Any) -> int:
    """How many independent numbers a mean is of: its seeds, as directions and draws of one net are not; without seeds, n."""
    seeds = row.get("seed")
    listed = "" if seeds is None else str(seeds)
    return int(row["n"]) if listed in ("", "nan") else len(listed.split(";"))
