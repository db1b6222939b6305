# Two commands do it all; each makes its own environment first, once:
#
#   make reproduce              every table and figure, on this machine: STUDY=yamada2021 for one work,
#                               SCALE=smoke|small|tenth|rehearsal|paper, CORES=8
#   make test                   style, types, documentation and tests
#
# Others: lint, types, pytest, faults, slurm, mutants, gpu-check, format, docs, results-docs, doctor, pull, lock, audit, clean.

STUDY ?=
SCALE ?= small
CORES ?= all
VENV  ?= .venv

# Jobs say `python`: the environment's comes first.
export PATH := $(abspath $(VENV))/bin:$(PATH)

pip := python -m pip install --quiet --disable-pip-version-check --no-input
options := scale=$(SCALE) $(if $(STUDY),"studies=[$(STUDY)]")

.DELETE_ON_ERROR:
.PHONY: reproduce test lint types pytest faults slurm mutants gpu-check format docs results-docs doctor pull lock audit clean

reproduce: $(VENV)/.base
	@snakemake --cores $(CORES) --config $(options)
	@echo "The report: results/$(SCALE)/report/index.html"

test: lint types docs pytest

lint: $(VENV)/.test
	ruff check
	ruff format --check
	snakefmt --check --compact-diff Snakefile workflow
	snakemake --lint

types: $(VENV)/.test
	mypy

# Quick tests first: one that fails is seen soon. A test uses one thread; there are as many workers as cores.
parallel := -n logical --maxprocesses 8 --dist loadgroup
pytest: export OMP_NUM_THREADS := 1
pytest: $(VENV)/.test
	pytest $(parallel) -m "not (slow or smoke or fault)"
	pytest $(parallel) -m "(slow or smoke or fault) and not slurm"

# Fifty kills at random moments and every other fault, for docs/explanation/reliability.md; by hand, an hour.
faults: export OMP_NUM_THREADS := 1
faults: $(VENV)/.test
	python benchmarks/faults.py --kills 50 --page docs/explanation/reliability.md

# The workflow through its Slurm profile, on a Slurm of this machine alone (Debian: apt-get install slurm-wlm munge; as root).
slurm: export OMP_NUM_THREADS := 1
slurm: $(VENV)/.test
	pytest -rs -m slurm tests/workflow

# Which small wrong changes of the code the tests notice (docs/explanation/tests.md); by hand, half an hour.
mutants: $(VENV)/.test
	python benchmarks/mutants.py

# Does the GPU of this machine compute what the CPU does, and how fast? Eight minutes at most; CHECK=--tiny for a look.
CHECK ?=
gpu-check: $(VENV)/.base
	PYTHONPATH=src python benchmarks/gpu_check.py $(CHECK)

format: $(VENV)/.test
	ruff check --fix
	ruff format
	snakefmt Snakefile workflow

docs: export NO_MKDOCS_2_WARNING := 1
docs: $(VENV)/.test
	mkdocs build --strict --quiet

