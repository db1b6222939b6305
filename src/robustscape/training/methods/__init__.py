"""Ways to train, one file each.

A method prepares a batch (attacks it, draws noise) and returns an objective: a function that computes the batch's mean loss at
the current weights (``training.closure.Objective``). Optimizers that need several passes on the same batch, such as SAM, call it
several times.
"""
