"""Numbers measured after an epoch, one file each: ``def NAME(context, *, ...) -> float``, a column of history.csv."""
