"""Attacks on trained models: crafting, suites, eps curves, and the signs of gradient masking."""
