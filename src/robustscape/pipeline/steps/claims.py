"""The step ``claims``: the verdicts of all claims. Imports no torch."""

from __future__ import annotations

import pandas as pd

from robustscape.claims.claims import COLUMNS, verdicts
from robustscape.pipeline.plan import Plan
from robustscape.storage import atomic


def judge_claims(plan: Plan) -> None:
    """Judge every claim of the plan's works; write ``claims.csv``, one row per claim."""
    rows = verdicts(plan.studies, plan.root, plan.experiment.scale_name)
    atomic.write_text(plan.claims_path, pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False))
