"""The step ``report``: the page that shows all items and verdicts. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from robustscape.pipeline.origins import find_origins
from robustscape.pipeline.plan import Plan
from robustscape.report import page
from robustscape.report.comparison import write_comparison


def write_report(plan: Plan, *, repository: str = "", self_contained: bool = False) -> Path:
    """Write the report page of the plan's works, and of all others that were made; return its path.

    Raises:
        CorruptFile: results are broken; the page is written, and says which.
    """
    plan = plan.with_made_works()
    return page.write_page(
        plan.studies,
        plan.root,
        plan.experiment.scale_name,
        origins=find_origins(plan),
        repository=repository,
        self_contained=self_contained,
    )


def compare_results(plan: Plan, old: Path, new: Path) -> Path:
    """Write the page that compares two folders of results, of any scale, below the second; return its path.

    Raises:
        MissingData: a folder has no result of the plan's works.
        CorruptFile: results are broken; the page is written, and says which.
    """
    return write_comparison(plan.studies, old, new)
