"""The step ``report``: the page that shows all items and verdicts. Imports no torch."""

from __future__ import annotations

from robustscape.pipeline.plan import Plan
from robustscape.report import page


def write_report(plan: Plan) -> None:
    """Write the report page of the plan's works, and of all others that were made."""
    plan = plan.with_made_works()
    page.write_page(plan.studies, plan.root, plan.experiment.scale_name)
