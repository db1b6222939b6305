"""Theory checks as an item: how many numbers were compared, how many came out as the theorem says."""

from __future__ import annotations

import pandas as pd


def tally(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows, two a check, from a theory CSV's rows: one a compared number, with the columns ``check`` and ``holds``.

    numbers_checked counts the comparisons, numbers_holding those within their tolerance.
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
