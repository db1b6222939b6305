# Transfer and other comparisons: several trained runs measured together.
for job in PLAN.stage("transfer"):

    rule:
        name:
            f"transfer_{job.name}"
        input:
            job.inputs,
        output:
            update(job.outputs),
        log:
            f"{LOGS}/transfer/{job.name}.log",
        benchmark:
            f"{BENCHMARKS}/transfer/{job.name}.tsv"
        conda:
            ENVIRONMENT
        threads: RESOURCES.threads
        resources:
            mem_mb=RESOURCES.mem_mb,
            runtime=RESOURCES.runtime,
            gpu=RESOURCES.gpu,
        params:
            fingerprint=job.fingerprint,
            arguments=shlex.join(job.arguments),
        message:
            "Comparing: {params.arguments}"
        shell:
            f"{COMMAND} --threads {{threads}} {{params.arguments}} > {{log}} 2>&1"
