"""Ways to train, one file each.

A method makes a batch ready (attacks it, draws noise) and returns a closure that computes the loss at the current weights.
Optimizers that need several passes on the same batch (SAM and its kin) call the closure several times.
"""
