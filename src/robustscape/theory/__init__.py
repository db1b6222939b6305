"""Numerical checks of the works' theorems, and toys: one package per work, one check per module.

A check needs no trained run. It builds what it needs from its parameters and its seed and returns rows: those of a theorem
are made by ``rows.check_row``, which compares a value with what the theorem says; those of a toy are tidy (metric, value,
unit and factors) and are drawn by the report.
"""
