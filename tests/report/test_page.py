"""The report page is self-contained and complete, names what is missing, and escapes text."""

from __future__ import annotations

import base64
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up import accuracy_rows, landscape_rows, make_item, make_study, printed_accuracies, surface_rows, vouch_for

from robustscape.claims.verdicts import CLAIM_COLUMNS, claim_rows
from robustscape.config.studies import Claim, Item, Study
from robustscape.report import page
from robustscape.report.items import write_item

FACTORS = ["dataset", "architecture", "noise", "norm", "eps"]
VOID = {"meta", "link", "input", "img", "br", "hr"}


class Outline(HTMLParser):
    """The tags of a page in order, with their attributes, and its text; fails if the tags do not balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [a for t, a in self.tags if t == tag and all(w in a.get(k, "").split() for k, w in wanted.items())]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def table_item(**keys) -> Item:
    stanza = {
        "factors": FACTORS,
        "options": {"index": ["eps"]},
        "title": "Accuracy under <script>alert(1)</script>",
    }
    return make_item(**{**stanza, **keys})


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> tuple[dict[str, Study], Path]:
    said = [
        Claim(id="Y-8", says="does not rise", holds="non_increasing(series('robust_test_accuracy'), 0.15)"),
        Claim(id="Y-9", says="constant", holds="spread(series('robust_test_accuracy')) < 0.05"),
        Claim(id="Y-5", says="linear", holds="r2_linear(series('robust_test_accuracy')) > 2", scales=["paper"]),
    ]
    table, own, missing = (
        table_item(claims=said),
        table_item(title="Own data"),
        table_item(title="Not there", claims=said[:1]),
    )
    options = {"x": "alpha", "hue": "eps", "panel": "noise"}
    curves = make_item(
        kind="figure", draw="curves", title="Curves", factors=[*FACTORS, "alpha"], metrics=["loss"], options=options
    )
    surface = make_item(
        kind="figure",
        draw="surface_3d",
        factors=["eps", "alpha", "beta"],
        options={"metric": "loss", "panel": "eps"},
    )
    first = make_study("yamada2021", table_1=table, table_2=own, table_3=missing, figure_1=curves)
    second = make_study("kim2023", figure_4_1=surface)
    root = tmp_path_factory.mktemp("page") / "results" / "small"
    flagged = accuracy_rows(flag_zero_gradients=True)
    write_item(table, flagged, root / "yamada2021" / "table_1.csv", printed=printed_accuracies(), scale="small")
    write_item(
        own,
        accuracy_rows(stand_in="", paper_protocol=True),
        root / "yamada2021" / "table_2.csv",
        printed=printed_accuracies(),
    )
    write_item(curves, landscape_rows(points=5), root / "yamada2021" / "figure_1.csv", scale="small")
    write_item(surface, surface_rows(9), root / "kim2023" / "figure_4_1.csv", scale="small")
    vouch_for(
        root / "yamada2021" / "table_1.csv",
        command="robustscape --scale small item yamada2021/table_1",
        seconds=2.5,
        code="c0de" * 16,
        config={"title": "x"},
        inputs=[{"path": "m.csv", "sha256": "feedbeef" * 8}],
        environment={"python": "3.11.7", "torch": "2.11.0", "gpu": None},
        versions={"pandas": pd.__version__},
    )
    for name in ("yamada2021/table_2", "yamada2021/figure_1", "kim2023/figure_4_1"):
        vouch_for(root / f"{name}.csv")
    studies = {"yamada2021": first, "kim2023": second}
    pd.DataFrame(claim_rows(studies, root, "small"), columns=CLAIM_COLUMNS).to_csv(root / "claims.csv", index=False)
    vouch_for(root / "claims.csv")
    return studies, root


@pytest.fixture
def results(made_once: tuple[dict[str, Study], Path], tmp_path: Path) -> tuple[dict[str, Study], Path]:
    studies, root = made_once
    return studies, Path(shutil.copytree(root, tmp_path / "results" / "small"))


def written(results: tuple[dict[str, Study], Path], **options) -> str:
    studies, root = results
    path = page.write_page(studies, root, "small", **options)
    assert path == root / "report" / "index.html"
    return path.read_text()


def test_it_is_one_well_formed_file_that_fetches_nothing(results) -> None:
    text = written(results)
    outline = Outline(text)
    sources = [a[key] for _, a in outline.tags for key in ("src", "href") if key in a]
    assert sources
    assert all(source.startswith(("data:", "#", "../")) for source in sources)
    assert not outline.all("link", rel="stylesheet") and not [a for a in outline.all("script") if "src" in a]
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", text)
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text


def test_summary_counts_items_and_verdicts(results) -> None:
    words = Outline(written(results, when="2026-01-02 03:04 UTC")).words
    assert "4 / 5 items made" in words
    assert "1 / 2 of the tested empirical claims hold" in words
    assert "1 hold 1 fail 2 not testable" in words
    assert (
        "empirical (trained nets): 1 of 2 tested hold, 1 not testable: not made, 1 not testable at this scale" in words
    )
    assert "Results at scale small , written 2026-01-02 03:04 UTC." in words and "make reproduce SCALE=small" in words
    assert "3 items were made with stand-ins" in words
    assert "python 3.11.7" in words and "gpu" not in words


def test_a_study_without_printed_numbers_reads_as_one(tmp_path: Path) -> None:
    """A study of one's own re-implements no work: nothing on the page or in its files speaks of a paper."""
    drawn: dict[str, Any] = {"kind": "figure", "draw": "lines_with_printed", "options": {"x": "eps", "hue": "norm"}}
    figure = make_item(factors=FACTORS, metrics=["robust_test_accuracy"], **drawn)
    study = make_study("mine", table_1=table_item(title="A"), table_2=table_item(title="B"), figure_1=figure)
    root = tmp_path / "results" / "small"
    rows = {
        "table_1": accuracy_rows(),
        "table_2": accuracy_rows(stand_in="", paper_protocol=True),
        "figure_1": accuracy_rows(stand_in=""),  # smaller sizes alone
    }
    for name, item in study.items.items():
        write_item(item, rows[name], root / "mine" / f"{name}.csv", scale="small")
        vouch_for(root / "mine" / f"{name}.csv")
    texts = [Outline(written(({"mine": study}, root))).words]
    texts += [
        (root / "mine" / name).read_text() for name in ("table_1.md", "table_1.tex", "table_2.md", "figure_1.svg")
    ]
    for text in texts:
        assert not re.search(
            r"paper(?!_)|(?<!make )reproduc|regenerated|\bworks?\b", re.sub(r"<style.*?</style>", "", text)
        ), text
    assert "made with stand-ins, other data sets or networks than the study's own. " in texts[0]
    assert "the study's own protocol" in texts[0] and "not the study's own protocol" in texts[0]


