"""Optimizers, one file each: ``def NAME(parameters, *, ...) -> torch.optim.Optimizer`` whose ``step`` takes the closure.

Two attributes are optional: ``statistics_pass``, the number of the closure's call that updates BatchNorm's running statistics
(0 without it), and ``finish_epoch()``, called after the last update of each epoch.
"""
