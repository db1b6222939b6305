"""The grid that a table function returns, written as Markdown aligned for a terminal or as LaTeX with booktabs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from robustscape.report.words import latex


@dataclass(frozen=True)
class Cell:
    """One cell: our number, the printed number, and their difference where data set, architecture and protocol are the work's.

    All three are text, empty where there is no such number.
    """

    value: str = ""
    paper: str = ""
    difference: str = ""

    def __str__(self) -> str:
        """The cell as plain text, such as ``99.89 ± 0.02 (paper 99.91)``."""
        if not self.paper:
            return self.value
        return f"{self.value or '-'} (paper {self.paper})"


@dataclass(frozen=True)
class Table:
    """A grid of cells with one or more levels of row and column headings.

    Args:
        title: heading.
        index: names of the row levels.
        columns: headings of the columns, one tuple per column; several strings are levels, outermost first.
        body: for each row its headings, one per level, and its cells, one per column.
        notes: sentences under the table.
    """

    title: str
    index: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    body: tuple[tuple[tuple[str, ...], tuple[Cell, ...]], ...]
    notes: tuple[str, ...] = ()

    def heads(self) -> list[list[tuple[str, int]]]:
        """Return the column headings level by level, outermost first, as pairs (text, number of columns it spans)."""
        depth = len(self.columns[0]) if self.columns else 0
        spans = []
        for level in range(depth):
            groups = groupby(self.columns, key=lambda column, level=level: column[: level + 1])  # type: ignore[misc]
            spans.append([(key[-1], len(list(members))) for key, members in groups])
        return spans

    def blanked(self) -> list[tuple[list[str], tuple[Cell, ...], bool]]:
        """Return the body with repeated outer headings left blank: (headings, cells, True if a new outermost group begins)."""
        found: list[tuple[list[str], tuple[Cell, ...], bool]] = []
        above: tuple[str, ...] = ()
        for levels, cells in self.body:
            same = next((i for i, (a, b) in enumerate(zip(above, levels, strict=False)) if a != b), len(above))
            same = min(same, len(levels) - 1)
            found.append((["" if i < same else level for i, level in enumerate(levels)], cells, same == 0))
            above = levels
        return found

    def markdown(self) -> str:
        """Return a Markdown pipe table, padded so that its columns are aligned in plain text too, under its title."""
        head = [*self.index, *(", ".join(part for part in column if part) for column in self.columns)]
        lines = [[*levels, *(str(cell) for cell in cells)] for levels, cells in self.body]
        widths = [max(len(row[i]) for row in [head, *lines]) for i in range(len(head))]
        left = len(self.index)

        def pad(text: str, i: int) -> str:
            return text.ljust(widths[i]) if i < left else text.rjust(widths[i])

        def line(row: list[str]) -> str:
            return "| " + " | ".join(pad(text, i) for i, text in enumerate(row)) + " |"

        rule = ["-" * widths[i] if i < left else "-" * (widths[i] - 1) + ":" for i in range(len(head))]
        table = "\n".join([line(head), line(rule), *(line(row) for row in lines)])
        notes = "\n".join(self.notes)
        return f"### {self.title}\n\n{table}\n" + (f"\n{notes}\n" if notes else "")

    def latex(self, label: str) -> str:
        """Return a LaTeX ``table`` float, scaled down to the text width if it is wider; needs booktabs and graphicx."""
        spans = self.heads()
        left = len(self.index)
        lines = []
        for level, heads in enumerate(spans):
            last = level == len(spans) - 1
            first = [latex(name) if last else "" for name in self.index]
            cells = [
                latex(text) if span == 1 else f"\\multicolumn{{{span}}}{{c}}{{{latex(text)}}}" for text, span in heads
            ]
            lines.append(" & ".join([*first, *cells]) + r" \\")
            if not last:
                lines.append(" ".join(_rules(heads, left)))
        lines.append(r"\midrule")
        for number, (names, values, begins) in enumerate(self.blanked()):
            if number and begins and left > 1:
                lines.append(r"\addlinespace")
            lines.append(" & ".join([*map(latex, names), *map(_latex_cell, values)]) + r" \\")
        notes = f"\n\\par\\smallskip\\footnotesize {latex(' '.join(self.notes))}" if self.notes else ""
        return (
            "\\begin{table}\n\\centering\n"
            f"\\caption{{{latex(self.title)}}}\n\\label{{tab:{label}}}\n"
            "\\resizebox{\\ifdim\\width>\\textwidth\\textwidth\\else\\width\\fi}{!}{%\n"
            f"\\begin{{tabular}}{{{'l' * left}{'r' * len(self.columns)}}}\n\\toprule\n"
            + "\n".join(lines)
            + "\n\\bottomrule\n\\end{tabular}}"
            + notes
            + "\n\\end{table}\n"
        )


def _rules(heads: list[tuple[str, int]], left: int) -> list[str]:
    """Return a ``\\cmidrule`` for each heading that spans several columns."""
    rules, start = [], left + 1
    for _, span in heads:
        if span > 1:
            rules.append(f"\\cmidrule(lr){{{start}-{start + span - 1}}}")
        start += span
    return rules


def _latex_cell(cell: Cell) -> str:
    paper = f" {{\\footnotesize({latex(cell.paper)})}}" if cell.paper else ""
    return (latex(cell.value) or ("--" if paper else "")) + paper
