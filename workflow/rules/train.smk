# Training. A job covers runs of one data set, architecture and recipe; it keeps those that are already right, hence update().
for job in PLAN.stage("train"):

    rule:
        name:
            f"train_{job.name}"
        input:
            job.inputs,
        output:
            update(job.outputs),
        log:
            f"{LOGS}/train/{job.name}.log",
        benchmark:
            f"{BENCHMARKS}/train/{job.name}.tsv"
        # Everything waits for training: begin with it.
        priority: 10
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
            "Training: {params.arguments}"
        shell:
            f"{COMMAND} --threads {{threads}} {{params.arguments}} > {{log}} 2>&1"
