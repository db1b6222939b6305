# Theory: theorems checked numerically, and toys.
for job in PLAN.stage("theory"):

    rule:
        name:
            f"theory_{job.name}"
        input:
            job.inputs,
        output:
            update(job.outputs),
        log:
            f"{LOGS}/theory/{job.name}.log",
        benchmark:
            f"{BENCHMARKS}/theory/{job.name}.tsv"
        conda:
            ENVIRONMENT
        threads: RESOURCES.threads
        resources:
            mem_mb=2000,
            runtime=30,
        params:
            fingerprint=job.fingerprint,
            arguments=shlex.join(job.arguments),
        message:
            "Checking: {params.arguments}"
        shell:
            f"{COMMAND} --threads {{threads}} {{params.arguments}} > {{log}} 2>&1"
