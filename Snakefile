# robustscape: every table and figure of five works on adversarial robustness, from source.
# The plan (src/robustscape/pipeline/plan.py) derives all jobs from config/; the rules below hand them to Snakemake, by stage.
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


rule all:
    default_target: True
    input:
        str(PLAN.report),


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/attack.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/landscape.smk"
include: "workflow/rules/theory.smk"
include: "workflow/rules/report.smk"
