"""Files: atomic writes, checkpoints, the records beside results, and what goes into them."""
