"""Table functions: ``NAME(rows, item, *, ...) -> Table``, one per file."""
