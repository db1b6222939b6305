# Landscapes: loss surfaces and curvature of trained runs.
for job in PLAN.stage("landscape"):

    rule:
        name:
            f"landscape_{job.name}"
        input:
            job.inputs,
        output:
            update(job.outputs),
        log:
            f"{LOGS}/landscape/{job.name}.log",
        benchmark:
            f"{BENCHMARKS}/landscape/{job.name}.tsv"
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
            "Measuring: {params.arguments}"
        shell:
            f"{COMMAND} --threads {{threads}} {{params.arguments}} > {{log}} 2>&1"
