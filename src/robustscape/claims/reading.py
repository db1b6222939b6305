"""The functions of the claims' language that read numbers from an item's CSV, and the evidence they leave."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from robustscape.claims.series import NotTestable, Series, format_levels, format_value
from robustscape.errors import ConfigError, unknown_name
from robustscape.report.level_matching import same_level
from robustscape.report.words import NAMES, is_number, level_texts

if TYPE_CHECKING:
    import pandas as pd

#: The methods of ``Reader`` that a claim may call.
READERS = (
    "value", "standard_error", "sampling_error", "printed", "series", "standard_error_series", "printed_series", "unmatched"
)  # fmt: skip

#: Those of them that read what was measured.
OUR_READERS = ("value", "standard_error", "sampling_error", "series", "standard_error_series", "unmatched")


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
    read: dict[Hashable, Any] = field(default_factory=dict)
    """The rows from which numbers of ours were read, by their label."""
    replaced: Mapping[Hashable, float] = field(default_factory=dict)
    """Numbers that stand in place of ours, by the label of their row (``claims.power``); no evidence is kept then."""
    lookups: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    """The rows that earlier calls found, by what was asked; readers of the same rows share it."""

    def value(self, metric: str, **factors: Any) -> float:
        """Our mean of ``metric`` at the given levels of the factors."""
        number = self._our_value(self._our_row(metric, factors))
        self._note(lambda: f"{self._describe(metric, factors)} = {format_value(number)}")
        return number

    def standard_error(self, metric: str, **factors: Any) -> float:
        """The standard error of our mean of ``metric``: the standard deviation over seeds by the square root of their number."""
        row = self._our_row(metric, factors)
        number = self._our_standard_error(row)
        self._note(
            lambda: (
                f"standard error of {self._describe(metric, factors)} = {format_value(number)}, "
                f"n = {_independent_repetitions(row)}"
            )
        )
        return number

    def sampling_error(self, metric: str, **factors: Any) -> float:
        """The standard error that a percentage of ours has because it is of so many samples (column ``samples``)."""
        row = self._our_row(metric, factors)
        percent = self._our_value(row)
        if str(row["unit"]) != "percent":
            raise ConfigError(
                f"sampling_error: {self._describe(metric, factors)} is measured in '{row['unit']}', not percent"
            )
        samples = _number_of_samples(row)
        # What stands in place of ours, a printed number moved by an error, may be beyond 0 or 100.
        number = share_error(min(max(percent, 0.0), 100.0) if self.replaced else percent, samples)
        self._note(
            lambda: f"sampling error of {self._describe(metric, factors)} = {format_value(number)}, {samples} samples"
        )
        return number

    def printed(self, metric: str, **factors: Any) -> float:
        """The number the paper printed at the given levels of the factors."""
        found = self._rows_at(metric, factors).dropna(subset=["paper_value"])
        number = float(self._only_row(found, metric, factors, "a printed number")["paper_value"])
        self._note(lambda: f"paper's {self._describe(metric, factors)} = {format_value(number)}")
        return number

    def series(self, metric: str, along: str = "eps", **factors: Any) -> Series:
        """Our means of ``metric`` along a factor, in its order; every other factor that varies must be given."""
        return self._series_of(metric, along, factors, self._our_value, "n", "")

    def standard_error_series(self, metric: str, along: str = "eps", **factors: Any) -> Series:
        """The standard errors of our means of ``metric`` along a factor."""
        return self._series_of(metric, along, factors, self._our_standard_error, "n", "standard error of ")

    def printed_series(self, metric: str, along: str = "eps", **factors: Any) -> Series:
        """The paper's numbers of ``metric`` along a factor."""
        return self._series_of(metric, along, factors, lambda row: float(row["paper_value"]), "paper_value", "paper's ")

    def unmatched(self, metric: str, **factors: Any) -> int:
        """The number of values of ``metric`` that only we have or only the paper printed, at the given levels."""
        found = self._rows_at(metric, factors)
        ours, theirs = found["n"] > 0, found["paper_value"].notna()
        if not ours.any():
            raise NotTestable(f"there is no value of {self._describe(metric, factors)}")
        for _, row in found[ours].iterrows():
            self._note_origin(row)

        def places(rows: pd.DataFrame) -> str:
            rest = [factor for factor in self.factors if factor not in factors]
            return "; ".join(" ".join(map(str, levels)) for levels in rows[rest].itertuples(index=False)) or "none"

        only_ours, only_theirs = found[ours & ~theirs], found[theirs & ~ours]
        self._note(
            lambda: (
                f"{self._describe(metric, factors)} that we alone have: {places(only_ours)}, that the paper alone has: "
                f"{places(only_theirs)}"
            )
        )
        return len(only_ours) + len(only_theirs)

    def add_evidence(self, text: str) -> None:
        """Append ``text`` to the evidence unless it is there already."""
        if text not in self.evidence:
            self.evidence.append(text)

    def _note(self, text: Callable[[], str]) -> None:
        """Add what ``text`` returns to the evidence, unless the numbers are not ours."""
        if not self.replaced:
            self.add_evidence(text())

    def _our_row(self, metric: str, factors: dict[str, Any]) -> Any:
        """The one row of a metric at the given levels."""
        key = ("row", metric, *sorted(factors.items()))
        if key not in self.lookups:
            self.lookups[key] = self._only_row(self._rows_at(metric, factors), metric, factors)
        return self.lookups[key]

    def _series_of(
        self, metric: str, along: str, factors: dict[str, Any], read: Callable[[Any], float], column: str, whose: str
    ) -> Series:
        """The series of ``read(row)`` along a factor over rows with a number in ``column``; ``whose`` begins its evidence."""
        key = (column, metric, along, *sorted(factors.items()))
        if key not in self.lookups:
            self.lookups[key] = self._rows_along(metric, along, factors, column, whose)
        known, rows = self.lookups[key]
        series = Series(known, tuple(read(row) for row in rows))
        self._note(
            lambda: (
                f"{whose}{self._describe(metric, factors)} at {self._word(along)} {format_levels(known)}: "
                f"{format_value(series.values)}"
            )
        )
        return series

    def _rows_along(
        self, metric: str, along: str, factors: dict[str, Any], column: str, whose: str
    ) -> tuple[tuple[Any, ...], list[Any]]:
        """The levels of ``along``, numbers in their order, and the one row at each."""
        self._check_factor(along)
        found = self._rows_at(metric, factors)
        found = found[(found["n"] > 0) if column == "n" else found[column].notna()]
        found = found[found[along].notna()]
        if found.empty:
            raise NotTestable(f"there is no {whose or 'value of '}{self._describe(metric, factors)}")
        known = list(dict.fromkeys(found[along]))
        if all(is_number(level) for level in known):
            known = sorted(known)
        rows = [self._only_row(found[found[along] == level], metric, {**factors, along: level}) for level in known]
        return tuple(known), rows

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
            is_wanted = [same_level(level, wanted) for level in found[factor]]
            found = found.loc[is_wanted] if is_wanted else found  # an empty list would select no columns
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
        number = self.replaced.get(row.name, float(row["value"]))
        self.finite &= math.isfinite(number)
        return number

    def standard_errors(self) -> dict[Hashable, float]:
        """The standard error of each number that was read, by the label of its row; 0 for one that has none."""
        return {
            label: 0.0 if _independent_repetitions(row) < 2 else self._our_standard_error(row)
            for label, row in self.read.items()
        }

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
        self.read[row.name] = row
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


def share_error(percent: float, samples: int) -> float:
    """Return the standard error of a percentage of n ``samples`` of which k count, in percentage points.

    It is the standard deviation of a share that k of n are seen of and that might have been any before (Laplace's rule of
    succession): sqrt(q (1 - q) / (n + 3)) with q = (k + 1) / (n + 2), above 0 for none and for all of them, too.

    >>> round(share_error(50.0, 97), 3), round(share_error(0.0, 97), 3)
    (5.0, 1.0)
    """
    share = (percent / 100 * samples + 1) / (samples + 2)
    return 100 * math.sqrt(share * (1 - share) / (samples + 3))


def _number_of_samples(row: Any) -> int:
    """Return the samples that a number of ours is of, the fewest where its repetitions differ."""
    text = row.get("samples")
    if text is None or text != text:
        raise NotTestable(f"{row['metric']} has no number of samples")
    return min(round(float(part)) for part in str(text).split(";"))
