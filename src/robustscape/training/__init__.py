"""One training loop; methods, optimizers and probes are files beside it."""
