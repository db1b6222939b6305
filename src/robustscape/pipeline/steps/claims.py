"""The step ``claims``: the verdicts of all claims. Imports no torch."""

from __future__ import annotations

import pandas as pd

from robustscape.claims.verdicts import CLAIM_COLUMNS, claim_rows
from robustscape.pipeline import fingerprints
from robustscape.pipeline.plan import Plan
from robustscape.pipeline.steps.item import is_up_to_date
from robustscape.storage.records import hash_files, write_csv_with_record


def judge_claims(plan: Plan) -> list[dict[str, str]]:
    """Judge every claim of the plan's works and of all others that were made; return the rows of ``claims.csv``, one per claim.

    An item of another work that was made with other code or configuration counts as not made: nothing has made it again, and its
    claims may speak of rows that it did not have. The file is written with its record.
    """
    asked = set(plan.studies)
    plan = plan.with_made_works()
    old = {
        (work, name)
        for work, study in plan.studies.items()
        if work not in asked
        for name in study.items
        if not is_up_to_date(plan, work, name)
    }
    rows = claim_rows(plan.studies, plan.root, plan.experiment.scale_name, plan.level_is_fixed, old)
    items = [plan.item_path(work, name) for work, study in plan.studies.items() for name in study.items]
    record = {
        "command": plan.command("claims", *plan.studies),
        "fingerprint": fingerprints.claims_fingerprint(plan.studies),
        "inputs": hash_files(path for path in items if path.exists()),
    }
    text = pd.DataFrame(rows, columns=list(CLAIM_COLUMNS)).to_csv(index=False)
    write_csv_with_record(plan.claims_path, text, record)
    return rows
