"""Closed forms and toys: each theorem of the works that can be checked numerically, checked.

A check takes no trained run; it builds what it needs from its parameters and seed, and returns rows made by
``_rows.row``.
"""
