"""A browser for tests of pages: the machine's own Chromium, driven by playwright; no browser is downloaded."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

#: Names of Chromium in Debian, Ubuntu, and what Google ships.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
#: Accessibility rules: a file of 650 kB under another licence (MPL-2.0), which is fetched and not kept in this repository.
AXE = "axe-core@4.14.1"
DESKTOP, PHONE = {"width": 1400, "height": 900}, {"width": 400, "height": 800}


@contextmanager
def open_browser() -> Iterator[Any]:
    """A headless browser; the test is skipped, and says so, where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no page is tested")
    executable = next((path for name in NAMES if (path := shutil.which(name))), None)
    if executable is None:
        pytest.skip("no Chromium is installed, so that no page is tested (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS, timeout=240_000)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page that was opened, and everything that went wrong on it: errors of the console, of scripts and of requests."""

    def __init__(self, context: Any, url: str) -> None:
        self.faults: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on(
            "console", lambda message: message.type in ("error", "warning") and self.faults.append(message.text)
        )
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("requestfailed", lambda request: self.faults.append(f"{request.url[:200]}: {request.failure}"))
        self.page.goto(url)

    def picture(self, name: str, *, whole: bool = False) -> None:
        """Keep a picture of what is in view, below ``REPORT_VIEWS``, if that is set; CI keeps them."""
        if folder := os.environ.get("REPORT_VIEWS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole, timeout=120_000)


@contextmanager
def visit(
    browser: Any, path: Path, *, size: dict[str, int] = DESKTOP, expected: tuple[str, ...] = (), **options: Any
) -> Iterator[Visit]:
    """A page in a fresh context; at the end nothing may have gone wrong on it but what begins with one of ``expected``."""
    context = browser.new_context(viewport=size, **options)
    # What is copied is kept for the test: the clipboard belongs to the machine.
    context.add_init_script(
        "window.copied = []; Object.defineProperty(navigator, 'clipboard',"
        " {value: {writeText: async (text) => { window.copied.push(text); }}});"
    )
    try:
        found = Visit(context, path.resolve().as_uri())
        yield found
        faults = [fault for fault in found.faults if not fault.startswith(expected)]
        assert not faults, faults
    finally:
        context.close()


@functools.cache
def axe_script() -> str:
    """The text of axe-core: the file that ``AXE_JS`` names, or else what npm fetches; the test is skipped without either."""
    if name := os.environ.get("AXE_JS"):
        return Path(name).read_text(encoding="utf-8")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("neither AXE_JS names axe.min.js nor is there npm to fetch it: accessibility is not tested")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", "--ignore-scripts", AXE]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"npm could not fetch {AXE}, so that accessibility is not tested: {error}")
        (packed,) = Path(folder).glob("*.tgz")
        with tarfile.open(packed) as archive:
            member = archive.extractfile("package/axe.min.js")
            assert member is not None
            return member.read().decode()


def axe_findings(page: Any) -> list[str]:
    """What axe-core finds wrong: rule, and the elements."""
    page.evaluate(axe_script())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
        for one in found["violations"]
        for node in one["nodes"][:4]
    ]


def broken_links(page: Any) -> list[str]:
    """Links and pictures of a page that lead nowhere: an anchor without element, a file that is not there."""
    found = page.evaluate(
        """() => [...document.querySelectorAll("[href], [src]")].map((node) => {
          const text = node.getAttribute("href") ?? node.getAttribute("src");
          const there = !text.startsWith("#") || document.getElementById(decodeURIComponent(text.slice(1))) !== null;
          return [text, node.href ?? node.src, there];
        })"""
    )
    broken = [text for text, _, there in found if not there]
    for text, url, _ in found:
        if not text.startswith(("#", "data:", "https://")):
            path = page.evaluate("(url) => decodeURIComponent(new URL(url).pathname)", url)
            if not url.startswith("file:") or not Path(path).exists():
                broken.append(text)
    return broken
