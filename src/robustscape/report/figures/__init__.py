"""Figure functions: ``NAME(rows, item, *, ...) -> Figure``, one a file."""
