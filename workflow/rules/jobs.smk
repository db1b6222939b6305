# The jobs that compute: data sets, trained runs, measurements, comparisons, theory checks. A rule is one call of a command.
MESSAGES = {
    "prepare": "Preparing",
    "train": "Training",
    "evaluate": "Evaluating",
    "landscape": "Measuring landscapes",
    "compare": "Comparing",
    "theory": "Checking theory",
}
# Everything waits for data, and then for training: begin with them.
PRIORITIES = {"prepare": 20, "train": 10}
# Data sets and theory need neither much memory nor a GPU.
LIGHT = {"prepare", "theory"}

for job in JOBS:

    if job.stage not in MESSAGES:
        continue

    rule:
        name:
            f"{job.stage}_{job.name}"
        input:
            job.inputs,
        output:
            # A job of several runs keeps those that are already right, so Snakemake must not delete them.
            update(job.outputs),
        log:
            f"{LOGS}/{job.stage}/{job.name}.log",
        benchmark:
            f"{BENCHMARKS}/{job.stage}/{job.name}.tsv"
        priority: PRIORITIES.get(job.stage, 0)
        conda:
            ENVIRONMENT
        threads: 1 if job.stage == "prepare" else RESOURCES.threads
        resources:
            mem_mb=2000 if job.stage in LIGHT else RESOURCES.mem_mb,
            runtime=30 if job.stage in LIGHT else RESOURCES.runtime,
            gpu=0 if job.stage in LIGHT else RESOURCES.gpu,
        params:
            fingerprint=job.fingerprint,
            arguments=shlex.join(job.arguments),
        message:
            f"{MESSAGES[job.stage]}: {shlex.join(job.targets)}"
        shell:
            f"{COMMAND} --threads {{threads}} {{params.arguments}} > {{log:q}} 2>&1"
