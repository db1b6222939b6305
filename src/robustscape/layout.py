"""The files of a run (contract 2), known to those who plan and to those who load."""

#: Which file of a run holds which weights.
WEIGHTS = {"selected": "model.safetensors", "last": "last.safetensors"}

#: What a run leaves in its folder.
RUN_FILES = (*WEIGHTS.values(), "run.json", "history.csv")