# The CSVs of a scale's results, for the site's pages of results: those that are there, but for those of whole landscapes
# (100 kB and more); others of before stay.
works := $(basename $(notdir $(wildcard config/studies/*.yaml)))
results-docs:
	@cd results/$(SCALE) && find $(works) claims.csv -maxdepth 1 -name '*.csv' \
	  \( -name claims.csv -o -size -100k \) -exec install -D -m 644 {} ../../docs/results/$(SCALE)/{} \; 2> /dev/null || true

doctor: $(VENV)/.base
	robustscape --scale $(SCALE) doctor

# Results from the DVC remote instead of hours of computing. Snakemake is told that they are up to date only if nothing they
# depend on has changed since they were recorded.
pulled := $(if $(STUDY),--with-deps $(STUDY))
pull: $(VENV)/.base
	@test -e dvc.lock || { echo "There is nothing to pull: no results are recorded (no dvc.lock); \`make reproduce\` makes them," \
	  "and docs/how-to/share-results.md says how to share them." >&2; exit 1; }
	@test -n "$$(dvc config core.remote 2> /dev/null)" || { echo "Nobody said from where to pull:" \
	  "\`dvc remote add --default store URL\`, with the folder, bucket or server that they were pushed to." >&2; exit 1; }
	dvc pull $(pulled)
	@if dvc status --quiet $(pulled); then \
	  snakemake --cores 1 --config scale=small --touch --forceall --quiet all $(if $(STUDY),-- $(STUDY)); \
	else echo "Code or configuration changed since these were recorded; \`make reproduce\` does what differs."; fi

# New pins, after a change of requirements/*.in: what a fresh environment gets.
lock:
	python3.11 -m venv --clear $(VENV)-lock
	$(VENV)-lock/bin/$(pip) -r requirements/base.in -r requirements/test.in
	$(VENV)-lock/bin/$(pip) --no-deps -r requirements/no-deps.in
	(head -n 1 requirements/lock.txt; $(VENV)-lock/bin/python -m pip freeze --all --exclude pip) > requirements/lock.new
	mv requirements/lock.new requirements/lock.txt
	rm -r $(VENV)-lock

# Known vulnerabilities of the pinned packages, by tools with an environment of their own, and a list of the packages for other
# tools (build/sbom.json, CycloneDX). pip-audit calls packages sound that it could not look up, so two of them are looked up first.
tools := build/audit-tools
look_up := $(tools)/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off
audit:
	@mkdir -p build && rm -f build/audit-first.json
	@python3 -m venv $(tools) && $(tools)/bin/$(pip) pip-audit==2.10.1 cyclonedx-bom==7.5.0 || \
	  { echo "Not audited: pip-audit and cyclonedx-bom cannot be installed here."; rm -rf $(tools); }
	@test ! -x $(tools)/bin/pip-audit || { \
	  $(tools)/bin/cyclonedx-py requirements --output-reproducible --output-file build/sbom.json requirements/lock.txt && \
	  echo "The packages: build/sbom.json" && \
	  { $(look_up) --requirement requirements/no-deps.in --format json --output build/audit-first.json 2> build/audit.log; \
	    if test -e build/audit-first.json; then $(look_up) --requirement requirements/lock.txt; \
	    else echo "Not audited: no database of vulnerabilities can be reached from here ($$(tail -n 1 build/audit.log))."; fi; }; }

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -r {} +

# -- the environment ----------------------------------------------------------------------------------------------------
# The stamps are written when everything is there. An install that was interrupted leaves $(VENV)/.incomplete behind, and
# the next one starts from nothing: half a package looks installed to pip.

$(VENV)/.base: requirements/base.in requirements/lock.txt pyproject.toml
	@test ! -e $(VENV)/.incomplete || rm -rf $(VENV)
	@mkdir -p $(VENV) && touch $(VENV)/.incomplete
	@test -x $(VENV)/bin/python || { \
	  for name in python3.11 python3.12 python3.13 python3; do \
	    $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2> /dev/null && break; name=; done; \
	  test -n "$$name" || { echo "robustscape needs Python 3.11 to 3.13 (Debian: apt-get install python3-venv)." >&2; exit 1; }; \
	  $$name -c 'import ensurepip' 2> /dev/null || { echo "$$name has no venv (Debian: apt-get install python3-venv)." >&2; exit 1; }; \
	  echo "Installing the packages of requirements/base.in into $(VENV): a few minutes, once."; \
	  $$name -m venv $(VENV); }
	@$(pip) --requirement requirements/base.in --constraint requirements/lock.txt
	@$(pip) --no-deps --no-build-isolation --editable .
	@rm $(VENV)/.incomplete && touch $@

$(VENV)/.test: $(VENV)/.base requirements/test.in requirements/no-deps.in
	@touch $(VENV)/.incomplete
	@$(pip) --requirement requirements/test.in --constraint requirements/lock.txt
	@$(pip) --no-deps --requirement requirements/no-deps.in
	@rm $(VENV)/.incomplete && touch $@
