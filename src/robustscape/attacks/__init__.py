"""Attacks: one attack per file, from a batch of inputs to a batch of adversarial examples."""
