"""The steps that jobs run: one module per stage of the plan, named like the command.

A step keeps what is already right: a result whose record has the wanted fingerprint (configuration, code, and hashes of what was
read) is not made again. Snakemake decides which jobs to look at, so a job that covers several runs costs only those that changed.
"""
