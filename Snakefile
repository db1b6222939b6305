# robustscape: tables and figures of works on adversarial robustness and loss landscapes, regenerated from source.
# All jobs are derived from config/ by src/robustscape/pipeline/jobs.py; the rules below hand them to Snakemake.
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


rule all:
    default_target: True
    input:
        str(PLAN.report_path),


include: "workflow/rules/jobs.smk"
include: "workflow/rules/report.smk"
