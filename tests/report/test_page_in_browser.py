"""The report page where it is used: opened from the disk in Chromium, at two widths, light and dark, with and without script."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from browser import DESKTOP, PHONE, axe_findings, broken_links, open_browser, visit
from made_up import labelled_frame, make_item, make_study, vouch_for

from robustscape.config.studies import Item, Study
from robustscape.errors import CorruptFile
from robustscape.report import comparison, page
from robustscape.report.items import write_item
from robustscape.report.run_facts import Origins, RunFacts

from .conftest import judge, table_item

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("browser")]

#: A name that breaks attributes, scripts, paths and selectors that do not escape it.
NASTY = """it's <b>"bold"</b> & 100%"""
METHODS = ("AT", "TRADES", "fast AT")


def method_item(**keys: Any) -> Item:
    stanza = {
        "factors": ["dataset", "architecture", "method", "attack"],
        "options": {"index": ["method"], "columns": ["metric", "attack"]},
        "title": "Methods",
    }
    return make_item(**{**stanza, **keys})


def method_rows(better: float = 0.0) -> pd.DataFrame:
    """Three methods under two attacks, with the recipe and weights of each."""
    rows = [
        {
            "method": method,
            "recipe": f"recipe_{place}",
            "eps": 0.1,
            "seed": seed,
            "attack": attack,
            "metric": "accuracy",
            "value": 80.0 - 7.5 * place - drop + seed + better * place,
            "unit": "percent",
            "checkpoint": f"{place}{seed}c0ffee0000",
        }
        for place, method in enumerate(METHODS)
        for attack, drop in (("pgd", 0.0), ("autoattack", 4.0))
        for seed in range(2)
    ]
    return labelled_frame(rows)


