"""Table functions: ``NAME(rows, item, *, ...) -> Table``, one a file."""
