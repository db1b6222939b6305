# Items (tables and figures), claims and the report: what Snakemake's own report shows. Nothing here computes an experiment.
import re

# Titles and captions for Snakemake's own report, the same as on the page. They are in `config`, where the caption's template
# finds them, and in no rule's params: a reworded caption would draw its item anew.
config["captions"] = {
    f"{work}/{name}": {
        key: re.sub(r"([\\`*_|<>:])", r"\\\1", text)
        for key, text in (("title", item.title), ("caption", item.caption))
    }
    for work, study in PLAN.studies.items()
    for name, item in study.items.items()
}

for job, needs in NEEDS:

    if job.stage != "item":
        continue

    rule:
        name:
            f"{job.stage}_{job.name}"
        input:
            job.inputs,
        output:
            [
                report(
                    [
                        path
                        for path in map(str, PLAN.item_files(*target.split("/")))
                        if not path.endswith(".json")
                    ],
                    caption="../report/item.rst",
                    category=job.work,
                    subcategory=PLAN.studies[job.work]
                    .items[target.split("/")[1]]
                    .kind,
                    labels={
                        "item": target.split("/")[1],
                        "title": PLAN.studies[job.work]
                        .items[target.split("/")[1]]
                        .title,
                    },
                )
                for target in job.targets
            ],
            [path for path in job.outputs if path.endswith(".json")],
        log:
            f"{LOGS}/{job.stage}/{job.name}.log",
        benchmark:
            f"{BENCHMARKS}/{job.stage}/{job.name}.tsv"
        localrule: True
        conda:
            ENVIRONMENT
        threads: needs.threads
        resources:
            **needs.resources,
        params:
            fingerprint=job.fingerprint,
            arguments=shlex.join(job.arguments),
        message:
            f"Making: {shlex.join(job.targets)}"
        shell:
            f"{COMMAND} {{params.arguments}} > {{log:q}} 2>&1"


for job, needs in NEEDS:

    if job.stage not in ("claims", "report"):
        continue

    rule:
        name:
            job.name
        input:
            job.inputs,
        output:
            report(
                [path for path in job.outputs if not path.endswith(".json")],
                caption="../report/summary.rst",
                category="summary",
            ),
            [path for path in job.outputs if path.endswith(".json")],
        log:
            f"{LOGS}/{job.stage}/{job.name}.log",
        benchmark:
            f"{BENCHMARKS}/{job.stage}/{job.name}.tsv"
        localrule: True
        conda:
            ENVIRONMENT
        threads: needs.threads
        resources:
            **needs.resources,
        params:
            fingerprint=job.fingerprint,
            arguments=shlex.join(job.arguments),
        message:
            "Writing {output}"
        shell:
            f"{COMMAND} {{params.arguments}} > {{log:q}} 2>&1"


# `snakemake yamada2021` makes the items of a work, `snakemake yamada2021_table_1` one of them.
for work, study in PLAN.studies.items():

    rule:
        name:
            work
        input:
            [str(path) for item in study.items for path in PLAN.item_files(work, item)],

    for item in study.items:

        rule:
            name:
                f"{work}_{item}"
            input:
                [str(path) for path in PLAN.item_files(work, item)],

    # Those of one file of the study, or of one data set: `snakemake ma2025_chapter_3`, `snakemake liu2020_on_mnist`.
    for part, items in PLAN.some_items(work).items():

        rule:
            name:
                part
            input:
                [str(path) for item in items for path in PLAN.item_files(work, item)],