def run_of(place: int, seed: int, **more: Any) -> RunFacts:
    key = f"digits_01/logistic_regression/recipe_{place}/eps0.1/seed{seed}"
    facts = {"clean": 90.0 - place, "robust": 60.0, "loss": 0.2, "updates": 100, "seconds": 12.0, "epoch_seconds": 1.5}
    given = facts | {"checkpoints": (f"{place}{seed}c0ffee0000",)} | more
    return RunFacts(key, "digits_01", "logistic_regression", f"recipe_{place}", 0.1, seed, **given)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def written(made_once: tuple[dict[str, Study], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the made-up works, of one that compares methods, and of one of which nothing was made."""
    studies, made = made_once
    root = Path(shutil.copytree(made, tmp_path_factory.mktemp("site") / "results" / "small"))
    nasty = table_item(title=NASTY, caption=NASTY)
    studies = {
        **studies,
        "methods": make_study("methods", table_1=method_item()),
        "nothing": make_study("nothing", table_9=nasty),
    }
    write_item(method_item(), method_rows(), root / "methods" / "table_1.csv", scale="small")
    vouch_for(root / "methods" / "table_1.csv")
    judge(studies, root)
    runs = {run.key: run for run in (run_of(place, seed) for place in range(3) for seed in range(2))}
    short = run_of(2, 1, shortfalls=("clean accuracy 31.0 % < 46.0 %",))
    runs[short.key] = short
    name = ("methods", "table_1")
    origins = Origins(
        runs, {name: (*runs, "gone")}, {name: "config/studies/methods.yaml"}, {name: ("src/robustscape/a.py",)}
    )
    options = {"origins": origins, "repository": "https://example.org/robustscape"}
    page.write_page(studies, root, "small", self_contained=True, **options)
    return page.write_page(studies, root, "small", **options)


@pytest.fixture(scope="module")
def compared(made_once: tuple[dict[str, Study], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The comparison of two results: one number has moved, one verdict with it, one item is gone."""
    studies, made = made_once
    folder = tmp_path_factory.mktemp("compared")
    old, new = (Path(shutil.copytree(made, folder / name)) for name in ("old", "new"))
    studies = {**studies, "methods": make_study("methods", table_1=method_item(claims=[]))}
    for root, better in ((old, 0.0), (new, 2.0)):
        write_item(method_item(), method_rows(better), root / "methods" / "table_1.csv", scale="small")
        vouch_for(root / "methods" / "table_1.csv")
    for path in (new / "kim2023").iterdir():
        path.unlink()
    claims = pd.read_csv(new / "claims.csv", keep_default_na=False)
    claims.loc[claims["claim"] == "Y-8", "verdict"] = "fails"
    claims.to_csv(new / "claims.csv", index=False)
    vouch_for(new / "claims.csv")
    return comparison.write_comparison(studies, old, new)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["1400", "400"])
def test_it_opens_without_an_error_and_nothing_sticks_out(browser, written, compared, size, scheme) -> None:
    for name, path in (("report", written), ("comparison", compared)):
        with visit(browser, path, size=size, color_scheme=scheme) as opened:
            opened.picture(f"{name}_{size['width']}_{scheme}")
            width = opened.page.evaluate("document.documentElement.scrollWidth")
            assert width <= size["width"], "the page scrolls sideways"
            dark = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (int(re.findall(r"\d+", dark)[0]) < 60) == (scheme == "dark")
            if name == "report":
                opened.page.locator("#methods-table_1").scroll_into_view_if_needed()
                opened.picture(f"item_{size['width']}_{scheme}")


def test_no_link_is_broken_and_pictures_load_when_they_are_scrolled_to(browser, written, compared) -> None:
    for path in (written, compared, written.with_name(page.SELF_CONTAINED)):
        with visit(browser, path) as opened:
            assert broken_links(opened.page) == []
            for picture in opened.page.locator("figure img").all():
                assert picture.get_attribute("loading") == "lazy" and picture.get_attribute("alt")
                picture.scroll_into_view_if_needed()
                opened.page.wait_for_function(
                    "(node) => node.complete && node.naturalWidth > 0", arg=picture.element_handle()
                )
    assert "../yamada2021/figure_1.svg" in written.read_text()


def test_search_and_chips_filter(browser, written) -> None:
    with visit(browser, written) as opened:
        page_ = opened.page
        articles = page_.locator("article:visible")
        everything = articles.count()
        page_.fill("#search", "own data")
        assert articles.count() == 1 and page_.locator(".filter output").inner_text() == f"1 of {everything}"
        opened.picture("search")
        page_.fill("#search", "no such thing")
        assert articles.count() == 0 and page_.locator("#none").is_visible()
        page_.fill("#search", "")
        for chip in ("figures", "stand-in"):
            page_.locator(".filter label", has_text=re.compile(f"^{chip}$")).click()
        opened.picture("chips")
        assert articles.count() == 2 and page_.locator("#yamada2021-figure_1").is_visible()
        page_.evaluate("location.hash = '#yamada2021-table_2'")
        page_.wait_for_function("!document.getElementById('yamada2021-table_2').hidden")
        assert articles.count() == everything


def words_of(place: Any) -> str:
    """The text of an element in one line, also where it is out of view and not drawn (``content-visibility``)."""
    return " ".join(place.text_content().split())


def column(table: Any, index: int) -> list[str]:
    """The texts of a column of a table, top to bottom."""
    return [words_of(row.locator("th, td").nth(index)) for row in table.locator("tbody tr").all()]


def test_a_heading_sorts_by_numbers_and_by_words_and_by_key(browser, written) -> None:
    with visit(browser, written) as opened:
        page_ = opened.page
        article = page_.locator("#methods-table_1")
        article.scroll_into_view_if_needed()
        table = article.locator("table.sorts").first
        head = table.locator("thead tr").last.locator("th")
        button = head.nth(1).locator("button")
        button.click()
        values = [float(text.split()[0]) for text in column(table, 1)]
        assert values == sorted(values) and head.nth(1).get_attribute("aria-sort") == "ascending"
        button.press("Enter")
        values = [float(text.split()[0]) for text in column(table, 1)]
        assert values == sorted(values, reverse=True) and head.nth(1).get_attribute("aria-sort") == "descending"
        opened.picture("sorted")
        head.nth(0).locator("button").click()
        assert column(table, 0) == sorted(METHODS, key=str.casefold) and head.nth(1).get_attribute("aria-sort") is None
        # Fractions are numbers, and what is not there stands last.
        printed = page_.locator("#yamada2021-table_2 details.printed table")
        printed.scroll_into_view_if_needed()
        printed.locator("thead th").last.locator("button").click()
        assert column(printed, 0)
        page_.locator("#works ~ .scroll a", has_text="1 table").click()
        page_.wait_for_function("document.querySelector('details.methods').open")
        costs = words_of(page_.locator("details.methods table thead"))
        assert "time of an epoch (s)" in costs and "AutoAttack" in costs
        opened.picture("methods")


def test_every_number_is_copied_as_csv_and_as_latex(browser, written) -> None:
    with visit(browser, written) as opened:
        page_ = opened.page
        article = page_.locator("#yamada2021-table_1")
        article.scroll_into_view_if_needed()
        article.locator(".copy button", has_text="copy CSV").first.click()
        article.locator(".copy button", has_text="copy LaTeX").first.click()
        article.locator("table.sorts td", has_text="99.84").first.click()
        opened.picture("copy")
        for name in ("CSV", "LaTeX"):
            page_.locator(".pick button", has_text=re.compile(f"^{name}$")).click()
        table, latex, *cell = page_.evaluate("window.copied")
        assert table.count("\n") == 7 and "99.84 ± 0.05 paper 99.75" in table
        assert latex.startswith("\\begin{tabular}") and "99.84 $\\pm$ 0.05" in latex and "$\\varepsilon$" in latex
        assert cell == ["99.84,0.05", "$99.84 \\pm 0.05$"]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["1400", "400"])
