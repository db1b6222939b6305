"""The price of a plan before it runs: passes, operations, hours, memory, disk, and how long it takes on some GPUs. No torch."""
