"""Theorems and toys of liu2020."""