def test_a_picture_opens_large_and_the_focus_returns(browser, written, size) -> None:
    with visit(browser, written, size=size) as opened:
        page_ = opened.page
        link = page_.locator("#yamada2021-figure_1 a.picture")
        link.scroll_into_view_if_needed()
        small = link.locator("img").bounding_box()["width"]
        link.focus()
        page_.keyboard.press("Enter")
        image = page_.locator("dialog.zoom img")
        image.wait_for(state="visible")
        page_.wait_for_function("document.querySelector('dialog.zoom img').naturalWidth > 0")
        fitted = image.bounding_box()["width"]
        page_.locator("dialog.zoom button", has_text="+").click()
        assert image.bounding_box()["width"] > fitted
        opened.picture(f"zoom_{size['width']}")
        if size is DESKTOP:
            assert fitted > small
        page_.keyboard.press("Escape")
        assert not page_.locator("dialog.zoom").is_visible()
        assert page_.evaluate("document.activeElement.className") == "picture"


def test_it_is_readable_without_script(browser, written) -> None:
    with visit(browser, written, java_script_enabled=False) as opened:
        page_ = opened.page
        opened.picture("without_script")
        assert page_.locator("article").count() == page_.locator("article:visible").count() > 5
        assert not page_.locator(".filter").is_visible(), "a search that does nothing"
        assert page_.locator("button").count() == 0
        assert page_.locator("#yamada2021-table_1 table").first.is_visible()
        page_.locator("#methods-table_1 summary", has_text="How it was made").click()
        made = words_of(page_.locator("#methods-table_1 .foot"))
        assert "6 trained networks behind it, 1 more not there" in made and "clean accuracy 31.0 % < 46.0 %" in made


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["1400", "400"])
def test_axe_finds_nothing(browser, written, compared, size, scheme) -> None:
    for path in (written, compared):
        with visit(browser, path, size=size, color_scheme=scheme) as opened:
            opened.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            opened.page.add_style_tag(content="article { content-visibility: visible !important }")
            opened.page.wait_for_timeout(300)
            assert axe_findings(opened.page) == []
            if path == written and size == DESKTOP:
                opened.page.locator("#yamada2021-figure_1 a.picture").click()
                assert axe_findings(opened.page) == []


def test_the_keyboard_reaches_the_items_first(browser, written) -> None:
    with visit(browser, written) as opened:
        page_ = opened.page
        page_.keyboard.press("Tab")
        assert page_.evaluate("document.activeElement.className") == "skip"
        opened.picture("skip_link")
        page_.keyboard.press("Enter")
        assert page_.evaluate("document.activeElement.id") == "items"
        landmarks = page_.evaluate(
            "['header', 'nav', 'main', '[role=search]'].map((s) => document.querySelectorAll(s).length)"
        )
        assert landmarks == [1, 1, 1, 1]


def test_print_shows_the_items_and_no_controls(browser, written) -> None:
    with visit(browser, written) as opened:
        opened.page.emulate_media(media="print")
        assert not opened.page.locator("nav").is_visible() and not opened.page.locator(".filter").is_visible()
        assert opened.page.locator("#yamada2021-table_1 table").first.is_visible()
        opened.picture("print")


