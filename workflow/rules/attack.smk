# Attacks: accuracies and suites, measured on trained runs one by one.
for job in PLAN.stage("attack"):

    rule:
        name:
            f"attack_{job.name}"
        input:
            job.inputs,
        output:
            update(job.outputs),
        log:
            f"{LOGS}/attack/{job.name}.log",
        benchmark:
            f"{BENCHMARKS}/attack/{job.name}.tsv"
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
            "Attacking: {params.arguments}"
        shell:
            f"{COMMAND} --threads {{threads}} {{params.arguments}} > {{log}} 2>&1"