def test_every_item_is_there_with_its_numbers_verdicts_and_origin(results) -> None:
    outline = Outline(written(results))
    articles = {a["id"]: a for a in outline.all("article")}
    names = [
        "yamada2021-table_1",
        "yamada2021-table_2",
        "yamada2021-table_3",
        "yamada2021-figure_1",
        "kim2023-figure_4_1",
    ]
    assert list(articles) == names
    assert articles["yamada2021-table_1"]["data-keys"].split() == ["table", "holds", "fails", "untestable", "stand-in"]
    assert articles["yamada2021-table_3"]["class"] == "missing"
    assert articles["yamada2021-table_2"]["data-keys"].split() == ["table"]
    anchors = {a["href"] for a in outline.all("a") if a["href"].startswith("#")}
    assert {f"#{name}" for name in names} <= anchors
    words = outline.words
    assert "99.84 ± 0.05 paper 99.75" in words  # the stand-in: no difference
    assert "99.84 ± 0.05 paper 99.75 Δ +0.09" in words  # its own protocol: one
    assert "stand-in: digits_01 for MNIST 0/1" in words and "the study's own protocol" in words and "not made" in words
    assert "flag: zero gradients (18 of 18 numbers)" in words
    assert (
        "✓ holds Y-8 does not rise" in words
        and "✗ fails Y-9 constant" in words
        and "– not testable at this scale Y-5 linear" in words
    )
    assert (
        "robust test accuracy at ε 0, 0.2, 0.4, 0.6, 0.8, 1: 99.9, 99.84, 99.68, 99.4, 99, 98.5; spread = 1.4." in words
    )
    assert "robustscape --scale small item yamada2021/table_1" in words and "feedbeeffeed m.csv" in words
    assert "figure 4.1" in words


def test_text_is_escaped(results) -> None:
    text = written(results)
    assert "<script>alert(1)" not in text and "&lt;script&gt;alert(1)" in text
    assert "Sharper &lt;landscapes&gt; &amp; more" in text


def test_pictures_are_embedded_and_downloads_are_the_files(results) -> None:
    outline = Outline(written(results))
    folder = results[1] / "yamada2021"
    pictures = outline.all("img")
    assert len(pictures) == 2 and all(a["src"].startswith("data:image/svg+xml;base64,") and a["alt"] for a in pictures)
    assert base64.b64decode(pictures[0]["src"].partition(",")[2]) == (folder / "figure_1.svg").read_bytes()
    assert 500 < int(pictures[0]["width"]) < 1200
    links = {a["download"]: a["href"] for a in outline.all("a") if "download" in a}
    assert base64.b64decode(links["yamada2021_table_1.csv"].partition(",")[2]) == (folder / "table_1.csv").read_bytes()
    assert base64.b64decode(links["yamada2021_table_1.tex"].partition(",")[2]) == (folder / "table_1.tex").read_bytes()
    assert (results[1] / "report" / links["yamada2021_figure_1.png"]).resolve() == (folder / "figure_1.png").resolve()
    assert "yamada2021_table_3.csv" not in links


def test_a_large_vector_picture_is_embedded_as_png(results, monkeypatch) -> None:
    monkeypatch.setattr(page, "_LARGEST_SVG", 10_000)
    assert all(a["src"].startswith("data:image/png") for a in Outline(written(results)).all("img"))


def test_the_same_results_give_the_same_page(results) -> None:
    assert written(results, when="now") == written(results, when="now")


def test_it_works_with_no_items_and_with_none_made(tmp_path: Path) -> None:
    empty = Outline(page.page_html({}, tmp_path, "smoke", command="make"))
    assert (
        "0 / 0 items made" in empty.words
        and "no empirical claim was tested" in empty.words
        and "no study has an item" in empty.words
    )
    none = Outline(page.page_html({"w": make_study("w", table_1=table_item())}, tmp_path, "smoke", command="make"))
    assert "0 / 1 items made" in none.words and len(none.all("article", **{"class": "missing"})) == 1


def test_claims_that_were_not_evaluated_are_said_to_be(results) -> None:
    (results[1] / "claims.csv").unlink()
    assert "3 claims have not been evaluated yet." in Outline(written(results)).words


def test_templates_are_all_used() -> None:
    assert sorted(p.name for p in page.TEMPLATES.iterdir()) == ["page.css", "page.html.jinja", "page.js"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0.0 s"), (59.6, "60 s"), (61, "1 min 1 s"), (86400, "24 h 0 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert page.duration(seconds) == text
