"""Theory checks as an item: the number of comparisons each made, and the number that came out as the theorem says."""

from __future__ import annotations

import pandas as pd


def tally(rows: pd.DataFrame) -> pd.DataFrame:
    """Two tidy rows per check: numbers_checked (all comparisons) and numbers_holding (those within their tolerance).

    Args:
        rows: a theory CSV, one row per compared number, with the columns ``check`` and ``holds``.
    """
    groups = rows.groupby("check", sort=False)["holds"]
    counts = {"numbers_checked": groups.size(), "numbers_holding": groups.sum()}
    return pd.concat(
        [
            pd.DataFrame({"check": values.index, "metric": metric, "value": values.to_numpy(float), "unit": "1"})
            for metric, values in counts.items()
        ],
        ignore_index=True,
    )
