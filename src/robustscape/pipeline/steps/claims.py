"""The step ``claims``: the verdicts of all claims. Imports no torch."""

from __future__ import annotations

import pandas as pd

from robustscape.claims.verdicts import CLAIM_COLUMNS, claim_rows
from robustscape.pipeline import fingerprints
from robustscape.pipeline.plan import Plan
from robustscape.storage.records import hash_files, write_csv_with_record


def judge_claims(plan: Plan) -> list[dict[str, str]]:
    """Judge every claim of the plan's works and of all others that were made; return the rows of ``claims.csv``, one per claim.

    The file is written with its record.
    """
    plan = plan.with_made_works()
    rows = claim_rows(plan.studies, plan.root, plan.experiment.scale_name, plan.level_is_fixed)
    items = [plan.item_path(work, name) for work, study in plan.studies.items() for name in study.items]
    record = {
        "command": plan.command("claims", *plan.studies),
        "fingerprint": fingerprints.claims_fingerprint(plan.studies),
        "inputs": hash_files(path for path in items if path.exists()),
    }
    text = pd.DataFrame(rows, columns=list(CLAIM_COLUMNS)).to_csv(index=False)
    write_csv_with_record(plan.claims_path, text, record)
    return rows
