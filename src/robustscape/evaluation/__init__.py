"""Measurements of trained runs: accuracy, suites of attacks, transfer.

A file is a measurement when it defines a function of its own name that takes ``run`` (one row list per run) or ``runs`` (a
comparison); it returns tidy rows. The other files are the functions they are made of.
"""
