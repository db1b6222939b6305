"""Tables: Markdown aligned for a terminal, LaTeX that compiles, notes that name the stand-ins."""

from __future__ import annotations

import re
import shutil
import subprocess

import pandas as pd
import pytest
from made_up import L2, LINF, accuracy_rows, make_item, printed_accuracies

from robustscape.errors import ConfigError
from robustscape.report.items import aggregate_repetitions
from robustscape.report.table import Cell, Table
from robustscape.report.tables.grid import grid

FACTORS = ["dataset", "architecture", "noise", "norm", "eps"]
METRICS = ["robust_train_accuracy", "robust_test_accuracy", "generalization_gap"]
ITEM = make_item(title="Accuracy & gap, 100% L∞", factors=FACTORS, metrics=METRICS, options={"index": ["eps"]})


def made(rows: pd.DataFrame | None = None, printed: pd.DataFrame | None = None, **options) -> Table:
    table = aggregate_repetitions(accuracy_rows() if rows is None else rows, FACTORS, printed)
    return grid(table.assign(scale="small"), ITEM, **{"index": ["eps"], **options})


def wide() -> Table:
    rows = pd.concat([accuracy_rows(), accuracy_rows(dataset="cifar10")])
    return made(rows, index=["dataset", "eps"], columns=["noise", "metric"])


def test_a_cell_reads_value_deviation_and_the_papers() -> None:
    table = made(printed=printed_accuracies())
    assert table.body[2][0] == ("0.4",)
    assert str(table.body[2][1][0]) == "99.69 ± 0.03 (paper 99.49)"
    assert str(table.body[2][1][2]) == "0.02 ± 0.02"
    assert table.columns[0] == ("robust train accuracy (%)",)


def test_difference_has_a_sign_and_is_only_there_for_reproductions() -> None:
    own = accuracy_rows(stand_in="", paper_protocol=True)
    cells = [row[1][1] for row in made(own, printed_accuracies()).body]
    assert cells[0].difference == "-0.05" and cells[1].difference == "+0.09"
    assert all(not cell.difference for _, cells in made(printed=printed_accuracies()).body for cell in cells)


def test_markdown_is_aligned() -> None:
    lines = [line for line in made(printed=printed_accuracies()).markdown().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(L2)
    assert len({len(line) for line in lines}) == 1
    bars = [[m.start() for m in re.finditer(r"\|", line)] for line in lines]
    assert all(b == bars[0] for b in bars)


def test_notes_state_stand_in_count_protocol_and_flags() -> None:
    rows = accuracy_rows()
    rows["flag_zero_gradients"] = [0.5] + [0.0] * (len(rows) - 1)
    notes = " ".join(made(rows, printed_accuracies([*L2, 2.0])).notes)
    assert "Scale small, stand-in: digits_01 for MNIST 0/1." in notes
    assert "over seeds, n = 3." in notes
    assert "context, not a reproduction" in notes
    assert "2 of 14 printed numbers have no counterpart here." in notes
    assert "Protocol (not the study's own): attack = pgd, steps = 100." in notes
    assert "FLAGS, not acknowledged: zero gradients (1 of 18 numbers)." in notes
    accepted = " ".join(made(rows, acknowledged=["zero_gradients"]).notes)
    assert "not acknowledged" not in accepted and "Flags acknowledged: zero gradients." in accepted


def test_own_data_and_protocol_read_differently() -> None:
    notes = " ".join(made(accuracy_rows(stand_in="", paper_protocol=True), printed_accuracies()).notes)
    assert "stand-in" not in notes and "not the study's" not in notes and "context" not in notes
    assert notes.startswith("MNIST 0/1, logistic regression, PGD, L2. Scale small.")


def test_a_diverged_value_is_shown_as_nan_and_a_missing_one_as_a_dash() -> None:
    rows = accuracy_rows()
    rows.loc[rows["eps"] == 0.2, "value"] = float("nan")
    table = made(rows, printed_accuracies([*L2, 2.0]))
    assert str(table.body[1][1][0]) == "nan (paper 99.69)"
    assert str(table.body[-1][1][0]) == "- (paper 97.89)"
    assert str(table.body[-1][1][2]) == ""


def test_radii_are_in_one_notation() -> None:
    rows = accuracy_rows()
    rows = rows[rows["eps"].isin(L2[:5])]
    rows["eps"] = rows["eps"].map(dict(zip(L2[:5], [*LINF[:4], 0.2], strict=True)))
    assert [levels[0] for levels, _ in made(rows).body] == ["0", "4/255", "8/255", "12/255", "51/255"]


def test_two_values_in_one_cell_are_refused() -> None:
    rows = pd.concat([accuracy_rows(), accuracy_rows(dataset="cifar10")])
    with pytest.raises(ConfigError, match="several values fall into one cell; they differ in dataset"):
        made(rows)
    with pytest.raises(ConfigError, match="several values fall into one cell; they differ in metric"):
        made(columns=["noise"])
    with pytest.raises(ConfigError, match=r"no column \['colour'\]"):
        made(index=["colour"])


def test_a_metric_on_no_axis_is_named_below() -> None:
    rows = accuracy_rows()
    table = made(rows[rows["metric"] == "robust_test_accuracy"], columns=["noise"])
    assert table.columns == (("PGD",),) and "Shown: robust test accuracy (%)." in table.notes
    assert not any(note.startswith("Shown") for note in made().notes)


def test_levels_of_rows_and_columns() -> None:
    table = wide()
    assert table.heads() == [[("PGD", 3)], [(column[1], 1) for column in table.columns]]
    blanked = table.blanked()
    assert [row[0][0] for row in blanked] == ["MNIST 0/1", *[""] * 5, "CIFAR-10", *[""] * 5]
    assert [row[2] for row in blanked].count(True) == 2


def test_latex_is_well_formed() -> None:
    text = wide().latex("yamada2021:table_1")
    assert text.count("{") == text.count("}")
    assert text.count(r"\begin") == text.count(r"\end") == 2
    assert r"\caption{Accuracy \& gap, 100\% L$_\infty$}" in text and r"\label{tab:yamada2021:table_1}" in text
    assert r"\multicolumn{3}{c}{PGD}" in text and r"\cmidrule(lr){3-5}" in text and r"\addlinespace" in text
    inside = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = [line for line in inside.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 12 and {line.count(" & ") for line in rows} == {4}
    assert r"\begin{tabular}{llrrr}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_compiles(tmp_path) -> None:
    body = wide().latex("a:b") + made(printed=printed_accuracies()).latex("a:c")
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\n" + body + "\\end{document}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode()[-2000:]


def test_cell() -> None:
    assert [str(c) for c in (Cell("1"), Cell("1", "2"), Cell("", "2"), Cell())] == [
        "1",
        "1 (paper 2)",
        "- (paper 2)",
        "",
    ]
