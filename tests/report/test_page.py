"""The report page is complete, names what is missing or broken, and escapes text; what a browser makes of it is tested beside."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_up import accuracy_rows, make_item, make_study, vouch_for

from robustscape.config.studies import Study
from robustscape.errors import CorruptFile
from robustscape.report import page, shown_item
from robustscape.report.items import write_item
from robustscape.report.run_facts import Origins, RunFacts
from robustscape.report.style import RASTER_DPI

from .conftest import FACTORS, table_item

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


def written(results: tuple[dict[str, Study], Path], **options) -> str:
    studies, root = results
    path = page.write_page(studies, root, "small", **options)
    assert path == root / "report" / ("self_contained.html" if options.get("self_contained") else "index.html")
    return path.read_text()


@pytest.mark.parametrize("self_contained", [False, True])
def test_it_is_well_formed_and_fetches_nothing_but_what_lies_beside_it(results, self_contained) -> None:
    text = written(results, self_contained=self_contained)
    outline = Outline(text)
    sources = [a[key] for _, a in outline.tags for key in ("src", "href") if key in a]
    assert sources
    assert all(source.startswith(("data:", "#") if self_contained else ("data:", "#", "../")) for source in sources)
    assert all(a["src"].startswith("data:" if self_contained else "../") for a in outline.all("img"))
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
    drawn: dict[str, Any] = {"kind": "figure", "draw": "curves", "options": {"x": "eps", "hue": "norm"}}
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
    assert articles["yamada2021-table_2"]["data-keys"].split() == ["table", "holds"]
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


def test_pictures_and_downloads_are_the_files(results) -> None:
    folder = results[1] / "yamada2021"
    outline = Outline(written(results))
    pictures = outline.all("img")
    assert len(pictures) == 2 and all("Shown: loss (nats) from" in a["alt"] for a in pictures)
    assert (results[1] / "report" / pictures[0]["src"]).resolve() == (folder / "figure_1.svg").resolve()
    assert 500 < int(pictures[0]["width"]) < 1200 and 200 < int(pictures[0]["height"]) < 1200
    links = {a["download"]: a["href"] for a in outline.all("a") if "download" in a}
    for name in ("table_1.csv", "table_1.tex", "figure_1.png"):
        assert (results[1] / "report" / links[f"yamada2021_{name}"]).resolve() == (folder / name).resolve()
    assert "yamada2021_table_3.csv" not in links


def test_the_self_contained_page_has_them_inside(results) -> None:
    folder = results[1] / "yamada2021"
    outline = Outline(written(results, self_contained=True))
    pictures = outline.all("img")
    assert base64.b64decode(pictures[0]["src"].partition(",")[2]) == (folder / "figure_1.svg").read_bytes()
    links = {a["download"]: a["href"] for a in outline.all("a") if "download" in a}
    assert base64.b64decode(links["yamada2021_table_1.csv"].partition(",")[2]) == (folder / "table_1.csv").read_bytes()


def test_a_large_vector_picture_is_shown_as_png(results, monkeypatch) -> None:
    monkeypatch.setattr(shown_item, "LARGEST_SVG", 10_000)
    assert all(a["src"].endswith(".png") for a in Outline(written(results)).all("img"))


def test_a_picture_of_twice_the_resolution_is_shown_at_the_same_size(results) -> None:
    """The size in CSS pixels follows from inches, not from pixels."""
    from robustscape.report.shown_item import _size_of_png

    content = (results[1] / "yamada2021" / "figure_1.png").read_bytes()
    width, height, per_inch = _size_of_png(content)
    assert per_inch == pytest.approx(RASTER_DPI, abs=0.1) and width > height > 100
    at = content.index(b"pHYs") + 4
    double = content[:at] + (2 * int.from_bytes(content[at : at + 4])).to_bytes(4) + content[at + 4 :]
    assert _size_of_png(double)[2] == pytest.approx(2 * RASTER_DPI, abs=0.2)
    with pytest.raises(ValueError, match="no PNG"):
        _size_of_png(b"<svg")


def test_claims_are_grouped_by_kind_with_the_expression_that_decided_them(results) -> None:
    words = Outline(written(results)).words
    assert "Empirical claims about trained nets" in words and "Theory claims about theorems" in words
    assert "non_increasing(series('robust_test_accuracy'), 0.15)" in words
    assert "spread(ours) > 1 ours = series() given metric = robust_test_accuracy" in words


def test_printed_numbers_stand_beside_ours_and_count_only_under_the_works_own_protocol(results) -> None:
    """Contract 3: a stand-in's gap is context, in brackets and with a hollow bar; it is in no count."""
    text = written(results)
    stand_in, own = (
        text.partition(f'<article id="yamada2021-table_{n}"')[2].partition("</article>")[0] for n in (1, 2)
    )
    assert '<td class="context">(+0.09)</td>' in stand_in and 'class="gap context' in stand_in
    assert '"within"' not in stand_in and "gap within" not in stand_in
    assert '<td class="within">+0.09</td>' in own and "gap context" not in own


