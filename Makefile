# `make` alone lists the targets. Works with GNU make 3.81 or later; nothing is installed outside .venv.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DEFAULT_GOAL := help

PYTHON ?= python3
CONFIG ?= configs/local.yaml
PYTEST_ARGS ?= -n auto

VENV_PYTHON := .venv/bin/python
PIP_INSTALL := $(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: compact
compact: .venv/.runtime ## load what is pending into the tables (CONFIG=configs/local.yaml, on sample data)
	@if [ '$(CONFIG)' = configs/local.yaml ] && [ ! -e data/source/exports ]; then \
		echo 'writing a sample export to data/source'; \
		$(VENV_PYTHON) scripts/make_sample.py data/source > /dev/null; \
	fi
	@code=0; \
	$(VENV_PYTHON) -m compactor -c '$(CONFIG)' compact || code=$$?; \
	if [ $$code -eq 3 ]; then \
		echo 'Lines were quarantined, the rest is loaded. The command itself ends with 3 then, for schedulers.'; \
		code=0; \
	fi; \
	exit $$code

.PHONY: test
test: .venv/.dev ## run the tests (PYTEST_ARGS='-k merge' for some)
	$(VENV_PYTHON) -m pytest $(PYTEST_ARGS)

.PHONY: soak
soak: .venv/.dev ## run the long proofs: histories, kills at each write, faults, shortages (PYTEST_ARGS as for test)
	$(VENV_PYTHON) -m pytest -m 'soak and not engines' --log-cli-level=INFO $(PYTEST_ARGS)

.PHONY: engines
engines: .venv/.dev ## fetch Trino, Spark and other engines for the next target (2.5 GB, once, outside the checkout)
	$(VENV_PYTHON) scripts/fetch_engines.py

# Not in parallel: the engines are large, and each is started once.
.PHONY: test-engines
test-engines: engines ## read the tables with all engines; prints what each can and cannot (PYTEST_ARGS='-k spark' for some)
	$(VENV_PYTHON) -m pytest -m 'engines and not soak' $(filter-out -n auto,$(PYTEST_ARGS))

.PHONY: soak-engines
soak-engines: engines ## load three large nights by one engine, by Spark, and in turns (40 minutes or so)
	$(VENV_PYTHON) -m pytest -m 'engines and soak' --log-cli-level=INFO $(filter-out -n auto,$(PYTEST_ARGS))

.PHONY: bench-spark
bench-spark: engines ## measure this engine against Spark on this machine (ARGS='--quick' for a tenth)
	$(VENV_PYTHON) scripts/bench_spark.py $(ARGS)

.PHONY: fuzz
fuzz: .venv/.dev ## try odd input for half an hour (ARGS='--minutes 5 --seed 2 --only lines --jobs 2')
	$(VENV_PYTHON) -m tests.fuzz $(ARGS)

.PHONY: lint
lint: .venv/.dev ## check style, types and import contracts
	$(VENV_PYTHON) -m ruff check
	$(VENV_PYTHON) -m ruff format --check
	$(VENV_PYTHON) -m mypy
	.venv/bin/lint-imports

.PHONY: check
check: lint test ## lint and test

.PHONY: bench
bench: .venv/.dev ## measure speed and memory on generated data, in minutes (ARGS='--full' for more)
	$(VENV_PYTHON) scripts/bench.py $(ARGS)

.PHONY: clean
clean: ## remove .venv and caches; data/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info
	find compactor scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Two stamps, so that a first run need not wait for the tools of development. A stamp is older than what it was made
# from, or gone, when the install has to be done again.
.venv/.runtime: pyproject.toml constraints.txt
	$(call venv)
	$(PIP_INSTALL) -e .
	@touch $@

.venv/.dev: pyproject.toml constraints.txt
	$(call venv)
	$(PIP_INSTALL) -e '.[dev]'
	@touch .venv/.runtime $@

# An environment without a working pip is one that was interrupted, or whose Python has gone: it is made anew.
define venv
	@if ! $(VENV_PYTHON) -m pip --version > /dev/null 2>&1; then \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
			|| { echo 'error: Python 3.11 or later is needed; name one: make PYTHON=/path/to/python3' >&2; exit 1; }; \
		$(PYTHON) -c 'import ensurepip, venv' \
			|| { echo 'error: this Python lacks venv; on Debian or Ubuntu: apt install python3-venv' >&2; exit 1; }; \
		$(PYTHON) -m venv --clear .venv; \
	fi
endef
