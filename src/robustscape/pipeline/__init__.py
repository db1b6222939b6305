"""The plan of an experiment, its jobs with their fingerprints, the steps that jobs run, and dvc.yaml."""