def test_the_front_page_sums_up_each_work(results) -> None:
    front = written(results).partition('id="works"')[2].partition("</table>")[0]
    words = Outline(f"<h2{front}</table></div>").words
    assert "yamada2021 3 / 4 1 / 2 empirical 1 / 1 theory 2 12 / 12" in words and "kim2023 1 / 1" in words
    table = written(results).partition('id="stand-ins"')[2].partition("</details>")[0]
    assert "MNIST 0/1" in table and "digits_01" in table and "2 of yamada2021" in table


def test_runs_behind_an_item_are_listed_with_their_health(results) -> None:
    good = RunFacts("a/b/c/eps0/seed0", "a", "b", "c", 0.0, 0, 91.5, None, 0.1, 100, (), 3.0)
    bad = RunFacts("a/b/c/eps0/seed1", "a", "b", "c", 0.0, 1, shortfalls=("it diverged",))
    broken = RunFacts("a/b/c/eps0/seed2", "a", "b", "c", 0.0, 2, problem="health.json was edited")
    runs = {run.key: run for run in (good, bad, broken)}
    name = ("yamada2021", "table_1")
    origins = Origins(runs, {name: tuple(runs)}, {name: "config/studies/yamada2021.yaml"}, {name: ("src/x.py",)})
    words = Outline(written(results, origins=origins)).words
    assert "2 of 3 runs not trained" in words and "it diverged" in words and "health.json was edited" in words
    assert "1 of 3 trained networks are above the thresholds" in words and "91.5" in words
    assert "config/studies/yamada2021.yaml" in words and "https" not in written(results, origins=origins)
    links = [a["href"] for a in Outline(written(results, origins=origins, repository="https://h/o/p.git")).all("a")]
    commit = "abcdef" * 6 + "abcd"
    assert f"https://h/o/p/blob/{commit}/config/studies/yamada2021.yaml" in links
    assert f"https://h/o/p/commit/{commit}" in links


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("yamada2021/table_1.csv", b"edited"),
        ("yamada2021/table_1.tex", b"edited"),
        ("yamada2021/table_1.json", b"{}"),
        ("yamada2021/figure_1.png", b"no picture"),
        ("claims.csv", b"work,item\n"),
    ],
)
def test_a_broken_file_is_named_and_its_numbers_are_refused(results, file, content) -> None:
    """Contract 5: the rest of the page is written, and the command ends with an error."""
    studies, root = results
    (root / file).write_bytes(content)
    with pytest.raises(CorruptFile, match=re.escape(str(root / file).replace(".json", ".csv"))):
        page.write_page(studies, root, "small")
    outline = Outline((root / "report" / "index.html").read_text())
    assert "Broken results" in outline.words and "1 result is not shown" in outline.words
    assert "Own data" in outline.words and "99.84 ± 0.05 paper 99.75 Δ +0.09" in outline.words
    name = file.partition(".")[0].replace("/", "-")
    assert not [a for a in outline.all("a") if a.get("download", "").startswith(name.replace("-", "_"))]


@pytest.mark.parametrize("content", ["", "metric\n", "metric,value,n\nx,1,1\n", "\0\0"])
def test_a_table_that_is_vouched_for_but_does_not_fit_is_a_broken_item(results, content) -> None:
    studies, root = results
    (root / "yamada2021" / "table_1.csv").write_text(content)
    vouch_for(root / "yamada2021" / "table_1.csv")
    with pytest.raises(CorruptFile, match="cannot be shown"):
        page.write_page(studies, root, "small")
    assert "table_1.csv cannot be shown" in (root / "report" / "index.html").read_text()


def test_the_same_results_give_the_same_page(results) -> None:
    assert written(results, when="now") == written(results, when="now")


def test_it_works_with_no_items_and_with_none_made(tmp_path: Path) -> None:
    empty = Outline(page.make_page({}, tmp_path, "smoke", command="make").html)
    assert (
        "0 / 0 items made" in empty.words
        and "no empirical claim was tested" in empty.words
        and "no study has an item" in empty.words
    )
    none = Outline(page.make_page({"w": make_study("w", table_1=table_item())}, tmp_path, "smoke", command="make").html)
    assert "0 / 1 items made" in none.words and len(none.all("article", **{"class": "missing"})) == 1


def test_claims_that_were_not_evaluated_are_said_to_be(results) -> None:
    (results[1] / "claims.csv").unlink()
    assert "3 claims have not been evaluated yet." in Outline(written(results)).words


def test_templates_are_all_used() -> None:
    names = sorted(p.name for p in page.TEMPLATES.iterdir())
    assert names == ["_parts.html.jinja", "comparison.html.jinja", "page.css", "page.html.jinja", "page.js"]


def test_runs_are_shown_before_any_item_is_made(tmp_path: Path) -> None:
    """A day into a week of training the page must not say that nothing was done."""
    studies = {"yamada2021": make_study("yamada2021", table_1=table_item())}
    run = RunFacts("a/b/r/eps0.1/seed0", "a", "b", "r", 0.1, 0, clean=90.0, loss=0.1, updates=9, seconds=75.0)
    origins = Origins({run.key: run}, {("yamada2021", "table_1"): (run.key, "not trained yet")})
    words = Outline(written((studies, tmp_path / "small"), origins=origins)).words
    assert "1 min 15 s spent on training" in words and "1 of its runs are trained" in words and "1 / 1" in words


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0.0 s"), (59.6, "60 s"), (61, "1 min 1 s"), (86400, "24 h 0 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert page.duration(seconds) == text
