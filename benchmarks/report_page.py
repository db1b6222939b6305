"""The report page: its weight, and the time until it is seen when it is opened from the disk, in Chromium.

``python benchmarks/report_page.py results/small/report/index.html --pictures docs/gallery``. The page is opened several times,
each in a fresh profile; the median of first contentful paint counts. With ``--pictures`` the pictures of the documentation are
taken, at both widths.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path
from typing import Any

from _measure import write

#: Width and height of the window, and what its pictures are called.
WINDOWS = {"report": (1400, 900), "report_400": (400, 800)}


def first_view(browser: Any, page: Path) -> tuple[float, float, int]:
    """Milliseconds to the first contentful paint and to the end of loading, and the number of files loaded by then."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    tab = context.new_page()
    tab.goto(page.resolve().as_uri(), wait_until="load")
    tab.wait_for_timeout(300)
    found = tab.evaluate(
        """() => [performance.getEntriesByName("first-contentful-paint")[0].startTime,
                  performance.getEntriesByType("navigation")[0].loadEventEnd,
                  performance.getEntriesByType("resource").length]"""
    )
    context.close()
    return float(found[0]), float(found[1]), int(found[2])


def take_pictures(browser: Any, page: Path, folder: Path) -> None:
    """Write a picture of the first view at each width."""
    for name, (width, height) in WINDOWS.items():
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
        tab = context.new_page()
        tab.goto(page.resolve().as_uri())
        tab.wait_for_timeout(500)
        tab.screenshot(path=folder / f"{name}.png")
        context.close()


def main() -> None:
    """Print and write the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("page", type=Path, help="a report page")
    parser.add_argument("--repeats", type=int, default=5, help="how often it is opened (default: %(default)s)")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="take pictures for the documentation")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results" / "report_page.json", help="figures"
    )
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    executable = next(path for name in ("chromium", "google-chrome") if (path := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        found = [first_view(browser, options.page) for _ in range(options.repeats)]
        if options.pictures:
            take_pictures(browser, options.page, options.pictures)
        browser.close()
    text = options.page.read_text(encoding="utf-8")
    results = [
        {
            "items": text.count("<article "),
            "html_bytes": len(text.encode()),
            "first_view_ms": round(statistics.median(view for view, _, _ in found)),
            "loaded_ms": round(statistics.median(loaded for _, loaded, _ in found)),
            "files_loaded": found[0][2],
            "repeats": options.repeats,
        }
    ]
    print(results[0])
    write(options.output, results)


if __name__ == "__main__":
    main()
