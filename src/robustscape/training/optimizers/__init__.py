"""Optimizers, one file each: ``def NAME(parameters, *, ...) -> torch.optim.Optimizer`` whose ``step`` takes the closure."""
