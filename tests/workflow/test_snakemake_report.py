"""Snakemake's own report of a finished run: it has the titles and captions of the page, and opens in the same browser."""

from __future__ import annotations

import json

import pytest
from browser import open_browser, visit

from robustscape.config.loading import load_experiment

from .conftest import ROOT, Project

#: A warning of a script that Snakemake's own template brings.
OF_SNAKEMAKE = ("cdn.tailwindcss.com should not be used in production",)

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(1800), pytest.mark.xdist_group("workflow")]


def test_snakemakes_report_has_our_captions_and_opens(finished: Project) -> None:
    path = finished.root / "snakemake_report.html"
    done = finished.snakemake("--report", path.name)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    text = path.read_text(encoding="utf-8")
    study = load_experiment(ROOT / "config", "smoke").studies["yamada2021"]
    captions = [item.caption.split("`")[0].split("*")[0].split("'")[0][:60] for item in study.items.values()]

    def written(words: str) -> bool:
        return words in text or json.dumps(words)[1:-1] in text

    assert [item.title for item in study.items.values() if not written(item.title.split("'")[0][:60])] == []
    assert [caption for caption in captions if caption and not written(caption)] == []
    with open_browser() as browser, visit(browser, path, expected=OF_SNAKEMAKE) as opened:
        opened.page.wait_for_function("document.body.innerText.includes('yamada2021')")
        opened.picture("snakemake_report")
