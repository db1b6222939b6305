"""Figure functions: ``NAME(rows, item, *, ...) -> Figure``, one per file."""
