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
# On a cluster these run where Snakemake does: there is a network, and what takes seconds need not be queued.
LOCAL = {"prepare"}

for job, needs in NEEDS:

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
        localrule: job.stage in LOCAL
        conda:
            ENVIRONMENT
        threads: needs.threads
        resources:
            **needs.resources,
        params:
            fingerprint=job.fingerprint,
            arguments=shlex.join(job.arguments),
        message:
            f"{MESSAGES[job.stage]}: {shlex.join(job.targets)}"
        shell:
            f"{COMMAND} --threads {{threads}} {{params.arguments}} > {{log:q}} 2>&1"
