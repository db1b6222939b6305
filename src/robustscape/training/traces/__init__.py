"""Measurements made at single updates, one file each: ``def NAME(context, *, ...) -> Tensor``, a column of updates.csv."""
