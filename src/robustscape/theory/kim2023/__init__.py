"""Theorems and toys of kim2023."""
