"""The step ``claims``: the verdicts of all claims. Imports no torch."""

from __future__ import annotations

import pandas as pd

from robustscape.claims.verdicts import CLAIM_COLUMNS, claim_rows
from robustscape.pipeline.plan import Plan
from robustscape.storage import atomic


def judge_claims(plan: Plan) -> list[dict[str, str]]:
    """Judge every claim of the plan's works; write ``claims.csv``, one row per claim, and return its rows."""
    rows = claim_rows(plan.studies, plan.root, plan.experiment.scale_name)
    atomic.write_text(plan.claims_path, pd.DataFrame(rows, columns=list(CLAIM_COLUMNS)).to_csv(index=False))
    return rows