def test_the_comparison_names_what_changed(browser, compared) -> None:
    with visit(browser, compared) as opened:
        words = words_of(opened.page.locator("main"))
        assert re.search(r"yamada2021/table_1\s*Y-8", words) and "fails" in words
        assert "kim2023/figure_4_1" in words and "only in old" in words
        table = opened.page.locator("#methods-table_1 table")
        assert table.locator("tbody tr").count() == 4 and "+4.00" in words_of(table)  # fast AT: twice 2.0
        assert "4 numbers differ, 2 are the same" in words
        assert opened.page.locator("#methods-table_1 .gap").count() == 4


def test_broken_and_partial_results_give_a_page_that_says_so(browser, results) -> None:
    studies, root = results
    studies = {**studies, "odd": make_study("odd", **{"table_'1'": table_item(title=NASTY, caption=NASTY)})}
    (root / "yamada2021" / "table_1.csv").write_text("no,table\n1\n")
    (root / "yamada2021" / "figure_1.csv").unlink()
    rows = pd.read_csv(root / "yamada2021" / "table_2.csv")
    rows.loc[0, ["value", "difference"]] = float("nan")
    rows.loc[1, "value"] = float("inf")
    rows.to_csv(root / "yamada2021" / "table_2.csv", index=False)
    vouch_for(root / "yamada2021" / "table_2.csv")
    with pytest.raises(CorruptFile, match=r"table_1\.csv is not the file") as error:
        page.write_page(studies, root, "small")
    path = root / "report" / page.PAGE
    assert str(path) in str(error.value)
    with visit(browser, path) as opened:
        opened.picture("broken")
        words = words_of(opened.page.locator("main"))
        assert "2 results are not shown" in words and "figure_1.csv is gone; there is still" in words
        assert opened.page.locator("#yamada2021-table_1 table").count() == 0, "no number of a broken file is shown"
        assert "nan" in words_of(opened.page.locator("#yamada2021-table_2"))
        assert words_of(opened.page.locator("#odd-table_-1- h3")) == NASTY
        assert "No item of this study was made" in words
        assert broken_links(opened.page) == []


def test_163_items_weigh_less_than_two_megabytes_and_are_seen_at_once(browser, made_once, tmp_path) -> None:
    """As many items as the five works have, each with printed numbers and claims, and runs behind them."""
    studies, made = made_once
    items = studies["yamada2021"].items
    root = tmp_path / "results" / "small"
    many: dict[str, Item] = {}
    for number in range(163):
        name = ("table_1", "figure_1")[number % 2]
        copy = f"{name.partition('_')[0]}_{number}"
        many[copy] = items[name]
        for suffix in (".csv", ".md", ".tex", ".svg", ".png"):
            source = made / "yamada2021" / f"{name}{suffix}"
            if source.exists():
                target = root / "many" / f"{copy}{suffix}"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        vouch_for(root / "many" / f"{copy}.csv")
    all_of_it = {"many": make_study("many", **many)}
    judge(all_of_it, root)
    runs = {run.key: run for run in (run_of(place, seed) for place in range(230) for seed in range(3))}
    behind = {("many", name): tuple(runs) for name in many}
    path = page.write_page(all_of_it, root, "small", origins=Origins(runs, behind))
    assert path.stat().st_size < 2_000_000
    with visit(browser, path) as opened:
        seen = opened.page.evaluate(
            """async () => {
              await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
              const [paint] = performance.getEntriesByName("first-contentful-paint");
              return paint.startTime;
            }"""
        )
        loaded = opened.page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
        opened.picture("many")
        # A link leads to its item, although the heights of those above are not known before they are seen.
        opened.page.locator("nav a[href='#many-figure_101']").click()
        from playwright.sync_api import TimeoutError as Late

        at_its_item = True
        try:
            opened.page.wait_for_function(
                """() => {
                  const { top } = document.getElementById("many-figure_101").getBoundingClientRect();
                  return top >= 0 && top < 300;
                }"""
            )
        except Late:
            at_its_item = False
    print(json.dumps({"bytes": path.stat().st_size, "first_view_ms": round(seen), "loaded": len(loaded)}))
    assert len([name for name in loaded if name.endswith((".svg", ".png"))]) < 20, "pictures far below are not loaded"
    # A second on a quiet machine (benchmarks/report_page.py measures it); tests share theirs with others.
    assert seen < 10_000
    if not at_its_item:
        pytest.xfail(
            "the jump to an item far below does not end at it: heights above it are not known (content-visibility)"
        )
