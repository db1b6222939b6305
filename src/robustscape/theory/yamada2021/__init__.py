"""Theorems and toys of yamada2021."""
