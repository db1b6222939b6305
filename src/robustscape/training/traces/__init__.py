"""Numbers recorded at single updates, one file each: ``def NAME(context, *, ...) -> Tensor`` (0-dim), a column of updates.csv."""
