"""The plan (every job of an experiment), the steps that jobs run, and dvc.yaml."""
