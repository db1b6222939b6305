"""Theorems and toys of kanai2022."""
