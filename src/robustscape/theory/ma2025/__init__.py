"""Theorems and toys of ma2025."""
