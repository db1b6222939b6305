# Data: prepared tensors and a card that says what they are.
for job in PLAN.stage("data"):

    rule:
        name:
            f"prepare_{job.name}"
        input:
            job.inputs,
        output:
            job.outputs,
        log:
            f"{LOGS}/data/{job.name}.log",
        benchmark:
            f"{BENCHMARKS}/data/{job.name}.tsv"
        # Training waits for it, and everything for training.
        priority: 20
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=2000,
            runtime=30,
        params:
            fingerprint=job.fingerprint,
            arguments=shlex.join(job.arguments),
        message:
            "Preparing data: {params.arguments}"
        shell:
            f"{COMMAND} --threads {{threads}} {{params.arguments}} > {{log}} 2>&1"
