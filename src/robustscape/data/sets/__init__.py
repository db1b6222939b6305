"""One data set, one file: a function of its own name from a directory to ``RawSplits``. No torch here."""
